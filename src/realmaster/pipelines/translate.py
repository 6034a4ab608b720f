"""Translate a rendered clip into a photoreal one: any length, any size, one pass.

The story: read a window of frames, bring it to the model's size, translate it (`sampling`), carry the change back to
the input's own pixels (`carry`), write, and go on with the next window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.media.encode import Codec
from realmaster.models.context_parallel import NoWriter, is_first, join_processes
from realmaster.models.loading import Models, load_profile_models
from realmaster.models.profiles import Profile, SamplingSettings, load_profile
from realmaster.models.step_caches import step_caches
from realmaster.pipelines.beside import Beside
from realmaster.pipelines.call import (
    OneAtATime,
    check_call,
    check_frames,
    check_models,
    check_paths,
    check_seconds,
    masks_of_call,
    open_output,
    open_render,
    read_rate,
    sampling_of_call,
    settings_of_sampling,
    warnings_of_call,
    warnings_of_render,
)
from realmaster.pipelines.carry import Carrier
from realmaster.pipelines.denoise import Mode
from realmaster.pipelines.exposure import Exposure
from realmaster.pipelines.protect import Weights
from realmaster.pipelines.refine import Refiner
from realmaster.pipelines.sampling import Prompt, Stopwatch, TranslatedWindow, WindowSampler
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.translation import Translation, as_rendered, timed
from realmaster.pipelines.windows import Window, cut_windows
from realmaster.types import VideoShape

__all__ = ["Translation", "Translator"]

Frames = npt.NDArray[np.uint8]
Progress = Callable[[int, int | None], None]
_REMEMBERED = 8  # prompts whose embeddings are kept: 4 MB each at full size


class Translator:
    """A profile's models, ready to translate clips, one at a time: a second thread waits for the first."""

    def __init__(self, profile: Profile, models: Models, *, mode: Mode, load_seconds: float = 0.0) -> None:
        """Use loaded models; `from_profile` loads them."""
        self.profile, self.models, self.mode, self.load_seconds = profile, models, mode, load_seconds
        self.texts: dict[tuple[str, str], Prompt] = {}
        self.warnings: tuple[str, ...] = ()
        self.asked: dict[str, Any] = {}  # what `from_profile` chose the models by
        self._one = OneAtATime()

    @classmethod
    def from_profile(
        cls,
        name: str = "nano",
        *,
        adapter: str | Path | None = None,
        reference: Literal["cached", "joint"] | None = None,
        device: str | None = None,
        dtype: Any = None,
        model_dir: str | Path | None = None,
        changes: Mapping[str, Any] | None = None,
        clip: VideoShape | None = None,
    ) -> Self:
        """Load a profile's models onto a device (the fastest there is by default).

        Args:
            name: a profile, or a YAML file of one's own.
            adapter: in-context adapter, instead of the profile's own.
            reference: how the render is read, if not as the adapter was trained.
            device: torch's name of it.
            dtype: of transformers and text encoder, instead of the profile's.
            model_dir: folder of the checkpoint, or one with a subfolder of the profile's name.
            changes: settings of the profile by their dotted names, such as {"memory.offload": "group"}.
            clip: size of the longest clip to come, whose memory is asked for before anything is loaded.

        Raises:
            ConfigError: no such profile, device or setting, or options that cannot work here.
            MissingWeightsError: a part is not there. MemoryLimitError: there is no room for it.
            AdapterError: it does not fit.
        """
        import torch

        check_models(name, adapter=adapter, device=device, model_dir=model_dir, changes=changes)
        watch = Stopwatch()
        profile = load_profile(str(name), model_dir=model_dir, changes=changes)
        device = join_processes(profile.memory, device)
        with watch.stage("load"):
            models, mode = load_profile_models(
                profile,
                adapter=None if adapter is None else Path(adapter),
                reference=reference,
                device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
                dtype=dtype,
                clip=clip,
            )
        translator = cls(profile, models, mode=mode, load_seconds=watch.seconds["load"])
        translator.asked = {
            "profile": str(name),
            "adapter": None if adapter is None else str(adapter),
            "model_dir": None if model_dir is None else str(model_dir),
            "changes": {
                **(changes or {}),
                **({} if dtype is None else {"memory.dtype": str(dtype).removeprefix("torch.")}),
            },
        }
        if adapter is None and profile.adapter_path is None and profile.checkpoint.hub is not None:
            translator.warnings = (
                f"no adapter given: {profile.name} was never taught to read a render; train one with "
                "`realmaster train`, or give one (--adapter, in Python adapter=)",
            )
        return translator

    def translate(
        self,
        clip: str | Path,
        output: str | Path,
        *,
        prompt: str = "",
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_scale_2: float | None = None,
        seed: int = 0,
        strength: float = 1.0,
        protect: str | Path | None = None,
        start_seconds: float = 0.0,
        duration_seconds: float | None = None,
        fps: Fraction | float | str | None = None,
        codec: Codec = "h264",
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Translation:
        """Translate a clip file or image folder into `output`, at the input's size, rate and length, with its sound.

        Where images become images, they keep their numbers. Strength 0 copies the input without asking the model.

        Args:
            clip: anything `realmaster.media.reader.open_clip` reads.
            output: written under a temporary name and renamed when whole; a pattern of images writes into its folder.
            prompt: what to see, above all the weather; empty leaves it to the render.
            negative_prompt: what guidance leads away from; acts where guidance_scale is not 1; None is the profile's.
            num_inference_steps: denoising steps; None takes the profile's.
            guidance_scale: weight of the prompt, 1 is off; None takes the profile's. With two experts it is both's,
                unless guidance_scale_2 is given too.
            guidance_scale_2: the low-noise expert's.
            seed: same seed, same machine, same bytes.
            strength: 0 keeps the render, 1 gives the translation.
            protect: image or clip whose white stays as rendered, or a segmentation with ids, "seg.png#3,17": an image,
                a clip, or a folder of images or of this project's labels.
            start_seconds: where to begin.
            duration_seconds: how much to translate; None goes to the end.
            fps: images a second, of images only: 24, 23.976 (which means 24000/1001), "30000/1001"; None is 16.
            codec: as `realmaster.media.writer.ClipWriter` takes it.
            overwrite: whether an existing output may be replaced.
            progress: called with the frames done and their total (None where unknown); it may not translate itself.

        Raises:
            MediaError: the clip or mask cannot be read. OutputError: the output cannot be written.
            ConfigError: a setting is out of bounds. NumericalError: the model failed.
        """
        seed, strength = check_call(prompt=prompt, negative_prompt=negative_prompt, seed=seed, strength=strength)
        start_seconds, duration_seconds = check_seconds(start_seconds, duration_seconds)
        check_paths(clip=clip, output=output)
        check_paths(optional=True, protect=protect)
        rate = None if fps is None else read_rate(fps)
        sampling = sampling_of_call(
            self.profile, num_inference_steps, guidance_scale, guidance_scale_2, negative_prompt
        )
        noted = (*self.warnings, *warnings_of_call(sampling, negative_prompt))
        negative_prompt = sampling.negative_prompt
        noted += (*self.models.tell_cuts(prompt, negative_prompt),)
        with (
            self._one.turn(),
            open_render(clip, start_seconds=start_seconds, duration_seconds=duration_seconds, fps=rate) as reader,
        ):
            watch = Stopwatch({"load": self.load_seconds})
            self.load_seconds = 0.0
            info = reader.info
            masks = None if protect is None else masks_of_call(protect, info, start_seconds)
            asked = output, codec, overwrite
            writer = open_output(*asked, clip, reader, protect, start_seconds) if is_first() else NoWriter()
            done = 0
            with writer:
                chunks = timed(reader.chunks(self.profile.window.num_frames), watch)
                for frames in self._translate_stream(
                    chunks, prompt, negative_prompt, sampling, seed, strength, masks, watch
                ):
                    with watch.stage("write"):
                        writer.write(frames)
                    done += len(frames)
                    if progress is not None:
                        progress(done, info.num_frames)
                if done == 0:
                    raise MediaError(f"{clip}: expected frames, found none: check the clip and where to start")
                with watch.stage("write"):
                    writer.close()
            warnings = (*noted, *warnings_of_render(reader, codec=codec), *(masks.warnings if masks else ()))
            warnings += (*writer.warnings,)
            truncated = reader.truncated
        settings = {
            "input": str(clip),
            "output": str(output),
            "profile": self.profile.name,
            **self.asked,
            "reference": self.mode,
            "prompt": prompt,
            **settings_of_sampling(sampling),
            "seed": seed,
            "strength": strength,
            "protect": None if protect is None else str(protect),
            "start_seconds": start_seconds,
            "duration_seconds": duration_seconds,
            "fps": None if rate is None else str(rate),
            "codec": codec,
            "device": str(self.models.device),
        }
        return Translation(Path(output), done, info, dict(watch.seconds), settings, warnings, truncated)

    def translate_frames(
        self,
        frames: Frames,
        *,
        prompt: str = "",
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_scale_2: float | None = None,
        seed: int = 0,
        strength: float = 1.0,
    ) -> Frames:
        """Translate frames in memory: uint8 [F, H, W, 3] to the same shape. Arguments as in `translate`."""
        check_frames(frames)
        seed, strength = check_call(prompt=prompt, negative_prompt=negative_prompt, seed=seed, strength=strength)
        sampling = sampling_of_call(
            self.profile, num_inference_steps, guidance_scale, guidance_scale_2, negative_prompt
        )
        with self._one.turn():
            stream = self._translate_stream(
                iter([frames]), prompt, sampling.negative_prompt, sampling, seed, strength, None, Stopwatch()
            )
            return np.concatenate(list(stream))

    def _translate_stream(
        self,
        chunks: Iterator[Frames],
        prompt: str,
        negative_prompt: str,
        sampling: SamplingSettings,
        seed: int,
        strength: float,
        masks: Iterator[Weights] | None,
        watch: Stopwatch,
    ) -> Iterator[Frames]:
        """Translate a stream of chunks [n, H, W, 3] window by window; memory holds one window, whatever the length."""
        if strength == 0:
            yield from as_rendered(chunks, masks)
            return
        profile = self.profile
        sampler = WindowSampler(
            self.models,
            mode=self.mode,
            spatial_scale=profile.reference.spatial_scale,
            sampling=sampling,
            seed=seed,
            memory=profile.memory,
            decode_guide=profile.transfer.channels != "pixels" and profile.refiner is None,
        )
        try:
            with watch.stage("encode"):
                text = self._encode_prompt(sampler, prompt, negative_prompt)
            before: TranslatedWindow | None = None
            carrier = Carrier(profile.transfer, strength, masks)
            with (
                step_caches(profile, self.models.experts, sampler.denoiser.num_steps),
                Beside[Frames](watch, "transfer") as beside,
            ):
                for window in cut_windows(chunks, profile.window, time_stride=self.models.time_stride):
                    before = self._translate_window(sampler, window, text, before, watch)
                    if done := beside.go_on(carrier.carry(window, before)):
                        yield np.stack(done)
                if done := beside.finish():
                    yield np.stack(done)
        finally:
            sampler.remove()

    def _encode_prompt(self, sampler: WindowSampler, prompt: str, negative_prompt: str) -> Prompt:
        """Encode prompts, or remember them: the text encoder may have been dropped since."""
        key = (prompt, negative_prompt)
        if key not in self.texts:
            encoded = sampler.encode_prompt(prompt, negative_prompt)
            while len(self.texts) >= _REMEMBERED:
                self.texts.pop(next(iter(self.texts)))
            self.texts[key] = encoded
        return self.texts[key]

    def _translate_window(
        self, sampler: WindowSampler, window: Window, text: Prompt, before: TranslatedWindow | None, watch: Stopwatch
    ) -> TranslatedWindow:
        with watch.stage("read"):
            stride = self.models.space_stride * self.profile.reference.spatial_scale
            shares = self.profile.memory.context_parallel
            size = self.profile.size.fit(*window.frames.shape[1:3], stride=stride, shares=shares)
            small = resize(window.frames, size)
            small = Exposure.of(small, self.profile.transfer).expose(small)
        held = before if window.num_held else None
        translated = sampler.translate(small, text, watch, held=held, num_held=window.num_held)
        if self.profile.refiner is None:
            return translated
        with watch.stage("refine"):
            renders = resize(window.frames, self.profile.refiner.fit(*window.frames.shape[1:3]))
            renders = Exposure.of(renders, self.profile.transfer).expose(renders)
            refiner = Refiner(self.models.refiner, mirror=self.profile.sampling.mirror)
            return refiner.refine(renders, translated, first=window.num_held)
