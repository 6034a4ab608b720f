from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import pair_making
from pair_making import records, settings_for

Run = Callable[..., object]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A settings file for the small set."""
    settings = settings_for(tmp_path)
    values = settings.model_dump(mode="json")
    path = tmp_path / "pairs.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_build_makes_a_set_and_says_what_it_holds(realmaster: Run, config: Path, tmp_path: Path) -> None:
    said = realmaster("pairs", "build", config)
    assert said.code == 0, said.err
    assert said.out.splitlines() == [
        f"{tmp_path / 'set'}: 5 clips accepted, 0 rejected, 0 failed; "
        "5 in manifest.jsonl, 4 in train.jsonl, 1 in validation.jsonl"
    ]
    again = realmaster("pairs", "build", config)
    assert "0 clips accepted, 0 rejected, 0 failed, 5 there already" in again.out
    status = realmaster("pairs", "status", tmp_path / "set")
    assert "5 accepted, 0 rejected, 0 failed, 0 left" in status.out
    assert "accepted: train 4 of 4, validation 1 of 1" in status.out
    assert "propagate " in status.out
    assert json.loads(realmaster("pairs", "status", tmp_path / "set", "--json").out)["num_accepted"] == 5


def test_options_lay_footage_output_and_settings_over_the_file(realmaster: Run, config: Path, tmp_path: Path) -> None:
    other = pair_making.footage(tmp_path / "mine", 1)
    words = ["--footage", other, "-o", tmp_path / "out", "--set", "sample.train=1", "--set", "sample.validation=0"]
    said = realmaster("pairs", "build", config, *words)
    assert said.code == 0, said.err
    (record,) = records(tmp_path / "out").values()
    assert record["clip"]["cut"]["video"] == "video_0"


def test_filter_decides_again_keeps_what_is_not_named_and_binds_later_clips(
    realmaster: Run, config: Path, tmp_path: Path
) -> None:
    realmaster("pairs", "build", config, "--set", "sample.train=2")
    said = realmaster("pairs", "filter", tmp_path / "set", "--min-structure", "1")
    assert said.out == f"{tmp_path / 'set'}: keeps 0 of 3 scored clips, 3 before: 0 came, 3 went\n"
    later = realmaster("pairs", "build", config)
    assert "0 clips accepted, 2 rejected" in later.out
    assert (
        "0 of 5" in realmaster("pairs", "filter", tmp_path / "set", "--max-flicker", "9").out
    )  # structure stays asked
    dry = realmaster("pairs", "filter", tmp_path / "set", "--off", "min-structure", "--dry-run")
    assert "would keep 5 of 5" in dry.out
    assert "keeps 5 of 5" in realmaster("pairs", "filter", tmp_path / "set", "--off", "min-structure").out
    wrong = realmaster("pairs", "filter", tmp_path / "set", "--off", "structure")
    assert wrong.code == 2
    assert "expected one of max-black" in wrong.err


def test_failed_clips_are_warned_of_and_the_exit_code_says_so(realmaster: Run, config: Path) -> None:
    said = realmaster("pairs", "build", config, "--set", "edit.prompt=fails")
    assert said.code == 1
    assert said.err.count("got NaN: this is a test") >= 5
    assert "0 clips accepted, 0 rejected, 5 failed" in said.out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--executor", "slurm"], "'slurm' is not one of 'local', 'ray'"),
        (["--address", "auto"], "expected --address with --executor ray"),
        (["--set", "sample.trian=3"], "sample.trian: unknown setting: did you mean train?"),
        (["--set", "sample.buckets=[100x100]"], "sides in multiples of 8"),
        (["--set", "edit.anchors=every"], "expected every with anchors: every"),
        (["--set", "seed.x=1"], "seed is no group"),
        (["--set", "compute.stages={edti: {}}"], "expected stages among sample, edit"),
        (["--set", "sample.num_frames=900"], "900 frames at 16 a second"),
        (["--footage", "nowhere"], "nowhere: expected a video, a folder of videos or a pattern, found nothing there"),
    ],
)
def test_a_wrong_word_is_one_line(realmaster: Run, config: Path, words: list[str], says: str) -> None:
    said = realmaster("pairs", "build", config, *words)
    assert said.code == 2
    assert says in said.err
    assert said.err.count("\n") == 1


def test_a_file_or_a_set_that_is_not_there_is_one_line(realmaster: Run, tmp_path: Path) -> None:
    for words in (["build", tmp_path / "no.yaml"], ["status", tmp_path / "no"], ["filter", tmp_path / "no"]):
        said = realmaster("pairs", *words)
        assert said.code == 2
        assert said.err.count("\n") == 1
        assert not (tmp_path / "no").exists()


def test_ray_that_is_not_installed_is_named(
    realmaster: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    said = realmaster("pairs", "build", config, "--executor", "ray")
    assert said.code == 2
    assert "pip install 'realmaster[ray]'" in said.err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("name", ["nano", "paper", "wan2.1-1.3b"])
def test_the_shipped_settings_are_sound(checkout: Path, name: str) -> None:
    from realmaster.models.profiles import load_profile
    from realmaster.pairs.settings import PairSettings

    settings = PairSettings.from_yaml(checkout / "configs" / "pairs" / f"{name}.yaml")
    profile = load_profile(settings.profile)
    assert profile.editor is not None
    assert profile.propagation is not None
    assert (settings.sample.num_frames - 1) % 4 == 0


def test_the_papers_numbers_are_one_file(checkout: Path) -> None:
    from realmaster.pairs.settings import PairSettings

    paper = PairSettings.from_yaml(checkout / "configs" / "pairs" / "paper.yaml")
    assert (paper.sample.train, paper.sample.validation, paper.sample.num_frames) == (1216, 100, 81)
    assert (paper.sample.frame_rate, paper.edit.anchors, paper.control.kind) == (16, "first_last", "canny")
    assert paper.thresholds.min_identity == 0.4
    assert paper.sources[0].kind == "sail-vos"


def test_nano_makes_pairs_out_of_the_box(realmaster: Run, checkout: Path, tmp_path: Path) -> None:
    footage = pair_making.footage(tmp_path / "footage", 1)
    words = ["sample.train=1", "sample.num_frames=5", "sample.buckets=[128x72]", "scoring.identity.model=none"]
    said = realmaster(
        "pairs", "build", checkout / "configs" / "pairs" / "nano.yaml", "--footage", footage,
        "-o", tmp_path / "set", *(word for setting in words for word in ("--set", setting)),
    )  # fmt: skip
    assert said.code == 0, said.err
    (record,) = records(tmp_path / "set").values()
    assert record["models"]["editor"]["editor"] == "in_context"
    assert record["models"]["propagator"]["propagator"] == "vace"
    assert "structure" in record["scores"]
