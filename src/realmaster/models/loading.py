"""Load the models of a profile: the parts of a Wan checkpoint in diffusers layout, and the adapter if there is one.

The same code loads the embedded default and the full sizes: one transformer or two experts, everything on one device or
parts in host memory. What the profile asks of the machine is put into effect by `machine_options`, in one place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from realmaster.errors import ConfigError
from realmaster.models.adapter import load_adapters, read_metadata
from realmaster.models.adapter_stack import stack_loras
from realmaster.models.causal_conv import use_planar_convolutions
from realmaster.models.checkpoint import check_parts, check_revision, read_config, readable
from realmaster.models.machine_options import apply_options, check_options, check_room, check_sizes, place
from realmaster.models.placement import OneAtATime
from realmaster.models.profiles import SHIPPED, Profile, missing_remedy
from realmaster.models.refiner import load_refiner
from realmaster.models.text import describe_cuts, encode_prompts
from realmaster.types import VideoShape

logger = logging.getLogger(__name__)

__all__ = ["SHIPPED", "Models", "check_checkpoint", "load_parts", "load_profile_models", "missing_remedy", "no_bars"]

TEXT_SIZES = ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads")
"""What a text encoder's settings have to say: transformers has its own sizes for others, and fills them at random."""


@dataclass
class Models:
    """The parts of a profile, loaded."""

    autoencoder: Any
    tokenizer: Any
    text_encoder: Any  # None until it is needed, and again after it was dropped
    transformer: Any
    max_length: int
    transformer_2: Any | None = None
    refiner: Any | None = None
    boundary: float | None = None
    execution_device: torch.device | None = None
    swap: OneAtATime | None = None
    load_text_encoder: Callable[[], Any] | None = None
    drop_text_encoder: bool = False
    reference_adapted: bool = True  # whether the adapter is on while a cached reference is read
    told: set[str] = field(default_factory=set)  # prompts whose user was told whether they are cut

    @property
    def experts(self) -> dict[str, Any]:
        """The transformer, or the high-noise and the low-noise expert, by their part of a pipeline."""
        experts = {"transformer": self.transformer}
        return experts if self.transformer_2 is None else {**experts, "transformer_2": self.transformer_2}

    @property
    def device(self) -> torch.device:
        """Where the models compute."""
        device: torch.device = self.execution_device or self.transformer.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the transformers compute in, whatever their weights are kept in."""
        dtype: torch.dtype = self.transformer.dtype
        return dtype

    @property
    def time_stride(self) -> int:
        """Pixel frames a latent frame covers."""
        stride: int = self.autoencoder.config.scale_factor_temporal
        return stride

    @property
    def space_stride(self) -> int:
        """Pixels a token's side covers: sizes are multiples of it."""
        patch = self.transformer.config.patch_size
        stride: int = self.autoencoder.config.scale_factor_spatial * max(patch[1], patch[2])
        return stride

    def expert_at(self, timestep: float) -> str:
        """Say which expert works at a timestep, 1000 sigma: the high-noise one from the boundary on."""
        return "transformer" if self.boundary is None or timestep >= self.boundary * 1000 else "transformer_2"

    def bring(self, name: str) -> Any:
        """Give an expert, on the device where it computes; the other one leaves if there is no room for both."""
        if self.swap is not None:
            self.swap.bring(name)
        return self.experts[name]

    def tell_cuts(self, *prompts: str) -> list[str]:
        """Say which prompts will be cut, for whoever shows warnings; `encode_text` then keeps still about them."""
        self.told.update(prompts)
        return describe_cuts(self.tokenizer, prompts, max_length=self.max_length)

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Encode prompts to [B, L, D]; the text encoder is loaded if it has to be, and dropped if it is to be."""
        if self.text_encoder is None:
            assert self.load_text_encoder is not None, "a text encoder is there, or can be loaded"
            self.text_encoder = self.load_text_encoder()
        embeddings = encode_prompts(
            self.tokenizer, self.text_encoder, prompts, max_length=self.max_length, told=self.told
        )
        if self.drop_text_encoder and self.load_text_encoder is not None:
            self.text_encoder = None
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return embeddings


def load_parts(
    folder: Path,
    *,
    transformer: str = "transformer",
    transformer_2: str | None = None,
    refiner: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    max_length: int | None = None,
    boundary: float | None = None,
    drop_text_encoder: bool = False,
    transformers_on_host: bool = False,
    remedy: str = SHIPPED,
) -> Models:
    """Load autoencoder, tokenizer, text encoder and transformers from a folder in diffusers layout.

    The autoencoder stays in float32 (published advice for Wan), and so does the refiner; the others take `dtype`,
    float32 by default. With `transformers_on_host` the transformers stay in host memory, for `machine_options` to
    place. With `drop_text_encoder` the text encoder is loaded when a prompt is encoded, and dropped after.

    Raises:
        MissingWeightsError: a part is not there, incomplete or cannot be read; the message names it and says `remedy`.
    """
    from diffusers import AutoencoderKLWan
    from transformers import AutoTokenizer, UMT5EncoderModel

    parts = {"transformer": transformer} | ({} if transformer_2 is None else {"transformer_2": transformer_2})
    refiners = () if refiner is None else (refiner,)
    check_parts(folder, ("vae", "tokenizer", "text_encoder", *parts.values(), *refiners), remedy=remedy)
    number_type = dtype or torch.float32
    home = torch.device("cpu" if transformers_on_host else device)

    def load_text_encoder() -> Any:
        with no_bars(), readable(folder, ("text_encoder",), remedy=remedy):
            read_config(folder / "text_encoder" / "config.json", needs=TEXT_SIZES, remedy=remedy)
            encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=number_type)
        return encoder.requires_grad_(False).eval().to(device)

    def load_transformer(name: str) -> Any:
        with no_bars():
            loaded = _transformer_class(folder / name).from_pretrained(folder / name, torch_dtype=number_type)
        return loaded.requires_grad_(False).eval().to(home)

    with readable(folder, ("vae", "tokenizer", *parts.values(), *refiners), remedy=remedy):
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        autoencoder = AutoencoderKLWan.from_pretrained(folder / "vae", torch_dtype=torch.float32)
        models = Models(
            autoencoder=autoencoder.requires_grad_(False).eval().to(device),
            tokenizer=tokenizer,
            text_encoder=None if drop_text_encoder else load_text_encoder(),
            max_length=max_length or tokenizer.model_max_length,
            refiner=None if refiner is None else load_refiner(folder / refiner).to(device),
            boundary=boundary,
            execution_device=torch.device(device),
            load_text_encoder=load_text_encoder,
            drop_text_encoder=drop_text_encoder,
            **{name: load_transformer(part) for name, part in parts.items()},
        )
    if torch.device(device).type == "cpu":
        use_planar_convolutions(models.autoencoder)
    return models


def load_profile_models(
    profile: Profile,
    *,
    adapter: Path | None = None,
    reference: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    clip: VideoShape | None = None,
) -> tuple[Models, Literal["cached", "joint"]]:
    """Load what a profile names and give the models with the reference mode they were trained for.

    An `adapter` goes over the plain base instead of the profile's own; `reference` asks for a mode; `dtype` goes before
    the profile's. The memory that `clip` will take is asked for before anything is loaded.

    Raises:
        MissingWeightsError: a part is missing. AdapterError: the adapter does not fit.
        MemoryLimitError: there is no room. ConfigError: an option cannot work here, or the profile's
            own models were trained with another reference mode.
    """
    chosen = adapter or profile.adapter_path
    trained, asked = profile.checkpoint.reference or profile.reference.mode, reference or profile.reference.mode
    if chosen is None and asked != trained:
        option = "--set reference.mode" if reference is None else "--reference"
        raise ConfigError(
            f"expected {option}{'=' if reference is None else ' '}{trained}, which profile {profile.name!r} was "
            f"trained with, got {asked}: leave it out, or give an adapter trained {asked}"
        )
    metadata = None if chosen is None else read_metadata(chosen)
    mode = profile.reference.mode if metadata is None else metadata.reference
    device = torch.device(device)
    names = profile.transformers if chosen is None else {**profile.transformers, "transformer": "transformer"}
    check_options(profile, mode=mode, device=device)
    check_checkpoint(profile, names)
    chosen_dtype = profile.memory.dtype if dtype is None else str(dtype).removeprefix("torch.")
    profile = profile.change({"memory.dtype": chosen_dtype, "reference.mode": mode})
    dtype, memory = getattr(torch, chosen_dtype), profile.memory
    check_room(profile, clip, device=device)
    models = load_parts(
        profile.folder,
        **names,
        refiner=None if profile.refiner is None else profile.refiner.part,
        device=device,
        dtype=dtype,
        max_length=profile.text.max_length,
        boundary=profile.sampling.boundary,
        drop_text_encoder=memory.drop_text_encoder,
        transformers_on_host=memory.offload != "none" or memory.layerwise_fp8,
        remedy=missing_remedy(profile),
    )
    if chosen is not None:
        metadata = load_adapters(
            models.experts,
            chosen,
            base_model=profile.base_name,
            reference=reference,
            reference_scale=profile.reference.spatial_scale,
        )
        models.reference_adapted = metadata.reference_adapted
    if profile.few_step.enabled:
        stack_loras(models.experts, [(Path(str(profile.few_step.lora)), profile.few_step.strength)])
    apply_options(models.autoencoder, models.experts, memory, device=device, dtype=dtype)
    models.swap = place(profile, models.experts, device=device)
    return models, mode


def check_checkpoint(
    profile: Profile, transformers: dict[str, str] | None = None, *, remedy: str | None = None
) -> None:
    """Refuse a profile's checkpoint that is missing, incomplete, of another revision, or does not fit its sizes.

    Raises:
        MissingWeightsError, ConfigError: with the file or the setting.
    """
    names, folder, remedy = transformers or profile.transformers, profile.folder, remedy or missing_remedy(profile)
    check_revision(folder, hub=profile.checkpoint.hub, revision=profile.checkpoint.revision)
    others = [part for part in profile.parts if part not in profile.transformers.values()]  # adapters go over others
    check_parts(folder, (*others, *names.values()), remedy=remedy)
    check_sizes(profile, folder, transformer=names["transformer"], remedy=remedy)


def _transformer_class(part: Path) -> Any:
    """Choose the class that a transformer's settings name: Wan's own, or the one with VACE's control branch."""
    import diffusers

    named = read_config(part / "config.json").get("_class_name", "WanTransformer3DModel")
    if named not in ("WanTransformer3DModel", "WanVACETransformer3DModel"):
        raise ValueError(f"expected a Wan or VACE transformer, {part.name} is a {named}")
    return getattr(diffusers, named)


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep the libraries' own progress bars off the terminal: only the command line prints."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in libraries:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in libraries:
            library.enable_progress_bar()
