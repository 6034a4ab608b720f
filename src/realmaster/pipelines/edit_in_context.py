"""`NanoEditor`: keyframes edited by an in-context adapter over the profile's own video model, one frame at a time.

Separate from the translator, which reads windows of a clip: an anchor must not depend on its neighbours. It is the same
figure otherwise: encode, reference, noise, sample, decode, carry the change to the keyframe's own pixels.

Letters: N keyframes, H, W pixels; h, w of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from realmaster.models.identity import identify_weights
from realmaster.models.loading import Models, load_profile_models
from realmaster.models.machine import check_device
from realmaster.models.profiles import Profile, load_profile
from realmaster.pipelines.denoise import Mode
from realmaster.pipelines.enlarge import enlarge
from realmaster.pipelines.exposure import Exposure
from realmaster.pipelines.sampling import Stopwatch, WindowSampler
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.transfer import SteadyFit, apply_change

Frames = npt.NDArray[np.uint8]


class NanoEditor:
    """A profile's base with an in-context adapter trained on single frames (shipped for nano)."""

    def __init__(self, profile: Profile, models: Models, *, mode: Mode) -> None:
        """Use loaded models; `from_profile` loads them."""
        self.profile, self.models, self.mode = profile, models, mode
        self.name = "in_context"
        self.weights = identify_weights(profile)  # once: files are hashed for it

    @classmethod
    def from_profile(
        cls,
        name: str = "nano",
        *,
        device: str | None = None,
        model_dir: Path | str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load the editor of a profile whose `editor.kind` is in_context.

        Raises:
            ConfigError: no such profile or device. MissingWeightsError: base or adapter are not there.
            AdapterError: the adapter does not fit.
        """
        import torch

        if device is not None:
            check_device(device)
        profile = load_profile(f"{name}/editor", model_dir=model_dir, changes=changes)
        models, mode = load_profile_models(profile, device=device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(profile, models, mode=mode)

    def describe(self) -> dict[str, Any]:
        """Name the weights, and all settings that change a pixel."""
        return {
            "editor": self.name,
            "weights": self.weights,
            "instruction": self._instruction,
            "sampling": self.profile.effective_sampling.model_dump(mode="json"),
            "transfer": self.profile.transfer.model_dump(mode="json"),
        }

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        """Edit keyframes uint8 [N, H, W, 3] with one prompt and one noise; their pixels change in colour or are new.

        Raises:
            NumericalError: the model returned NaN or infinity.
        """
        profile, watch = self.profile, Stopwatch()
        sampling = profile.effective_sampling
        sampler = WindowSampler(
            self.models,
            mode=self.mode,
            spatial_scale=profile.reference.spatial_scale,
            sampling=sampling,
            seed=seed,
            memory=profile.memory,
            decode_guide=profile.transfer.channels != "pixels",
        )
        try:
            text = sampler.encode_prompt(self._instruction.format(prompt=prompt), sampling.negative_prompt)
            stride = self.models.space_stride * profile.reference.spatial_scale
            size = profile.size.fit(*frames.shape[1:3], stride=stride)
            edited = []
            for frame in frames:
                small = resize(frame[None], size)
                exposure = Exposure.of(small, profile.transfer)
                made = sampler.translate(exposure.expose(small), text, watch, held=None, num_held=0)
                if profile.transfer.channels == "pixels":
                    edited.append(enlarge(frame, made.frames[0]))
                else:
                    fit = SteadyFit(profile.transfer.model_copy(update={"remainder": 0.0}))  # as `propagate_vace` does
                    maps = fit.fit(small[0], made.guide[0], made.frames[0])
                    gain, share = float(exposure.gains[0]), float(exposure.shares[0])
                    edited.append(apply_change(frame, maps, strength=share, gain=gain))
        finally:
            sampler.remove()
        return np.stack(edited)

    @property
    def _instruction(self) -> str:
        return "{prompt}" if self.profile.editor is None else self.profile.editor.instruction
