"""Convolutional teachers for nano's reference step, which learns from their answers as well as from the truth.

A photograph holds much that its render does not tell (where the sun just reaches, which windows are lit, the grade). A
toy transformer learns such things by heart, scene by scene: it stood a decibel higher on scenes that it had seen. A
convolutional net of its size, told the weathers, does so less, and its answers hold what can be told from a render and
little else (distillation: Hinton, Vinyals and Dean, 2015). Several, trained apart, err apart, and their mean errs less.
What they are worth is in docs/findings.md. They are not shipped.

Letters: B batch, H, W pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from realmaster.config import Settings
from realmaster.data.frames import Crop, Frames, Pair
from realmaster.data.render.plan import other_captions
from realmaster.training.loop import Loop, LoopSettings

logger = logging.getLogger(__name__)

_FOLD = 4  # pixels folded into channels before the first layer
_STEP = 16  # sides are brought to multiples of this: the fold, and two halvings
_SMALL = 0.004  # mean square error, of 1, below which a crop need not come: 24 dB


class TeacherSettings(Settings):
    """The teachers, and how far they are listened to."""

    count: int = Field(2, ge=1, description="teachers, each trained from a seed of its own; their mean is learnt")
    share: float = Field(0.7, gt=0, le=1, description="what is learnt is this much their answer, the rest is the truth")
    loop: LoopSettings = LoopSettings(num_steps=5000, learning_rate=1e-3, weight_decay=0.05, average=0.998)
    batch_size: int = Field(8, ge=1, description="crops a step")
    crop: tuple[float, float] = Field((0.6, 1.0), description="range of a crop's height, in the frame's")
    widths: tuple[Annotated[int, Field(ge=16, multiple_of=16)], ...] = Field(
        (32, 64, 128), min_length=2, max_length=3, description="channels at 1/4, 1/8 and 1/16 of the pairs' size"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="share of what a block adds that is dropped in training")


class Teacher(nn.Module):
    """A U-Net (diffusers `UNet2DModel`) from a render and the two weathers to a photograph."""

    def __init__(self, settings: TeacherSettings, pairs: Sequence[Pair]) -> None:
        """Make it untrained, for the weathers of these pairs: its first answer is the render itself."""
        super().__init__()
        from diffusers import UNet2DModel

        self.weathers = sorted({pair.row.weathers for pair in pairs})
        depth = len(settings.widths) - 1
        self.net: Any = UNet2DModel(
            in_channels=3 * _FOLD**2,
            out_channels=3 * _FOLD**2,
            block_out_channels=settings.widths,
            layers_per_block=2,
            down_block_types=("DownBlock2D",) * depth + ("AttnDownBlock2D",),
            up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * depth,
            norm_num_groups=8,
            attention_head_dim=16,
            num_class_embeds=1 + len(self.weathers),
            dropout=settings.dropout,
        )
        nn.init.zeros_(self.net.conv_out.weight)
        nn.init.zeros_(self.net.conv_out.bias)

    def forward(self, render: Tensor, kinds: Tensor) -> Tensor:
        """Answer [B, 3, H, W] in [-1, 1] for renders of sides that 16 divides; kinds [B] are `kind`'s."""
        folded = F.pixel_unshuffle(render, _FOLD)
        change: Tensor = self.net(folded, 0, class_labels=kinds, return_dict=False)[0]
        return render + F.pixel_shuffle(change, _FOLD)

    def kind(self, pair: Pair) -> int:
        """Number the weathers of a pair, the render's and the photograph's; 0 are those it was not made for."""
        return 1 + self.weathers.index(pair.row.weathers) if pair.row.weathers in self.weathers else 0


def train_teachers(
    pairs: Sequence[Pair], validation: Sequence[Pair], folder: Path, settings: TeacherSettings, *, device: str = "cpu"
) -> list[Teacher]:
    """Train teachers at the pairs' own size, or load those that a folder holds; give them in eval mode.

    Raises:
        NumericalError: the loss is not finite.
    """
    return [
        _train(
            pairs,
            validation,
            folder / str(number),
            settings,
            settings.loop.model_copy(update={"seed": settings.loop.seed + number}),
            device,
        )
        for number in range(settings.count)
    ]


def _train(
    pairs: Sequence[Pair],
    validation: Sequence[Pair],
    folder: Path,
    settings: TeacherSettings,
    loop_settings: LoopSettings,
    device: str,
) -> Teacher:
    torch.manual_seed(loop_settings.seed)
    teacher = Teacher(settings, pairs).to(device)
    loop = Loop(folder, teacher, loop_settings)

    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        chosen = [pairs[int(generator.integers(len(pairs)))] for _ in range(settings.batch_size)]
        height, width = chosen[0].engine.shape[1:3]
        part = generator.uniform(*settings.crop)
        size = _whole_steps(height * part), _whole_steps(width * part)
        crops = [Crop.draw(generator, pair.engine.shape, num_frames=1, size=size) for pair in chosen]
        engine, camera = (
            torch.from_numpy(
                np.stack([crop.cut(getattr(pair, look))[:, 0] for crop, pair in zip(crops, chosen, strict=True)])
            ).to(device)
            for look in ("engine", "camera")
        )
        kinds = torch.tensor([teacher.kind(pair) for pair in chosen], device=device)
        errors = F.mse_loss(teacher(engine, kinds), camera, reduction="none").mean(dim=(1, 2, 3)) / 4
        return {"loss": (errors + _SMALL).log().mean()}  # decibels, as PSNR counts, not the darkest and lightest scenes

    def validate() -> dict[str, float]:
        errors = [np.mean((answers([teacher], pair) / 255.0 - pair.camera / 255.0) ** 2) for pair in validation]
        return {"psnr": float(np.mean(-10 * np.log10(errors)))}

    loop.run(step, validate if validation else None)
    loop.average.keep()
    return teacher.eval()


@torch.no_grad()
def answers(teachers: Sequence[Teacher], pair: Pair) -> Frames:
    """Answer a pair's render, uint8 [F, H, W, 3]: the mean of what all say to each frame and to its mirror image."""
    device = next(teachers[0].parameters()).device
    height, width = pair.engine.shape[1:3]
    made = np.empty_like(pair.engine)
    for index, frame in enumerate(pair.engine):
        render = torch.from_numpy(np.ascontiguousarray(frame)).to(device).permute(2, 0, 1)[None].float() / 127.5 - 1
        sides = F.pad(render, (0, -width % _STEP, 0, -height % _STEP), mode="replicate")
        two = torch.cat([sides, sides.flip(-1)])
        said = [teacher(two, torch.tensor([teacher.kind(pair)] * 2, device=device)) for teacher in teachers]
        both = torch.stack(said).mean(dim=0)
        mean = ((both[0] + both[1].flip(-1)) / 2)[:, :height, :width].permute(1, 2, 0)
        made[index] = _pixels(((mean + 1) * 127.5).cpu().numpy())
    return made


def taught(teachers: Sequence[Teacher], pairs: Sequence[Pair], share: float) -> list[Pair]:
    """Give pairs whose photographs are `share` the teachers' answers and otherwise the truth, and then more pairs.

    More: the renders in weathers that no photograph shows and that the teachers know, answers alone.
    """
    logger.info("asking the teachers for %d pairs", len(pairs))
    mixed = [
        replace(pair, camera=_pixels(share * answers(teachers, pair) + (1 - share) * pair.camera)) for pair in pairs
    ]
    photographed = {(pair.row.engine, pair.row.camera_weather) for pair in pairs}
    for pair in pairs:
        for other in _other_weathers(pair):
            asked = other.row.engine, other.row.camera_weather
            if asked not in photographed and all(teacher.kind(other) for teacher in teachers):
                photographed.add(asked)
                mixed.append(replace(other, camera=answers(teachers, other)))
    return mixed


def _other_weathers(pair: Pair) -> list[Pair]:
    """Ask for a pair's render in other weathers, in the renderer's words; the photograph is still the pair's own."""
    row = pair.row
    return [
        replace(pair, row=replace(row, name=f"{row.name}_{weather}", caption=caption, camera_weather=weather))
        for weather, caption in other_captions(row.caption, row.camera_weather).items()
    ]


def _pixels(values: npt.NDArray[Any]) -> Frames:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _whole_steps(pixels: float) -> int:
    return max(_STEP, int(pixels) // _STEP * _STEP)
