"""Optional packages, asked for by the name of the extra that brings them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from realmaster.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Raises:
        MissingExtraError: the module is not installed; the message holds the install command.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"expected the package {module!r} for this feature, found none ({error}): "
            f"install it with `pip install 'realmaster[{extra}]'`"
        ) from error
