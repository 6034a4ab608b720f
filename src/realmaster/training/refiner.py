"""Train nano's refiner: from the render and nano's own picture of it, enlarged, to the photograph at the pairs' size.

It comes after the reference transformer, whose pictures it has to mend. They are drawn once and kept in the run folder.

What nano learns from, its teachers' answers, are means of all that may be, and soft. Here the photographs themselves
are the aim wherever there are any: in squared error, which asks for the mean again, in structural similarity, which
asks for the contrast that a thing has, and in gradient energy, which asks for edges as strong as the photograph's.

Letters: B batch, h, w pixels of a crop.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from realmaster.config import Settings
from realmaster.data.frames import Frames, Pair, fit
from realmaster.models.loading import Models
from realmaster.models.profiles import SamplingSettings
from realmaster.models.refiner import RefinerSizes, refine, to_tensor
from realmaster.pipelines.enlarge import enlarge
from realmaster.pipelines.sampling import WindowSampler
from realmaster.pipelines.stopwatch import Stopwatch
from realmaster.training.loop import Loop, LoopSettings

logger = logging.getLogger(__name__)

_SMALL = 1e-3  # mean square error, of 1, below which a crop need not come: 30 dB
_WINDOW = 5  # frames that nano is shown: a shot's first frame is alone in its latent, and is not learnt from
_MARGIN = 16  # a still picture is shown as a pan within this share of its sides


class RefinerTraining(Settings):
    """How the refiner is trained."""

    sizes: RefinerSizes = RefinerSizes()
    loop: LoopSettings = LoopSettings(num_steps=5000, learning_rate=1e-3, weight_decay=0.02, average=0.995)
    shown_size: tuple[int, int] = Field((96, 176), description="height and width in pixels at which nano translates")
    batch_size: int = Field(8, ge=1, description="crops a step")
    crop: tuple[float, float] = Field((0.55, 0.94), description="range of a crop's sides, in the frame's")
    ssim_weight: float = Field(9.0, ge=0, description="weight of 1 - SSIM beside the logarithm of the squared error")
    energy_weight: float = Field(2.0, ge=0, description="weight of the squared logarithm of what is missing in edges")
    energy: float = Field(1.0, gt=0, le=2, description="gradient energy to reach, in the photograph's")


@dataclass(frozen=True)
class _Shown:
    """Some frames of a pair: the render, nano's picture of it and what it should be, each uint8 [n, h, w, 3]."""

    render: Frames
    picture: Frames
    camera: Frames
    is_photograph: bool


def train_refiner(
    models: Models,
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    folder: Path,
    settings: RefinerTraining,
    *,
    answered: Sequence[Pair] = (),
) -> Any:
    """Train a refiner for models whose transformer reads references (cached); give it in eval mode.

    `answered` are pairs whose photographs are teachers' answers: no model of sharpness, so that only their squared
    error counts.

    Raises:
        NumericalError: the loss is not finite.
    """
    torch.manual_seed(settings.loop.seed)
    device = models.device
    net = settings.sizes.build().to(device)
    loop = Loop(folder, net, settings.loop)
    shown = _show(models, [*pairs, *answered], folder / "pictures", settings, num_photographs=len(pairs))
    held_out = _show(models, validation, folder / "pictures_held_out", settings, num_photographs=len(validation))

    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        chosen = [shown[int(generator.integers(len(shown)))] for _ in range(settings.batch_size)]
        height, width = (min(sides) for sides in zip(*(one.render.shape[1:3] for one in chosen), strict=True))
        size = _part(height, generator, settings), _part(width, generator, settings)
        crops = [_crop(one, size, generator) for one in chosen]
        render, picture, camera = (to_tensor(np.stack(frames), device) for frames in zip(*crops, strict=True))
        refined = refine(net, render, picture)
        errors = ((refined - camera) / 2).square().mean(dim=(1, 2, 3))
        losses = {"loss": (errors + _SMALL).log().mean()}
        of_photograph = torch.tensor([one.is_photograph for one in chosen], device=device)
        if of_photograph.any():
            found, truth = refined[of_photograph], camera[of_photograph]
            losses["ssim"] = ssim(found, truth)
            missing = (energy(found) + 1).log() - (energy(truth) + 1).log() - math.log(settings.energy)
            losses["loss"] = losses["loss"] + settings.ssim_weight * (1 - losses["ssim"])
            losses["loss"] = losses["loss"] + settings.energy_weight * missing.square().mean()
        return losses

    @torch.no_grad()
    def validate() -> dict[str, float]:
        scores: dict[str, list[float]] = {"psnr_before": [], "psnr": []}
        for one in held_out:
            render, picture, camera = (to_tensor(part, device) for part in (one.render, one.picture, one.camera))
            for name, drawn in (("psnr_before", picture), ("psnr", refine(net, render, picture).clamp(-1, 1))):
                scores[name].append(-10 * float(torch.log10(((drawn - camera) / 2).square().mean())))
        return {name: float(np.mean(values)) for name, values in scores.items()}

    loop.run(step, validate if validation else None)
    loop.average.keep()
    return net.eval()


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of each colour of pictures [B, 3, h, w] in [-1, 1] (Wang et al., 2004), by a Gaussian.

    It is measured on lumas; trained on them, contrast would come as green light and purple shade, which are cheapest.
    """
    x, y = (_colours(picture) / 255 for picture in (first, second))
    line = torch.exp(-0.5 * ((torch.arange(11, device=first.device) - 5) / 1.5) ** 2)
    line = line / line.sum()

    def blur(values: Tensor) -> Tensor:
        return functional.conv2d(functional.conv2d(values, line.view(1, 1, 1, -1)), line.view(1, 1, -1, 1))

    mean_x, mean_y = blur(x), blur(y)
    spread_x, spread_y, both = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2, blur(x * y) - mean_x * mean_y
    alike = (2 * mean_x * mean_y + 0.01**2) * (2 * both + 0.03**2)
    return (alike / ((mean_x**2 + mean_y**2 + 0.01**2) * (spread_x + spread_y + 0.03**2))).mean()


def energy(pictures: Tensor) -> Tensor:
    """Mean squared Sobel gradient of the colours of pictures [B, 3, h, w] in [-1, 1], in levels squared: [B]."""
    sobel = pictures.new_tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    gradients = functional.conv2d(_colours(pictures), torch.stack([sobel, sobel.T])[:, None])
    return gradients.square().sum(dim=1).mean(dim=(1, 2)).view(len(pictures), 3).mean(dim=1)


def _colours(pictures: Tensor) -> Tensor:
    """Each colour of pictures [B, 3, h, w] in [-1, 1] as a picture of its own, in levels: [3 B, 1, h, w]."""
    return (pictures.flatten(0, 1)[:, None] + 1) * 127.5


def _show(
    models: Models, pairs: Sequence[Pair], folder: Path, settings: RefinerTraining, *, num_photographs: int
) -> list[_Shown]:
    """Let nano translate the pairs, as `nano.yaml` has it, or read what it drew before; the first have photographs."""
    folder.mkdir(parents=True, exist_ok=True)
    sampling = SamplingSettings(num_inference_steps=1, shift=3.0, still_noise=True, mirror=True)
    sampler = WindowSampler(models, mode="cached", spatial_scale=1, sampling=sampling, seed=0, decode_guide=False)
    logger.info("letting nano translate %d pairs", len(pairs))
    try:
        return [
            replace(_show_pair(sampler, pair, folder / f"{index}.npz", settings), is_photograph=index < num_photographs)
            for index, pair in enumerate(pairs)
        ]
    finally:
        sampler.remove()


def _show_pair(sampler: WindowSampler, pair: Pair, file: Path, settings: RefinerTraining) -> _Shown:
    """Show a window of the pair to nano; of a shorter clip, a pan over its first frame, and the last of that."""
    if pair.engine.shape[0] >= _WINDOW:
        render, camera, kept = pair.engine[:_WINDOW], pair.camera[:_WINDOW], slice(1, _WINDOW)
    else:
        pan = _pan(pair.engine.shape, np.random.default_rng(int(file.stem)))
        render, camera = (np.stack([look[0][place] for place in pan]) for look in (pair.engine, pair.camera))
        kept = slice(_WINDOW - 1, _WINDOW)
    if file.exists():
        picture = np.load(file)["picture"]
    else:
        prompt = sampler.encode_prompt(pair.row.caption, "")
        seen = fit(render, settings.shown_size)
        small = sampler.translate(seen, prompt, Stopwatch(), held=None, num_held=0).frames[kept]
        picture = np.stack([enlarge(frame, drawn) for frame, drawn in zip(render[kept], small, strict=True)])
        temporary = file.with_suffix(".partial.npz")
        np.savez(temporary, picture=picture)
        temporary.replace(file)
    return _Shown(render[kept], picture, camera[kept], is_photograph=True)


def _pan(shape: tuple[int, ...], generator: np.random.Generator) -> list[tuple[slice, slice]]:
    """Places [height, width] of a window's frames in a still picture: a slow pan, or none at all."""
    sides = [side - side // _MARGIN for side in shape[1:3]]
    room = [side // _MARGIN for side in shape[1:3]]
    start = [generator.uniform(0, most) for most in room]
    speed = generator.normal(0, (0.7, 2.0)) * (generator.random() < 0.6)
    places = []
    for index in range(_WINDOW):
        first = [int(np.clip(round(s + v * index), 0, most)) for s, v, most in zip(start, speed, room, strict=True)]
        top, left = (slice(begin, begin + side) for begin, side in zip(first, sides, strict=True))
        places.append((top, left))
    return places


def _part(side: int, generator: np.random.Generator, settings: RefinerTraining) -> int:
    """Draw a crop's side, a multiple of 16 where there is room for it."""
    return max(min(side, 16), int(side * generator.uniform(*settings.crop)) // 16 * 16)


def _crop(one: _Shown, size: tuple[int, int], generator: np.random.Generator) -> list[Frames]:
    """Cut the same place out of one frame of the render, the picture and the photograph, mirrored every other time."""
    count, height, width = one.render.shape[:3]
    index = int(generator.integers(count))
    top, left = (int(generator.integers(whole - part + 1)) for whole, part in zip((height, width), size, strict=True))
    step = -1 if generator.random() < 0.5 else 1
    place = slice(top, top + size[0]), slice(left, left + size[1])
    return [frames[index][place][:, ::step] for frames in (one.render, one.picture, one.camera)]
