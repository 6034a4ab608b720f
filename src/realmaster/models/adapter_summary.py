"""What is in an adapter file: what it was made for, how much it changes each layer, and which profiles it fits.

Separate because it needs no transformer: a layer's change is measured on its two thin matrices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realmaster.errors import AdapterError, MissingWeightsError, RealMasterError
from realmaster.models.adapter_checks import check_lora, check_metadata, linear_sizes
from realmaster.models.adapter_files import Lora, read_lora
from realmaster.models.adapter_metadata import AdapterMetadata, Expert
from realmaster.models.adapter_names import Format
from realmaster.models.profiles import Profile
from realmaster.models.published import TRANSFORMERS

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.9
"""The effective rank is how many singular values hold this share of the squared change."""


@dataclass(frozen=True)
class Layer:
    """How much one module's weight is changed.

    `norm` is the Frobenius norm of alpha / rank * (up @ down), `largest` its largest singular value.
    """

    module: str
    out_features: int
    in_features: int
    norm: float
    largest: float
    effective_rank: int


@dataclass(frozen=True)
class Fit:
    """Whether a profile can use the adapter; `reason` says why not, or what is to be known."""

    profile: str
    fits: bool
    reason: str | None
    sizes_checked: bool


@dataclass(frozen=True)
class Summary:
    """One adapter file."""

    path: str
    form: Format
    rank: int
    alpha: float
    says_alpha: bool
    dtype: str
    num_parameters: int
    metadata: AdapterMetadata | None
    layers: tuple[Layer, ...]
    fits: tuple[Fit, ...]


def summarise(path: Path, profiles: list[Profile]) -> Summary:
    """Read one adapter file and measure it; say of each profile whether it fits.

    Raises:
        AdapterError: the file is no LoRA of a Wan transformer.
    """
    lora = read_lora(path)
    first = next(iter(lora.pairs.values()))[0]
    return Summary(
        path=str(path),
        form=lora.form,
        rank=lora.rank,
        alpha=lora.alpha,
        says_alpha=lora.says_alpha,
        dtype=str(first.dtype).removeprefix("torch."),
        num_parameters=sum(down.numel() + up.numel() for down, up in lora.pairs.values()),
        metadata=lora.metadata,
        layers=tuple(measure(module, down, up, lora.scale) for module, (down, up) in lora.pairs.items()),
        fits=tuple(fit(lora, profile) for profile in profiles),
    )


def measure(module: str, down: Tensor, up: Tensor, scale: float) -> Layer:
    """Measure scale * (up @ down) without forming it: its singular values are those of R_up R_down' (rank x rank).

    Shapes: down [rank, in], up [out, rank].
    """
    import torch

    outer = torch.linalg.qr(up.double())[1] @ torch.linalg.qr(down.double().T)[1].T
    squares = (scale * torch.linalg.svdvals(outer)).square()  # descending
    total = squares.sum()
    held = int((squares.cumsum(0) < SHARE * total).sum()) + 1 if total > 0 else 0
    return Layer(module, up.shape[0], down.shape[1], float(total.sqrt()), float(squares[0].sqrt()), held)


def fit(lora: Lora, profile: Profile) -> Fit:
    """Say whether a profile can use a LoRA: base, scale of the reference, expert, and sizes where the base is here."""
    checked = False
    try:
        if lora.metadata is None:
            raise AdapterError(
                f"{lora.path}: holds no RealMaster metadata: add what it lacks with `realmaster adapter import`"
            )
        told = lora.metadata
        base = profile.name if profile.name in told.bases else profile.checkpoint.hub or profile.name
        check_metadata(lora.path, told, base_model=base, reference_scale=profile.reference.spatial_scale)
        if told.expert not in profile.transformers:
            raise AdapterError(
                f"{lora.path}: expected a LoRA of the only transformer, got the low-noise expert's: "
                "choose the profile it was trained for"
            )
        sizes = base_sizes(profile, told.expert)
        if sizes is not None:
            check_lora(lora, sizes)
            checked = True
    except RealMasterError as error:
        return Fit(profile.name, False, str(error), checked)
    trained, there = told.base_revision, profile.checkpoint.revision
    note = f"trained over revision {trained}, the profile has {there}" if trained and trained != there else None
    return Fit(profile.name, True, note, checked)


def base_folder(profile: Profile, expert: Expert) -> Path:
    """Give the plain transformer that adapters are trained over; a profile may name one that reads by itself."""
    return profile.folder / (expert if expert == "transformer" else profile.transformers.get(expert, expert))


def base_sizes(profile: Profile, expert: Expert) -> dict[str, tuple[int, int]] | None:
    """List the linear layers of a profile's base from its config.json, or the published one; None if neither is known.

    Raises:
        MissingWeightsError: the file cannot be read.
    """
    import torch
    from diffusers import WanTransformer3DModel

    path = base_folder(profile, expert) / "config.json"
    if path.is_file():
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise MissingWeightsError(f"{path}: expected readable settings ({error}): fetch this file again") from error
    elif profile.checkpoint.hub in TRANSFORMERS:
        config = TRANSFORMERS[profile.checkpoint.hub]
    else:
        return None
    with torch.device("meta"):
        return linear_sizes(WanTransformer3DModel.from_config(config))
