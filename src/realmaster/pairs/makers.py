"""Load what a set's settings name: the editor, the propagator, or someone else's.

Separate from the stages, which only know the protocols.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from realmaster.errors import ConfigError
from realmaster.pairs.settings import PairSettings
from realmaster.pipelines.edit import KeyframeEditor
from realmaster.pipelines.propagate import Propagator

FOLDER = "folder:"


def load_editor(settings: PairSettings) -> KeyframeEditor:
    """Load the editor: the profile's, a folder of edits made elsewhere, or a function's of your own.

    Raises:
        ConfigError: the profile has no editor, or the function gives none.
        MissingWeightsError: its weights are not on this machine.
    """
    editor: KeyframeEditor
    if settings.edit.editor.startswith(FOLDER):
        from realmaster.pipelines.edit_folder import FromFolder

        editor = FromFolder(settings.edit.editor.removeprefix(FOLDER))
        return editor
    if settings.edit.editor != "profile":
        made = _call(settings.edit.editor, settings)
        if not isinstance(made, KeyframeEditor):
            raise ConfigError(
                f"edit.editor: expected {settings.edit.editor} to give a KeyframeEditor, got {type(made).__name__}"
            )
        return made
    from realmaster.models.profiles import load_profile

    found = load_profile(f"{settings.profile}/editor", model_dir=settings.model_dir, changes=settings.changes)
    options: dict[str, Any] = {
        "device": settings.compute.device,
        "model_dir": settings.model_dir,
        "changes": settings.changes,
    }
    if found.editor is not None and found.editor.kind == "qwen":
        from realmaster.pipelines.edit_qwen import QwenImageEdit

        return QwenImageEdit.from_profile(settings.profile, **options)
    from realmaster.pipelines.edit_in_context import NanoEditor

    return NanoEditor.from_profile(settings.profile, **options)


def load_propagator(settings: PairSettings) -> Propagator:
    """Load the propagator: the profile's, or a function's of your own.

    Raises:
        ConfigError: the profile has no propagator, or the function gives none.
        MissingWeightsError: its weights are not on this machine.
    """
    if settings.propagate.propagator != "profile":
        made = _call(settings.propagate.propagator, settings)
        if not isinstance(made, Propagator):
            raise ConfigError(
                f"propagate.propagator: expected {settings.propagate.propagator} to give a Propagator, got "
                f"{type(made).__name__}"
            )
        return made
    from realmaster.pipelines.propagate_vace import VacePropagator

    return VacePropagator.from_profile(
        settings.profile,
        device=settings.compute.device,
        model_dir=settings.model_dir,
        changes=settings.changes,
    )


def _call(name: str, settings: PairSettings) -> Any:
    """Call a function of someone else's with the settings."""
    module, function = name.split(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"expected a function {function} in the module {module}, found none ({error}): check the name"
        ) from error
    try:
        return found(settings)
    except TypeError as error:
        raise ConfigError(f"expected {name} to take the set's settings, it does not ({error}): mend it") from error
