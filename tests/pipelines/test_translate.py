"""The translator on nano: windows, seams, determinism, masks, memory."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from realmaster.errors import ConfigError, NumericalError, OutputError
from realmaster.media.images import write_image
from realmaster.media.reader import open_clip
from realmaster.media.writer import ClipWriter
from realmaster.pipelines.denoise import Denoiser
from realmaster.pipelines.sampling import Stopwatch, WindowSampler
from realmaster.pipelines.translate import Translator
from realmaster.types import ClipInfo


def read(path: Path) -> np.ndarray:
    with open_clip(path) as clip:
        return np.concatenate(list(clip.chunks(16)))


def write(path: Path, frames: np.ndarray) -> Path:
    with ClipWriter(path, ClipInfo(frames.shape[2], frames.shape[1], Fraction(16)), codec="lossless") as writer:
        writer.write(frames)
    return path


def test_the_output_has_the_shape_of_the_input_and_another_look(translator: Translator, frames: np.ndarray) -> None:
    out = translator.translate_frames(frames)
    assert out.shape == frames.shape
    assert np.abs(out.astype(int) - frames).mean() > 3


def test_the_same_seed_gives_the_same_frames_and_the_file_the_same_bytes(
    translator: Translator, frames: np.ndarray, tmp_path: Path
) -> None:
    clip = write(tmp_path / "in.mkv", frames[:6])
    for name in ("a.mp4", "b.mp4"):
        translator.translate(clip, tmp_path / name, seed=3)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_file_and_its_frames_translate_alike(translator: Translator, frames: np.ndarray, tmp_path: Path) -> None:
    translation = translator.translate(write(tmp_path / "in.mkv", frames), tmp_path / "out.mkv", codec="lossless")
    np.testing.assert_array_equal(read(tmp_path / "out.mkv"), translator.translate_frames(frames))
    assert translation.num_frames == len(frames)
    assert {"load", "read", "encode", "reference", "denoise", "decode", "transfer", "write"} <= set(translation.seconds)


def test_strength_zero_is_the_input(translator: Translator, frames: np.ndarray) -> None:
    np.testing.assert_array_equal(translator.translate_frames(frames[:2], strength=0.0), frames[:2])


def test_a_mask_keeps_its_pixels_bit_for_bit(translator: Translator, frames: np.ndarray, tmp_path: Path) -> None:
    mask = np.zeros(frames.shape[1:], dtype=np.uint8)
    mask[:20] = 255
    write_image(tmp_path / "mask.png", mask)
    clip = write(tmp_path / "in.mkv", frames[:3])
    translator.translate(clip, tmp_path / "out.mkv", protect=tmp_path / "mask.png", codec="lossless")
    out = read(tmp_path / "out.mkv")
    np.testing.assert_array_equal(out[:, :20], frames[:3, :20])
    assert np.abs(out[:, 24:].astype(int) - frames[:3, 24:]).mean() > 3


@pytest.mark.parametrize("shape", [(1, 1), (40, 400), (400, 40), (37, 53)])
def test_any_size_comes_back_at_its_own_size(translator: Translator, shape: tuple[int, int]) -> None:
    frames = np.full((1, *shape, 3), 120, dtype=np.uint8)
    assert translator.translate_frames(frames).shape == frames.shape


def test_guidance_leads_to_the_prompt_and_without_one_takes_no_second_pass(
    translator: Translator, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    predict = Denoiser._velocity
    monkeypatch.setattr(Denoiser, "_velocity", lambda *args: (passes.append(1), predict(*args))[1])

    def translate(prompt: str, scale: float) -> tuple[np.ndarray, int]:
        passes.clear()
        return translator.translate_frames(frames[:5], prompt=prompt, guidance_scale=scale), len(passes)

    (plain, once), (same, also_once) = translate("", 1.0), translate("", 3.0)
    (rain, one), (guided, two) = translate("heavy rain", 1.0), translate("heavy rain", 3.0)
    assert (once, also_once, one, two) == (1, 1, 1, 2)
    np.testing.assert_array_equal(same, plain)
    assert np.abs(guided.astype(int) - plain).mean() > 1.5 * np.abs(rain.astype(int) - plain).mean()


def test_the_overlap_is_held_to_what_was_decided(translator: Translator, frames: np.ndarray) -> None:
    models, profile = translator.models, translator.profile
    small = np.stack([np.asarray(frame)[: profile.size.height, : profile.size.width] for frame in frames])[:13]
    sampler = WindowSampler(models, mode="cached", spatial_scale=1, sampling=profile.sampling, seed=0)
    try:
        text = sampler.encode_prompt("", "")
        first = sampler.translate(small, text, Stopwatch(), held=None, num_held=0)
        second = sampler.translate(small, text, Stopwatch(), held=first, num_held=5)
    finally:
        sampler.remove()
    torch.testing.assert_close(second.latents[:, :, 1], first.latents[:, :, -1])


def test_colours_of_a_still_scene_do_not_drift(translator: Translator, frames: np.ndarray) -> None:
    out = translator.translate_frames(np.repeat(frames[:1], 61, axis=0)).astype(float)
    drift = np.abs(out[-8:].mean(axis=(0, 1, 2)) - out[:8].mean(axis=(0, 1, 2)))
    assert drift.max() < 1.0


def test_with_mirror_a_mirrored_clip_comes_out_mirrored(translator: Translator, frames: np.ndarray) -> None:
    still = frames[:1]  # optical flow, which carries the change from frame to frame, is not symmetric
    mirrored = np.ascontiguousarray(still[:, :, ::-1])
    differences = {}
    for mirror in (False, True):
        profile = translator.profile.change({"sampling.mirror": mirror})
        both = Translator(profile, translator.models, mode=translator.mode)
        one, other = (both.translate_frames(clip).astype(np.int16) for clip in (still, mirrored))
        differences[mirror] = np.abs(one - other[:, :, ::-1]).max()
    assert differences[True] <= 2 < differences[False], differences


def test_there_is_no_seam_between_windows(translator: Translator, frames: np.ndarray) -> None:
    out = translator.translate_frames(np.repeat(frames[:1], 37, axis=0)).astype(float)
    steps = np.abs(np.diff(out, axis=0)).mean(axis=(1, 2, 3))
    window = translator.profile.window
    seams = list(range(window.num_frames - 1, len(steps), window.num_frames - window.overlap))
    inside = np.delete(steps, seams)
    assert steps[seams].max() <= max(2 * inside.max(), 1.0)


def test_a_reference_at_half_the_size_costs_a_quarter_of_the_tokens_and_the_output_keeps_its_size(
    translator: Translator, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = WindowSampler.encode
    monkeypatch.setattr(
        WindowSampler, "encode", lambda self, small: seen.append(small.shape[1:3]) or encode(self, small)
    )
    half = Translator(
        translator.profile.change({"reference.spatial_scale": 2, "sampling.mirror": False, "refiner": None}),
        translator.models,
        mode="cached",
    )
    out = half.translate_frames(frames[:5])
    reference, guide = seen
    assert guide == (2 * reference[0], 2 * reference[1])
    size = translator.profile.size
    assert guide[0] * guide[1] == pytest.approx(size.height * size.width, rel=0.15)  # the model's own
    assert out.shape == frames[:5].shape


def test_settings_out_of_bounds_are_refused(translator: Translator, tmp_path: Path, frames: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="num_inference_steps"):
        translator.translate_frames(frames[:1], num_inference_steps=0)
    clip = write(tmp_path / "in.mkv", frames[:1])
    with pytest.raises(ConfigError, match="strength"):
        translator.translate(clip, tmp_path / "out.mkv", strength=1.5)
    assert not (tmp_path / "out.mkv").exists()


def test_nan_from_the_model_is_an_error_and_leaves_no_file(frames: np.ndarray, tmp_path: Path) -> None:
    broken = Translator.from_profile("nano", device="cpu")
    with torch.no_grad():
        broken.models.transformer.proj_out.weight.fill_(float("nan"))
    clip = write(tmp_path / "in.mkv", frames[:1])
    with pytest.raises(NumericalError, match="NaN"):
        broken.translate(clip, tmp_path / "out.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


MEASURE = """
import resource, sys
import numpy as np
from realmaster.pipelines.translate import Translator
translator = Translator.from_profile("nano", device="cpu")
def chunks(total):
    frame = np.random.default_rng(0).integers(0, 256, (1, 270, 480, 3), dtype=np.uint8)
    for _ in range(total):
        yield frame
from realmaster.pipelines.denoise import Denoiser
from realmaster.pipelines.sampling import Stopwatch
sampling = translator.profile.sampling
for _ in translator._translate_stream(chunks(int(sys.argv[1])), "", "", sampling, 0, 1.0, None, Stopwatch()):
    pass
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_length() -> None:
    def peak(count: int) -> int:
        command = [sys.executable, "-c", MEASURE, str(count)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert peak(160) < 1.1 * peak(24)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"prompt": None}, "prompt as text"),
        ({"prompt": "rain " * 500}, "at most 2000 characters, got 2500"),
        ({"negative_prompt": "rain " * 500}, "negative_prompt of at most 2000"),
        ({"strength": float("nan")}, "strength"),
        ({"strength": "much"}, "strength"),
        ({"seed": np.zeros((50, 50))}, "seed .* got ndarray: "),
    ],
)
def test_a_call_out_of_bounds_is_refused_in_one_line(
    translator: Translator, frames: np.ndarray, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        translator.translate_frames(frames[:1], **change)
    with pytest.raises(ConfigError, match=said):
        translator.translate(tmp_path / "in.mkv", tmp_path / "out.mkv", **change)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((2, 8, 0, 3), np.uint8),
        [[0]],
    ],
)
def test_frames_of_another_kind_are_refused_with_what_came(translator: Translator, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"uint8 \[F, H, W, 3\], got (uint8|float32|list)"):
        translator.translate_frames(wrong)


@pytest.mark.parametrize("ids", ["", "#3"])
def test_the_mask_is_never_replaced(translator: Translator, frames: np.ndarray, tmp_path: Path, ids: str) -> None:
    clip, mask = write(tmp_path / "in.mkv", frames[:2]), write(tmp_path / "mask.mkv", frames[:2])
    before = mask.read_bytes()
    with pytest.raises(OutputError, match="other than the input"):
        translator.translate(clip, mask, protect=f"{mask}{ids}", codec="lossless", overwrite=True)
    assert mask.read_bytes() == before


def test_what_has_no_effect_is_warned_of(translator: Translator, frames: np.ndarray, tmp_path: Path) -> None:
    clip = write(tmp_path / "in.mkv", frames[:1])
    write_image(tmp_path / "ids.png", np.zeros(frames.shape[1:3], np.uint8))
    plain, vain = (
        translator.translate(clip, tmp_path / f"{name}.mkv", codec="lossless", guidance_scale=1.0, **asked).warnings
        for name, asked in (
            ("plain", {"protect": f"{tmp_path / 'ids.png'}#0"}),
            ("vain", {"negative_prompt": "rain", "protect": f"{tmp_path / 'ids.png'}#7"}),
        )
    )
    assert plain == ()
    assert "negative prompt has no effect" in vain[0]
    assert "no pixel of ids.png has the id 7" in vain[1]


def test_a_prompt_that_is_cut_is_a_warning_of_each_clip_and_no_line_of_the_log(
    translator: Translator, frames: np.ndarray, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip, long = write(tmp_path / "in.mkv", frames[:5]), "heavy rain at night " * 20
    for name, prompt, count in (("a", long, 1), ("b", "heavy rain", 0), ("c", long, 1)):
        warnings = translator.translate(clip, tmp_path / f"{name}.mkv", codec="lossless", prompt=prompt).warnings
        assert len([line for line in warnings if "reads the first 48: shorten it" in line]) == count
    assert "reads the first" not in caplog.text
