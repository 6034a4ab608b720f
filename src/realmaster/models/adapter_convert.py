"""Bring adapters into other programs, and other programs' LoRAs in.

Separate because it is the border: outside, names and habits are other people's; inside, every file says what it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from realmaster.errors import AdapterError, OutputError
from realmaster.media.output import check_file, check_output
from realmaster.models.adapter_checks import check_lora, check_metadata, spoken
from realmaster.models.adapter_files import Lora, read_lora, write_lora
from realmaster.models.adapter_merge import merge_lora
from realmaster.models.adapter_metadata import TAGS, AdapterMetadata, Expert, expert_path, find_adapter
from realmaster.models.adapter_names import Format
from realmaster.models.adapter_summary import base_folder, base_sizes
from realmaster.models.profiles import Profile

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Facts:
    """What a user knows of a LoRA whose file does not say it; None is unknown."""

    profile: Profile | None = None
    reference: Literal["cached", "joint"] | None = None
    reference_scale: int | None = None
    frame_rate: int | None = None
    alpha: float | None = None


def export_adapter(path: Path, output: Path, form: Format, *, overwrite: bool = False) -> list[Path]:
    """Write an adapter, one file an expert, under the names of another program; give the files.

    Raises:
        AdapterError: it cannot be read. OutputError: an output is there already, or is the adapter itself.
    """
    files = find_adapter(path)
    outputs = _outputs(output, files, tagged=_tagged(files), overwrite=overwrite)
    loras = {expert: read_lora(file) for expert, file in files.items()}
    for expert, lora in loras.items():
        write_lora(lora, outputs[expert], form)
    return list(outputs.values())


def export_merged(
    path: Path, output: Path, profile: Profile, *, strength: float = 1.0, overwrite: bool = False
) -> list[Path]:
    """Write the transformer of every expert of an adapter with the adapter in it: folders in diffusers layout.

    Raises:
        AdapterError: it is for another base. MissingWeightsError: the base is not here. OutputError: as above.
    """
    files = find_adapter(path)
    is_new = not output.exists()
    if is_new:
        check_output(output, overwrite=False)
        output.mkdir()
    try:
        for expert in files:
            check_output(output / expert, overwrite=overwrite, inputs=[base_folder(profile, expert)])
        for expert, file in files.items():
            lora = read_lora(file)
            if lora.metadata is not None:
                check_metadata(file, lora.metadata, base_model=_base_name(lora.metadata, profile), expert=expert)
            merge_lora(base_folder(profile, expert), lora, output / expert, strength=strength)
    except BaseException:
        if is_new:
            with suppress(OSError):  # one expert is whole in it
                output.rmdir()
        raise
    return [output / expert for expert in files]


def import_adapter(files: Mapping[Expert, Path], output: Path, facts: Facts, *, overwrite: bool = False) -> list[Path]:
    """Write LoRAs of any format as an adapter, with what they say of themselves and what `facts` add; give the files.

    Sizes are checked against the base that `facts` names.

    Raises:
        AdapterError: a file is no LoRA of Wan, a fact is missing or contradicts the file, or the sizes do not fit.
        ConfigError: an alpha or another fact is out of bounds.
        OutputError: an output is there already, or is the input itself.
    """
    loras = {expert: _with_facts(read_lora(file), expert, files, facts) for expert, file in files.items()}
    tagged = _tagged(files) or (facts.profile is not None and len(facts.profile.transformers) > 1)
    outputs = _outputs(output, files, tagged=tagged, overwrite=overwrite)
    for expert, lora in loras.items():
        sizes = None if facts.profile is None else base_sizes(facts.profile, expert)
        if sizes is not None:
            check_lora(lora, sizes)
    for expert, lora in loras.items():
        write_lora(lora, outputs[expert], "diffusers")
    return list(outputs.values())


def _with_facts(lora: Lora, expert: Expert, files: Mapping[Expert, Path], facts: Facts) -> Lora:
    told, profile = lora.metadata, facts.profile
    if told is not None:
        base = None if profile is None else _base_name(told, profile)
        check_metadata(
            lora.path,
            told,
            base_model=base or told.base_model,
            reference=facts.reference,
            reference_scale=facts.reference_scale,
            expert=expert,
        )
        for name, said, given in (
            ("alpha", told.alpha, facts.alpha),
            ("frame-rate", told.frame_rate, facts.frame_rate),
        ):
            if given not in (None, said):
                raise AdapterError(
                    f"{lora.path}: expected --{name} {said:g} as the file says, got {given:g}: leave it out"
                )
        return lora
    missing = [
        option
        for option, value in (("--profile", profile), ("--reference cached or joint", facts.reference))
        if value is None
    ]
    if profile is None or facts.reference is None:
        raise AdapterError(
            f"{lora.path}: expected RealMaster's metadata in the file, found none: say what it was trained for with "
            f"{' and '.join(missing)}"
        )
    if expert not in profile.transformers:
        raise AdapterError(
            f"{lora.path}: expected a LoRA for the only transformer of {profile.name}, got one for the "
            f"{spoken(expert)} expert: leave --expert and --low-noise out"
        )
    if lora.says_alpha and facts.alpha not in (None, lora.alpha):
        raise AdapterError(
            f"{lora.path}: expected --alpha {lora.alpha:g} as the file says, got {facts.alpha:g}: leave it out"
        )
    if not lora.says_alpha and facts.alpha is None:
        logger.warning("%s holds no alpha: taken as its rank, %d; give --alpha if it was another", lora.path, lora.rank)
    alpha = lora.alpha if facts.alpha is None else facts.alpha
    metadata = AdapterMetadata.from_mapping(
        {
            "base_model": profile.checkpoint.hub or profile.name,
            "base_revision": profile.checkpoint.revision,
            "profile": profile.name,
            "rank": lora.rank,
            "alpha": alpha,
            "reference": facts.reference,
            "reference_scale": facts.reference_scale or profile.reference.spatial_scale,
            "frame_rate": facts.frame_rate or profile.size.frame_rate,
            "expert": expert,
            "experts": tuple(name for name in TAGS if name in files),
        },
        source=str(lora.path),
    )
    return replace(lora, alpha=alpha, metadata=metadata)


def _base_name(told: AdapterMetadata, profile: Profile) -> str:
    return profile.name if profile.name in told.bases else profile.checkpoint.hub or profile.name


def _outputs(output: Path, files: Mapping[Expert, Path], *, tagged: bool, overwrite: bool) -> dict[Expert, Path]:
    if output.name == ".." or output.is_dir():
        raise OutputError(f"{output}: expected the name of an adapter, got a folder: add a name in it")
    outputs = {expert: expert_path(output, expert, tagged=tagged) for expert in files}
    for path in outputs.values():
        check_file(path, overwrite=overwrite, inputs=files.values())
    return outputs


def _tagged(files: Mapping[Expert, Path]) -> bool:
    return len(files) > 1 or any(tag in file.name for file in files.values() for tag in TAGS.values())
