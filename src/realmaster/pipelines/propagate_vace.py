"""`VacePropagator`: edited keyframes carried over a clip by VACE, through diffusers' own pipeline.

Separate from the conditions (`vace`), which training shares: here a clip of any length and size becomes calls of the
model's, and their frames become the clip again.

A clip longer than the model's window is chained: each window keeps the frames that it shares with the one before, which
has decided them: one as a rule, more in the last, which ends where the clip ends.

Letters: F frames, H, W pixels; h, w of the model; latents [1, C, F', h', w'].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from realmaster.errors import ConfigError, MemoryLimitError, NumericalError
from realmaster.models.identity import identify_weights
from realmaster.models.loading import Models
from realmaster.models.machine import check_device
from realmaster.models.profiles import Profile, load_profile
from realmaster.models.vace import load_vace
from realmaster.pipelines.enlarge import enlarge
from realmaster.pipelines.sampling import WindowSampler
from realmaster.pipelines.schedule import build_scheduler
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.transfer import SteadyFit, apply_change
from realmaster.pipelines.vace import arrange_conditions, as_pictures, build_vace_pipeline, mask_conditions
from realmaster.types import round_up_frames

Frames = npt.NDArray[np.uint8]


class VacePropagator:
    """A VACE checkpoint: Wan2.1's of 1.3 B or 14 B, or the control branch of nano."""

    def __init__(self, profile: Profile, models: Models) -> None:
        """Use loaded models; `from_profile` loads them."""
        self.profile, self.models = profile, models
        self.pipeline = build_vace_pipeline(models, build_scheduler(profile.sampling))
        self.name = "vace"
        self.weights = identify_weights(profile)  # once: files are hashed for it
        self.texts: dict[str, Tensor] = {}

    @classmethod
    def from_profile(
        cls,
        name: str = "nano",
        *,
        device: str | None = None,
        model_dir: Path | str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load the propagator of a profile.

        Raises:
            ConfigError: no such profile or device, or options that cannot work here.
            MissingWeightsError: a part is not there.
        """
        if device is not None:
            check_device(device)
        profile = load_profile(f"{name}/vace", model_dir=model_dir, changes=changes)
        return cls(profile, load_vace(profile, device=device or ("cuda" if torch.cuda.is_available() else "cpu")))

    def describe(self) -> dict[str, Any]:
        """Name the weights, and all settings that change a pixel."""
        return {
            "propagator": self.name,
            "weights": self.weights,
            "sampling": self.profile.sampling.model_dump(mode="json"),
            "num_frames": self.profile.window.num_frames,
            "conditioning_scale": self._scale,
            "size": self.profile.size.model_dump(mode="json", include={"height", "width"}),
            "transfer": self.profile.transfer.model_dump(mode="json"),
            "dtype": self.profile.memory.dtype,
        }

    def control_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the model reads a clip of this size: a control drawn there loses no line."""
        return self.profile.size.fit(height, width, stride=self.models.space_stride)

    def propagate(
        self, source: Frames, anchors: Mapping[int, Frames], control: Frames | None, *, prompt: str, seed: int
    ) -> Frames:
        """Make the clip that has the anchors' look and the control's motion: uint8 [F, H, W, 3], as `Propagator` says.

        `control` may be of the source's size or of `control_size`.

        Raises:
            ConfigError: anchors or control are not this clip's. NumericalError: the model returned NaN.
            MemoryLimitError: the accelerator's memory ran out.
        """
        check_inputs(source, anchors, control)
        size = self.control_size(*source.shape[1:3])
        small = resize(source, size)
        kept = {index: resize(anchor[None], size)[0] for index, anchor in anchors.items()}
        drawn = None if control is None else resize(control, size)
        made = self.propagate_small(small.shape, kept, drawn, prompt=prompt, seed=seed)
        if self.profile.transfer.channels == "pixels":
            return np.stack([enlarge(frame, shown) for frame, shown in zip(source, made, strict=True)])
        return self._carry_over(source, small, made)

    def propagate_small(
        self,
        shape: tuple[int, ...],
        anchors: Mapping[int, Frames],
        control: Frames | None,
        *,
        prompt: str,
        seed: int,
    ) -> Frames:
        """Make a clip of `shape` [F, h, w, 3] at the model's size from conditions of that size, window by window."""
        made = np.zeros(shape, np.uint8)
        decided = 0
        for window in cut_chain(shape[0], self.profile.window.num_frames, time_stride=self.models.time_stride):
            kept = {index - window.start: frame for index, frame in anchors.items() if index in window}
            kept = {index - window.start: made[index] for index in window if index < decided} | kept
            frames = None if control is None else _cut(control, window)
            for index in range(shape[0] - window.start, len(window)):  # padding shows the last frame again
                if shape[0] - 1 in anchors:
                    kept[index] = anchors[shape[0] - 1]
            new = self.make_window((len(window), *shape[1:]), kept, frames, prompt=prompt, seed=seed)
            stop = min(window.stop, shape[0])
            made[decided:stop] = new[decided - window.start : stop - window.start]
            decided = stop
        return made

    def make_window(
        self, shape: tuple[int, ...], anchors: Mapping[int, Frames], control: Frames | None, *, prompt: str, seed: int
    ) -> Frames:
        """Make one window of `shape` [F, h, w, 3] with one call of diffusers' pipeline.

        Raises:
            NumericalError: the model returned NaN. MemoryLimitError: the accelerator's memory ran out.
        """
        video = self.call(shape, anchors, control, prompt=prompt, seed=seed, output_type="np")[0]
        if not np.isfinite(video).all():
            raise NumericalError(
                "expected finite pixels from the propagator, got NaN: set propagation.memory.dtype=float32"
            )
        return np.rint(video * 255).astype(np.uint8)

    def call(
        self,
        shape: tuple[int, ...],
        anchors: Mapping[int, Frames],
        control: Frames | None,
        *,
        prompt: str,
        seed: int,
        output_type: str,
    ) -> Any:
        """Call diffusers' pipeline on one window: what it returns for `output_type` ("latent", "np", ...)."""
        sampling = self.profile.sampling
        num_frames, height, width = shape[:3]
        self.pipeline.scheduler = build_scheduler(sampling)
        guided = sampling.guidance_scale > 1
        positive = self._encode(prompt)
        self.models.bring("transformer")
        try:
            return self.pipeline(
                prompt_embeds=positive,
                negative_prompt_embeds=self._encode(sampling.negative_prompt) if guided else None,
                video=as_pictures(arrange_conditions(shape, anchors, control)),
                mask=as_pictures(mask_conditions(shape, anchors)),
                height=height,
                width=width,
                num_frames=num_frames,
                num_inference_steps=sampling.num_inference_steps,
                guidance_scale=sampling.guidance_scale,
                conditioning_scale=self._scale,
                generator=torch.Generator("cpu").manual_seed(seed),
                latents=self._still_noise(shape, seed) if sampling.still_noise else None,
                output_type=output_type,
                return_dict=False,
            )[0]
        except torch.OutOfMemoryError as error:
            raise MemoryLimitError(
                f"expected memory to propagate {num_frames} frames of {width}x{height}, it ran out: set "
                "propagation.memory.offload=group or propagation.memory.layerwise_fp8=true"
            ) from error

    @property
    def _scale(self) -> float:
        return 1.0 if self.profile.propagation is None else self.profile.propagation.conditioning_scale

    @torch.inference_mode()
    def _encode(self, prompt: str) -> Tensor:
        """Encode a prompt, or remember the last few: the text encoder may have been dropped since."""
        if prompt not in self.texts:
            while len(self.texts) >= 8:
                self.texts.pop(next(iter(self.texts)))
            self.texts[prompt] = self.models.encode_text([prompt])
        return self.texts[prompt]

    def _still_noise(self, shape: tuple[int, ...], seed: int) -> Tensor:
        """Draw noise that is the same in every latent frame, for models trained with it."""
        num_frames = 1 + (shape[0] - 1) // self.models.time_stride
        stride = self.models.autoencoder.config.scale_factor_spatial
        size = (1, self.models.transformer.config.in_channels, 1, shape[1] // stride, shape[2] // stride)
        drawn = torch.randn(size, generator=torch.Generator("cpu").manual_seed(seed))
        return drawn.expand(-1, -1, num_frames, -1, -1).contiguous()

    def _carry_over(self, source: Frames, small: Frames, made: Frames) -> Frames:
        """Carry the change to the source's own pixels, as the translator does: what is new at small size is lost."""
        coder = WindowSampler(
            self.models, mode="off", spatial_scale=1, sampling=self.profile.sampling, seed=0, memory=self.profile.memory
        )
        length = self.profile.window.num_frames
        # what the maps leave is this model's blur: carried on, it cost edges and motion and brought no decibel
        steady, out = SteadyFit(self.profile.transfer.model_copy(update={"remainder": 0.0})), []
        for start in range(0, len(source), length):
            window = range(start, min(start + length, len(source)))
            beyond = start + round_up_frames(len(window), self.models.time_stride)
            padded = _cut(small, range(start, beyond))
            with torch.inference_mode():
                guide = coder.decode(coder.encode(padded))[0]
            if not steady.begun:
                steady.begin(small[0], guide[: len(window)], made[: len(window)])
            for index in window:
                maps = steady.fit(small[index], guide[index - start], made[index])
                out.append(apply_change(source[index], maps))
        return np.stack(out)


def cut_chain(num_frames: int, length: int, *, time_stride: int) -> Iterator[range]:
    """Cut a clip into windows of `length` frames, each beginning on the last frame of the one before.

    The last window of a longer clip ends with it and shares what that takes. A shorter clip is one, rounded up to
    whole latent frames.
    """
    if num_frames <= length:
        yield range(round_up_frames(num_frames, time_stride))
        return
    start = 0
    while start + length < num_frames:
        yield range(start, start + length)
        start += length - 1
    yield range(num_frames - length, num_frames)


def check_inputs(source: Frames, anchors: Mapping[int, Frames], control: Frames | None) -> None:
    """Refuse anchors or a control that are not this clip's.

    Raises:
        ConfigError: with both sizes, or the index.
    """
    for index, anchor in anchors.items():
        if not 0 <= index < len(source):
            raise ConfigError(f"expected anchors among the clip's {len(source)} frames, got one at {index}")
        if anchor.shape != source.shape[1:]:
            raise ConfigError(
                f"expected anchors of {list(source.shape[1:])} as the clip has, got {list(anchor.shape)} at {index}"
            )
    if control is not None and (control.ndim != 4 or len(control) != len(source) or control.shape[3] != 3):
        raise ConfigError(f"expected a control of {len(source)} frames as the clip has, got {list(control.shape)}")


def _cut(frames: Frames, window: range) -> Frames:
    """Cut a window out of frames; beyond their end the last one is shown again."""
    return frames[[min(index, len(frames) - 1) for index in window]]
