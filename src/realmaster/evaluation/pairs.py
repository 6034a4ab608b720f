"""Score a translation against exact pairs, beside what needs no model: the untouched clip and two colour transforms.

The prompt of each pair is its caption, the clip goes in at its own size, and the camera clip is the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from realmaster.data.pair_set import Frames, PairRow, has_split, read_rows
from realmaster.errors import MediaError
from realmaster.evaluation.colour_baseline import fit_colour_transforms
from realmaster.evaluation.intervals import Score, score
from realmaster.evaluation.metrics import flicker, psnr, sharpness, ssim

Translate = Callable[[Frames, str], Frames]  # (uint8 [F, H, W, 3], prompt) -> uint8 [F, H, W, 3]
Progress = Callable[[int, int | None], None]
FIGURES = ("psnr", "ssim", "sharpness", "flicker")


class FrameTranslator(Protocol):
    """The part of a `Translator` that scoring needs."""

    @property
    def translate_frames(self) -> Callable[..., Frames]:
        """Translate frames at their own size: frames uint8 [F, H, W, 3], `prompt` and settings by name."""


@dataclass(frozen=True)
class Method:
    """One row of the table: a name, and a score (or None) for each of `FIGURES`."""

    name: str
    scores: dict[str, Score | None]


@dataclass(frozen=True)
class PairScores:
    """The table of a split: its clips and its methods, from the untouched clip to the truth itself."""

    folder: Path
    split: str
    clips: tuple[str, ...]
    methods: tuple[Method, ...]
    warnings: tuple[str, ...] = ()

    def method(self, name: str) -> Method:
        """Find a row of the table by its name."""
        return next(method for method in self.methods if method.name == name)


def with_settings(translator: FrameTranslator, **settings: Any) -> Translate:
    """Make a function of frames and prompt from a `Translator`; settings that are None are left to its profile."""
    chosen = {name: value for name, value in settings.items() if value is not None}
    return lambda frames, prompt: translator.translate_frames(frames, prompt=prompt, **chosen)


def score_pairs(
    translate: Translate | None,
    folder: str | Path,
    split: str = "test",
    *,
    limit: int | None = None,
    name: str = "model",
    baselines: bool = True,
    progress: Progress | None = None,
) -> PairScores:
    """Score a split of a pair set.

    PSNR and SSIM against the camera clip, sharpness as gradient energy over the camera clip's, flicker along the engine
    clip's flow over the engine clip's own. With `baselines`, colour transforms are fitted on the training split of the
    same folder; without a training split they are left out with a warning.

    Args:
        translate: what is scored, or None for the baselines alone.
        folder: a pair set.
        split: its split; "all" reads the manifest.
        limit: score the first clips only.
        name: the name of the model's row.
        baselines: score the untouched clip, the colour transforms and the truth too.
        progress: called with (clips done, clips in all).

    Raises:
        ConfigError: the folder is no pair set.
        MediaError: a clip cannot be read, or the translation has another size than its input.
    """
    folder = Path(folder)
    rows = read_rows(folder, split)[:limit]
    training = read_rows(folder, "train") if baselines and split != "train" and has_split(folder, "train") else []
    count = _Counter(progress, len(rows) + len(training))
    methods: dict[str, Callable[[Frames, PairRow], Frames]] = {}
    warnings: list[str] = []
    if baselines:
        methods["untouched engine clip"] = lambda frames, row: frames
        if training:
            affine, cubic = fit_colour_transforms(training, (1, 3), count.one)
            methods["colour transform, affine per weather"] = affine.apply
            methods["colour transform, cubic per weather"] = cubic.apply
            unseen = sorted({row.weathers_in_words for row in rows if not affine.knows(row)})
            if unseen:
                warnings.append(
                    f"no training pair of {', '.join(unseen)}: colour transforms leave those clips untouched"
                )
        else:
            warnings.append(f"no training split in {folder} apart from the scored one: colour transforms are left out")
    if translate is not None:
        methods[name] = lambda frames, row: translate(frames, row.caption)
    found: dict[str, dict[str, list[float | None]]] = {
        method: {figure: [] for figure in FIGURES} for method in [*methods, *(["the truth"] if baselines else [])]
    }
    for row in rows:
        engine, camera = row.engine_frames(), row.camera_frames()
        for method, act in methods.items():
            output = act(engine, row)
            _refuse_other_shape(output, engine, row)
            _add(found[method], output, engine, camera)
        if baselines:
            own = flicker(engine, camera)
            found["the truth"]["flicker"].append(own.ratio if own else None)
            found["the truth"]["sharpness"].append(1.0)
        count.one()
    return PairScores(
        folder,
        split,
        tuple(row.name for row in rows),
        tuple(
            Method(method, {figure: score(values[figure]) for figure in FIGURES}) for method, values in found.items()
        ),
        tuple(warnings),
    )


class _Counter:
    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def one(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


def _refuse_other_shape(output: Frames, engine: Frames, row: PairRow) -> None:
    if output.shape != engine.shape:
        raise MediaError(
            f"{row.name}: expected a translation of the input's size {_words(engine.shape)}, "
            f"got {_words(output.shape)}: keep frames, height and width"
        )


def _words(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _add(found: dict[str, list[float | None]], output: Frames, engine: Frames, camera: Frames) -> None:
    found["psnr"].append(psnr(output, camera))
    found["ssim"].append(ssim(output, camera))
    found["sharpness"].append(sharpness(output, camera))
    measured = flicker(engine, output)
    found["flicker"].append(measured.ratio if measured else None)
