"""All baselines by name, those of other packages too, each loaded only when it is asked for.

Separate so that `realmaster baselines list` knows names and lines of help without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from realmaster.errors import ConfigError
from realmaster.evaluation.baselines.baseline import Baseline

GROUP = f"{__name__.partition('.')[0]}.baselines"  # of entry points


class Entry(NamedTuple):
    """Where a baseline's class is, as "module:class", and what it is, in a line."""

    target: str
    help: str


_HERE = "realmaster.evaluation.baselines"
BUILT_IN: dict[str, Entry] = {
    "untouched": Entry(
        f"{_HERE}.floors:Untouched", "the render itself: the floor of realism, the ceiling of structure"
    ),
    "colour": Entry(f"{_HERE}.floors:ColourTransfer", "colours alone: fitted on pairs, or of photographs (Reinhard)"),
    "realmaster": Entry(f"{_HERE}.realmaster:RealMaster", "the trained model, one pass: any profile and adapter"),
    "pipeline": Entry(
        f"{_HERE}.pipeline:Pipeline", "the pipeline without training: edited anchors, carried on by VACE"
    ),
    "sdedit": Entry(f"{_HERE}.sdedit:SDEdit", "noise the render part of the way, denoise it with the same base"),
    "lucy-edit": Entry(f"{_HERE}.lucy_edit:LucyEdit", "Lucy-Edit 5B, an open instruction editor (diffusers)"),
    "cosmos-transfer2.5": Entry(
        f"{_HERE}.cosmos_transfer:CosmosTransfer", "Cosmos-Transfer2.5 2B on edges (diffusers)"
    ),
    "ditto-global": Entry(f"{_HERE}.ditto:DittoGlobal", "Editto: Ditto's global weights on Wan2.1-VACE-14B"),
    "ditto-sim2real": Entry(f"{_HERE}.ditto:DittoSim2Real", "Editto: Ditto's sim2real weights on Wan2.1-VACE-14B"),
    "runway-aleph": Entry(f"{_HERE}.aleph:Aleph", "Runway Aleph over the vendor's API, paid by the second"),
}


def list_baselines() -> dict[str, Entry]:
    """Name all baselines; a package cannot take the name of a built-in one."""
    found = {
        point.name: Entry(point.value, f"from the package {point.dist.name if point.dist else point.module}")
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)
    }
    return {**BUILT_IN, **{name: entry for name, entry in found.items() if name not in BUILT_IN}}


def make_baseline(
    name: str, values: Mapping[str, Any] | None = None, *, device: str | None = None, source: str = "the settings"
) -> Baseline[Any]:
    """Make a baseline from plain settings, which may be given by dotted names.

    Raises:
        ConfigError: no baseline of that name, or a setting is unknown or out of bounds.
    """
    baselines = list_baselines()
    if name not in baselines:
        near = get_close_matches(name, baselines, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(baselines)}"
        raise ConfigError(f"expected the name of a baseline, got {name!r}: {hint}")
    module, _, attribute = baselines[name].target.partition(":")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{name}: expected the class {attribute} in {module}, could not load it ({error})") from error
    if not (isinstance(found, type) and issubclass(found, Baseline)):
        raise ConfigError(
            f"{name}: expected a class of Baseline at {baselines[name].target}, got {found!r}: correct it"
        )
    baseline: Baseline[Any] = found(
        found.settings_class.from_mapping(_nested(values or {}, source), source=source), device=device
    )
    return baseline


def _nested(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Turn dotted names into groups: {"a.b": 1} into {"a": {"b": 1}}."""
    made: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        place = made
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise ConfigError(f"{source}: {name}: expected a group, {group!r} is a value: give one of them")
        place[last] = value
    return made
