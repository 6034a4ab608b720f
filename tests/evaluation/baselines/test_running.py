"""Baselines by name, the common grid, and a run that goes on where it was broken off."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import ConfigError, MediaError, MissingWeightsError, OutputError
from realmaster.evaluation.baselines import registry
from realmaster.evaluation.baselines.baseline import Baseline, BaselineSettings, RenderedClip
from realmaster.evaluation.baselines.floors import transfer_colours
from realmaster.evaluation.baselines.grid import MethodGrid, at_rate, on_grid
from realmaster.evaluation.baselines.registry import BUILT_IN, list_baselines, make_baseline
from realmaster.evaluation.baselines.run import check_name, run_baseline
from realmaster.evaluation.comparison_settings import ClipSettings, Scene, list_scenes
from realmaster.models import profiles
from sample_clips import frames_of, scene

Frames = npt.NDArray[np.uint8]
PROFILES = Path(profiles.__file__).parent / "profiles"


class DarkSettings(BaselineSettings):
    factor: float = 0.5


class Dark(Baseline[DarkSettings]):
    """A method of another package: darkens, and counts its clips."""

    settings_class = DarkSettings
    seen: list[str] = []  # noqa: RUF012 - of all instances on purpose

    def translate(self, clip: RenderedClip) -> Frames:
        if clip.name == "broken":
            raise MediaError("broken: this one cannot be made")
        Dark.seen.append(f"{clip.name}: {clip.prompt}")
        return (clip.frames * self.settings.factor).astype(np.uint8)


@pytest.fixture
def dark(monkeypatch: pytest.MonkeyPatch) -> type[Dark]:
    """The method, found as an installed package would be."""
    point = EntryPoint("dark", f"{__name__}:Dark", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    monkeypatch.setattr(registry, "import_module", lambda module: type("Module", (), {"Dark": Dark}))
    Dark.seen = []
    return Dark


@pytest.fixture
def scenes(save: Callable[..., Path], tmp_path: Path) -> list[Scene]:
    for index in range(3):
        save(f"renders/c{index}.mkv", scene(5 + index, 64, 48))
    return list_scenes(ClipSettings(render=f"{tmp_path}/renders/{{clip}}.mkv"))


def test_a_package_of_ones_own_brings_a_baseline(dark: type[Dark], scenes: list[Scene], tmp_path: Path) -> None:
    assert list(list_baselines()) == [*BUILT_IN, "dark"]
    made = run_baseline(
        "dark", make_baseline("dark", {"factor": 0.25}), scenes, tmp_path / "out", caption="a street", codec="lossless"
    )
    assert (made.made, made.kept, made.failed) == (("c0", "c1", "c2"), (), {})
    assert dark.seen == ["c0: a street", "c1: a street", "c2: a street"]
    assert np.array_equal(frames_of(tmp_path / "out" / "c1.mkv"), (scene(6, 64, 48) * 0.25).astype(np.uint8))
    record = json.loads((tmp_path / "out" / "c1.json").read_text())
    assert record["settings"] == {"prompt": "{caption}", "factor": 0.25}
    assert (record["baseline"], record["prompt"], record["seed"], record["num_frames"]) == ("dark", "a street", 0, 6)


def test_a_second_run_makes_what_is_missing_and_nothing_else(
    dark: type[Dark], scenes: list[Scene], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_baseline("dark", make_baseline("dark"), scenes[:2], out)
    (out / "c0.mp4").unlink()  # lost
    made = run_baseline("dark", make_baseline("dark"), scenes, out)
    assert (made.made, made.kept) == (("c0", "c2"), ("c1",))
    assert not [file.name for file in out.iterdir() if file.name.startswith(".")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "one made with other seed"),
        ({"caption": "rain"}, "one made with other prompt"),
        ({"settings": {"factor": 0.1}}, "one made with other settings"),
    ],
)
def test_a_clip_that_was_made_otherwise_is_not_replaced_unasked(
    dark: type[Dark], scenes: list[Scene], tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    out, settings = tmp_path / "out", change.pop("settings", {})
    run_baseline("dark", make_baseline("dark"), scenes, out)
    with pytest.raises(ConfigError, match=said):
        run_baseline("dark", make_baseline("dark", settings), scenes, out, **change)
    assert run_baseline("dark", make_baseline("dark", settings), scenes, out, replace=True, **change).kept == ()
    (out / "c0.json").unlink()
    with pytest.raises(ConfigError, match="a file without a record of it"):
        run_baseline("dark", make_baseline("dark", settings), scenes, out, **change)


def test_a_render_that_changed_is_made_again_and_other_weights_are_noticed(
    scenes: list[Scene], save: Callable[..., Path], tmp_path: Path
) -> None:
    run_baseline("untouched", make_baseline("untouched"), scenes, tmp_path / "out")
    scenes[0].render.unlink()
    save("renders/c0.mkv", scene(5, 64, 48)[::-1])
    made = run_baseline("untouched", make_baseline("untouched"), scenes, tmp_path / "out", replace=True)
    assert (made.made, made.kept) == (("c0",), ("c1", "c2"))
    adapter = tmp_path / "adapter.safetensors"
    adapter.write_bytes(b"one")
    first = make_baseline("realmaster", {"adapter": adapter}).describe()
    adapter.write_bytes(b"two")
    assert make_baseline("realmaster", {"adapter": adapter}).describe() != first


@pytest.mark.parametrize("method", ["realmaster", "sdedit", "pipeline"])
def test_a_profile_that_was_edited_is_noticed(method: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    text = (PROFILES / "nano.yaml").read_text().replace("folder: weights", f"folder: {PROFILES}/../weights")
    own.write_text(text)
    first = make_baseline(method, {"profile": str(own)}).describe()
    own.write_text(f"# the same\n{text}")
    assert make_baseline(method, {"profile": str(own)}).describe() == first
    own.write_text(text.replace("shift: 3.0", "shift: 2.0"))
    assert make_baseline(method, {"profile": str(own)}).describe() != first


def test_one_clip_that_cannot_be_made_leaves_the_others(
    dark: type[Dark], scenes: list[Scene], tmp_path: Path, save: Callable[..., Path]
) -> None:
    save("renders/broken.mkv", scene(5, 64, 48))
    (tmp_path / "renders" / "empty.mkv").write_bytes(b"")
    found = list_scenes(ClipSettings(render=f"{tmp_path}/renders/{{clip}}.mkv"))
    made = run_baseline("dark", make_baseline("dark"), found, tmp_path / "out")
    assert made.made == ("c0", "c1", "c2")
    assert set(made.failed) == {"broken", "empty"}
    assert not (tmp_path / "out" / "broken.mp4").exists()


def test_what_is_lacking_is_said_before_anything_is_made(scenes: list[Scene], tmp_path: Path) -> None:
    with pytest.raises(
        MissingWeightsError, match=r"lucy-edit cannot run here: no weights \(model_dir\): fetch decart-ai"
    ):
        run_baseline("lucy-edit", make_baseline("lucy-edit"), scenes, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(MissingWeightsError, match="no adapter at"):
        run_baseline("realmaster", make_baseline("realmaster", {"adapter": "no"}), scenes, tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_one_line(scenes: list[Scene], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="could not make it"):
        run_baseline("untouched", make_baseline("untouched"), scenes, tmp_path / "file" / "out")


@pytest.mark.parametrize("name", ["../c0", "a/b", "..", "", "x\0y", "y" * 300])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, scenes: list[Scene], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a clip's name that can be a file's"):
        check_name(name)
    evil = Scene(name, scenes[0].render, None, None)
    with pytest.raises(ConfigError):
        run_baseline("untouched", make_baseline("untouched"), [evil], tmp_path / "out")


def test_names_and_settings_that_are_wrong_name_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean lucy-edit"):
        make_baseline("lucy_edit")
    with pytest.raises(ConfigError, match="guidance: unknown setting: did you mean guidance_scale"):
        make_baseline("lucy-edit", {"guidance": 3}, source="baseline lucy-edit")
    with pytest.raises(ConfigError, match=r"num_inference_steps: .*greater than or equal to 1"):
        make_baseline("ditto-global", {"num_inference_steps": 0})
    with pytest.raises(ConfigError, match="either pairs or photographs"):
        make_baseline("colour", {"pairs": "a", "photographs": "b"})


def test_every_built_in_baseline_is_there_and_has_a_sentence_for_each_setting() -> None:
    for name, entry in BUILT_IN.items():
        baseline = make_baseline(name)
        assert entry.help
        assert all(field.description for field in type(baseline.settings).model_fields.values()), name


def test_settings_of_a_profile_are_given_by_dotted_names_or_in_groups() -> None:
    dotted = make_baseline("realmaster", {"changes.memory.dtype": "float32", "changes.transfer.cell": 5})
    grouped = make_baseline("realmaster", {"changes": {"memory": {"dtype": "float32"}, "transfer.cell": 5}})
    assert dotted.settings == grouped.settings
    assert dotted._profile.transfer.cell == 5


def test_colours_are_fitted_on_the_training_split_or_taken_from_photographs(
    pair_folder: Path, tmp_path: Path, still: Frames
) -> None:
    rows = list_scenes(ClipSettings(pairs=pair_folder))
    fitted = make_baseline("colour", {"pairs": pair_folder, "degree": 1})
    run_baseline("colour", fitted, rows, tmp_path / "out", codec="lossless")
    for found in rows:
        assert found.row is not None
        truth = frames_of(found.row.camera)
        assert np.abs(frames_of(tmp_path / "out" / f"{found.name}.mkv").astype(int) - truth).mean() < 2
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    cv2.imwrite(str(photographs / "a.png"), np.full((20, 20, 3), (40, 80, 160), np.uint8))
    (photographs / "notes.txt").write_text("no picture")
    taken = make_baseline("colour", {"photographs": photographs})
    flat = taken.translate(RenderedClip("c", still, Fraction(16), ""))
    assert np.abs(flat.astype(int) - (160, 80, 40)).max() <= 1  # no spread: one colour
    with pytest.raises(ConfigError, match="expected a clip of a pair set"):
        fitted.translate(RenderedClip("c", still, Fraction(16), ""))


def test_transferred_colours_have_the_mean_and_spread_that_was_asked_for(still: Frames) -> None:
    mean, spread = np.array([55.0, 4.0, -6.0]), np.array([9.0, 3.0, 5.0])
    lab = cv2.cvtColor(transfer_colours(still, mean, spread)[0].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    assert lab.reshape(-1, 3).mean(0) == pytest.approx(mean, abs=0.5)
    assert lab.reshape(-1, 3).std(0) == pytest.approx(spread, abs=0.5)


def test_longer_clips_are_cut_into_equal_parts_and_every_frame_is_seen_once() -> None:
    grid = MethodGrid(64, 96, 32, max_frames=81)
    assert [len(part) for part in grid.parts_of(81)] == [81]
    assert [len(part) for part in grid.parts_of(100)] == [50, 50]
    assert [len(part) for part in grid.parts_of(163)] == [54, 55, 54]
    assert [index for part in grid.parts_of(163) for index in part] == list(range(163))
    seen = []

    def sample(frames: Frames) -> Frames:
        seen.append(frames.shape)
        return frames

    frames = np.repeat(np.arange(7, dtype=np.uint8)[:, None, None, None] * 30, 3, axis=3) + np.zeros(
        (1, 50, 30, 1), np.uint8
    )
    out = on_grid(frames, MethodGrid(64, 96, 32, max_frames=4), sample)
    assert np.array_equal(out, frames)  # flat frames survive any size
    assert seen == [(5, 96, 64, 3), (5, 96, 64, 3)]  # 4 and 3 frames, filled to 1 modulo 4; upright as the clip


def test_a_method_that_gives_too_few_frames_is_at_fault() -> None:
    with pytest.raises(MediaError, match="a fault of the method"):
        on_grid(scene(5, 64, 48), MethodGrid(48, 64, 16, max_frames=9), lambda frames: frames[:2])


def test_other_rates_are_read_at_the_frame_nearest_in_time() -> None:
    frames = np.arange(24, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert at_rate(frames, Fraction(24), Fraction(8), 8)[:, 0, 0, 0].tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert at_rate(frames, Fraction(16), Fraction(16), 24)[:, 0, 0, 0].tolist() == list(range(24))
    with pytest.raises(MediaError, match=r"expected 3\.00 s of video back, got 1\.00 s"):
        at_rate(frames, Fraction(24), Fraction(16), 48)


def test_the_page_about_baselines_names_each_of_them(checkout: Path) -> None:
    page = (checkout / "docs" / "baselines.md").read_text("utf-8")
    missing = {name for name in BUILT_IN if f"`{name}`" not in page}
    assert not missing


def test_the_example_of_the_page_is_a_baseline(checkout: Path) -> None:
    page = (checkout / "docs" / "baselines.md").read_text("utf-8")
    names: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    frames = scene(2, 8, 8)
    made = names["Gamma"](names["GammaSettings"](gamma=2.0)).translate(RenderedClip("c", frames, Fraction(16), ""))
    assert np.array_equal(made, ((frames / 255.0) ** 2 * 255).round().astype(np.uint8))
