"""Methods x clips x metrics: measured once, kept, brought to one grid, summarised with their doubt, and guarded."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import ConfigError, OutputError
from realmaster.evaluation.comparison import Comparison, compare, flip_test
from realmaster.evaluation.comparison_page import chosen_clips, write_page
from realmaster.evaluation.comparison_settings import ComparisonSettings, find_scenes
from realmaster.evaluation.comparison_table import as_csv, as_json, as_latex, as_markdown, cell, measured_with
from realmaster.evaluation.guard import guard, read_baseline
from realmaster.evaluation.made_cases import blurred, flickering
from realmaster.evaluation.metrics.metric import Figure
from realmaster.evaluation.metrics.registry import METRICS, find_metrics
from realmaster.evaluation.rows import Row
from realmaster.evaluation.run import evaluate

Frames = npt.NDArray[np.uint8]
CLIPS = ("c0", "c1", "c2", "c3")
Save = Callable[..., Path]


@pytest.fixture
def clips(tmp_path: Path, save: Save, make_scene: Callable[..., Frames]) -> Path:
    """Three renders, and two methods: one that dims a little, one that blurs and flickers."""
    for index, speed in enumerate((0.5, 1.0, 2.0)):
        render = make_scene(num_frames=4, height=64, width=96, speed=speed)
        dimmed = np.rint(render * 0.9).astype(np.uint8)
        save(f"renders/c{index}.mkv", render)
        save(f"good/c{index}.mkv", dimmed)
        save(f"bad/c{index}.mkv", flickering(blurred(dimmed)))
    return tmp_path


def settings_of(folder: Path, **changes: Any) -> ComparisonSettings:
    values: dict[str, Any] = {
        "output": str(folder / "out"),
        "clips": {"render": f"{folder}/renders/{{clip}}.mkv"},
        "methods": {"good": f"{folder}/good/{{clip}}.mkv", "bad": f"{folder}/bad/{{clip}}.mkv", "input": "{render}"},
        "metrics": ["edge_f1", "flicker", "temporal_flickering", "psnr", "identity_arcface", "colour_change"],
        "tools": {"dlib": False},
        "players": 1,
    }
    return ComparisonSettings.from_mapping(values | changes, source="test.yaml")


def run(settings: ComparisonSettings) -> tuple[Comparison, int]:
    results = evaluate(settings)
    return (
        compare(
            results.rows,
            settings.chosen_metrics(),
            tuple(settings.methods),
            ours=settings.our_method,
            baselines=settings.baseline_methods,
        ),
        results.num_measured,
    )


def row(method: str, clip: str, metric: str, value: float | None) -> Row:
    return Row(method, clip, metric, value, "" if value is not None else "gone", {}, 0.1, 4, 1, "", True)


def test_a_row_for_each_clip_method_and_metric_is_written(clips: Path) -> None:
    comparison, num_measured = run(settings_of(clips))
    lines = [json.loads(line) for line in (clips / "out" / "results.jsonl").read_text().splitlines()]
    found = {(line["method"], line["clip"], line["metric"]) for line in lines}
    assert found == set(product(("good", "bad", "input"), ("c0", "c1", "c2"), [m.name for m in comparison.metrics]))
    assert len(lines) == 3 * 3 * 6
    assert num_measured == 3 * 3 * 5  # ArcFace is lacking
    assert all((line["value"] is None) == bool(line["reason"]) for line in lines)


def test_what_was_measured_is_kept_until_its_clip_changes(
    clips: Path, save: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(settings_of(clips))
    assert run(settings_of(clips))[1] == 0
    assert run(settings_of(clips, metrics=["edge_f1", "gradient_agreement"]))[1] == 9
    assert run(settings_of(clips))[1] == 0  # asking for fewer has lost nothing
    shutil.copy(clips / "bad" / "c0.mkv", clips / "good" / "c0.mkv")
    comparison, num_measured = run(settings_of(clips))
    assert num_measured == 5
    score = comparison.cells["good", "edge_f1"].score
    assert score is not None
    other = comparison.cells["bad", "edge_f1"].score
    assert other is not None
    assert score.values[0] == other.values[0]


def test_a_broken_off_run_goes_on_where_it_was(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realmaster.evaluation.run import SceneWorker

    measure = SceneWorker.measure

    def breaks(self: SceneWorker, scene: Any) -> Any:
        if scene.name == "c2":
            raise KeyboardInterrupt
        return measure(self, scene)

    with monkeypatch.context() as patch:
        patch.setattr(SceneWorker, "measure", breaks)
        with pytest.raises(KeyboardInterrupt):
            run(settings_of(clips))
    assert not (clips / "out" / "results.jsonl").exists()
    assert run(settings_of(clips))[1] == 3 * 5


def test_a_run_that_breaks_off_within_a_clip_keeps_the_figures_it_had(
    clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realmaster.evaluation.run import SceneWorker

    measure = SceneWorker._row

    def breaks(self: SceneWorker, method: str, scene: Any, metric: Any, *rest: Any, **named: Any) -> Any:
        if (method, scene.name, metric.name) == ("bad", "c1", "temporal_flickering"):
            raise KeyboardInterrupt
        return measure(self, method, scene, metric, *rest, **named)

    with monkeypatch.context() as patch:
        patch.setattr(SceneWorker, "_row", breaks)
        with pytest.raises(KeyboardInterrupt):
            run(settings_of(clips))
    done = 3 * 5 + 5 + 1  # all of c0, the first method of c1, and one figure of the second
    assert run(settings_of(clips))[1] == 3 * 3 * 5 - done


def test_processes_give_the_same_rows(clips: Path) -> None:
    alone, _ = run(settings_of(clips))
    together, num_measured = run(settings_of(clips, output=str(clips / "two"), workers=2))
    assert num_measured == 3 * 3 * 5
    values = [{(r.method, r.clip, r.metric): r.value for r in found.rows} for found in (alone, together)]
    assert values[0] == values[1]


def test_methods_of_other_sizes_rates_and_lengths_come_to_the_renders_grid(
    clips: Path, save: Save, make_scene: Callable[..., Frames]
) -> None:
    large = make_scene(num_frames=8, height=128, width=192, speed=2.0)
    save("big/c0.mkv", large, 32)  # twice the size and rate
    save("big/c1.mkv", large[:, :100], 32)  # another aspect
    save("big/c2.mkv", make_scene(num_frames=12, height=64, width=96), 16)  # three times as long
    methods = {"big": f"{clips}/big/{{clip}}.mkv", "input": "{render}"}
    comparison, _ = run(settings_of(clips, methods=methods))
    rows = {row.clip: row for row in comparison.rows if (row.method, row.metric) == ("big", "edge_f1")}
    assert rows["c0"].value is not None
    assert rows["c0"].num_frames == 4
    assert "aspect" in rows["c1"].reason
    assert "length" in rows["c2"].reason
    assert comparison.cells["big", "edge_f1"].num_clips == 1
    assert "n = 1" in as_markdown(comparison)


def test_a_method_that_is_a_frame_short_does_not_disturb_the_others(
    clips: Path, save: Save, make_scene: Callable[..., Frames]
) -> None:
    """What is computed of the render for one length is not taken for another."""
    for index, speed in enumerate((0.5, 1.0, 2.0)):
        save(f"short/c{index}.mkv", make_scene(num_frames=3, height=64, width=96, speed=speed))
    metrics = ["warping_error", "temporal_flickering"]
    good = f"{clips}/good/{{clip}}.mkv"
    mixed, _ = run(settings_of(clips, methods={"short": f"{clips}/short/{{clip}}.mkv", "good": good}, metrics=metrics))
    alone, _ = run(settings_of(clips, methods={"good": good}, metrics=metrics, output=str(clips / "alone")))
    for metric in metrics:
        assert mixed.cells["good", metric] == alone.cells["good", metric]
        assert mixed.cells["short", metric].num_clips == 3
    assert {row.num_frames for row in mixed.rows} == {3, 4}


def test_the_table_says_what_is_absent_and_why(clips: Path) -> None:
    comparison, _ = run(settings_of(clips))
    text = as_markdown(comparison)
    assert "| edge F1 ↑" in text
    assert "- identity (ArcFace): no insightface models" in text
    assert "- PSNR: the clip has no ground truth" in text
    assert "| PSNR" not in text
    assert "**" in text
    latex = as_latex(comparison)
    assert latex.count("\\\\") == 1 + len(comparison.present)
    assert "$\\uparrow$" in latex
    assert "& good against \\\\" in latex
    assert "bad: +0" in next(line for line in latex.splitlines() if line.startswith("edge F1"))
    lines = list(csv.DictReader(as_csv(comparison).splitlines()))
    assert len(lines) == 3 * 6
    ours = next(line for line in lines if (line["metric"], line["method"]) == ("edge_f1", "good"))
    assert ours["baseline"] == "bad"
    assert float(ours["difference"]) > 0


def test_a_single_clip_has_no_interval_and_few_clips_no_verdict() -> None:
    rows = [row("ours", "c0", "psnr", 20.0), row("ours", "c1", "psnr", None), row("other", "c0", "psnr", 19.0)]
    one = compare(rows, find_metrics(["psnr"]), ["ours", "other"], ours="ours", baselines=["other"])
    assert cell(one, "ours", METRICS["psnr"]) == "20.00, n = 1"
    rows = [
        row(name, f"c{i}", "psnr", value + i) for name, value in (("ours", 20.0), ("other", 10.0)) for i in range(6)
    ]
    five = [row for row in rows if row.clip != "c5"]
    for some, verdict in ((five, "too few clips to tell"), (rows, "better")):
        few = compare(some, find_metrics(["psnr"]), ["ours", "other"], ours="ours", baselines=["other"])
        assert few.tests["psnr"].verdict == verdict


def test_each_reason_for_a_gap_is_said_once_for_all_methods_that_share_it() -> None:
    rows = [row("ours", "c0", "psnr", 20.0), row("other", "c0", "psnr", 19.0)]
    rows += [
        replace(row(name, clip, "psnr", None), reason="no faces") for name in ("ours", "other") for clip in ("c1", "c2")
    ]
    rows += [row("ours", "c3", "psnr", 20.0), replace(row("other", "c3", "psnr", None), reason="none found")]
    found = compare(rows, find_metrics(["psnr"]), ["ours", "other"], ours="ours", baselines=["other"])
    assert found.gaps == [
        "ours, other, 2 of 4 clips: no faces (all metrics)",
        "other, 1 of 4 clips: none found (all metrics)",
    ]


def test_the_tables_say_which_judge_answered_what_it_took_and_its_bias() -> None:
    details = {"judge": "gpt-4o-2024", "input_tokens": 1000, "output_tokens": 20, "dollars": 0.01}
    made_with = "gpt-4o, prompts 0123456789ab"
    rows = [
        replace(row("ours", f"c{i}", "realism_beside", 7.0), made_with=made_with, details=details | {"bias": 0.2 * i})
        for i in range(3)
    ]
    judged = compare(rows, find_metrics(["realism_beside"]), ["ours"], ours="ours", baselines=[])
    (line,) = measured_with(judged)
    assert line.startswith(f"realism, beside the input: {made_with} (answered by gpt-4o-2024)")
    assert "3,000 tokens asked, 60 answered, 0.03 dollars; +0.20 for being shown last" in line
    assert line in as_markdown(judged)
    assert line in as_latex(judged)
    assert next(csv.DictReader(as_csv(judged).splitlines()))["made_with"] == made_with


def test_names_cannot_break_out_of_latex_markdown_or_html(clips: Path) -> None:
    evil = "<script>|50%_&"
    methods = {evil: f"{clips}/good/{{clip}}.mkv", "bad": f"{clips}/bad/{{clip}}.mkv"}
    settings = settings_of(clips, methods=methods, metrics=["edge_f1"])
    comparison, _ = run(settings)
    assert "50\\%\\_\\&" in as_latex(comparison)
    header = as_markdown(comparison).splitlines()[2]
    assert header.replace("\\|", "").count("|") == 5
    page = write_page(clips / "page.html", comparison, settings).read_text()
    assert "<script>|" not in page
    assert "&lt;script&gt;|50%_&amp;" in page


def test_the_page_holds_table_plots_and_players_and_loads_nothing(clips: Path) -> None:
    settings = settings_of(clips)
    comparison, _ = run(settings)
    page = write_page(clips / "out" / "report.html", comparison, settings).read_text()
    assert page.count("<video") == 2  # the best clip and the worst
    assert page.count('class="plot dots"') == len(comparison.present)
    assert "default-src 'none'" in page
    assert 'src="http' not in page
    assert "$" not in page.split("<script>")[0].split("</style>")[1]  # every place of the template is filled


@pytest.mark.browser
@pytest.mark.slow
def test_a_player_steps_through_frames_and_shows_two_methods_in_three_ways(clips: Path, browser: Any) -> None:
    settings = settings_of(clips)
    comparison, _ = run(settings)
    path = write_page(clips / "out" / "report.html", comparison, settings)
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    player = page.locator(".player").first
    pixels = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"

    def shown(side: str) -> Frames:
        canvas = player.locator(f".{side} canvas")
        return np.array(canvas.evaluate(pixels), np.int16).reshape(64, 96, 4)[..., :3]

    def step(frame: int) -> None:
        player.locator(".scrub").fill(str(frame))
        page.wait_for_function("() => { const v = document.querySelector('video'); return !v.seeking; }")
        assert player.locator("output").inner_text() == f"{frame + 1} / 4"

    page.wait_for_function("() => document.querySelector('video').readyState >= 2")
    step(0)
    first = shown("left")
    step(3)
    left, right = shown("left"), shown("right")
    assert np.abs(left - first).mean() > 1  # another frame
    assert 0.8 < right.mean() / left.mean() < 0.97  # the render, and the method that dims it to 0.9
    assert player.locator(".tag").all_inner_texts() == ["render", "good"]
    view = player.locator(".view")
    assert player.locator(".divide").is_visible()
    player.locator(".mode").select_option("beside")
    boxes = [player.locator(f".pane.{side}").bounding_box() for side in ("left", "right")]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert not player.locator(".divide").is_visible()
    player.locator(".mode").select_option("difference")
    assert np.abs(shown("right") - np.abs(left - right)).max() <= 2
    assert "difference" in view.get_attribute("class")
    player.locator("select[data-side=right]").select_option(label="render")
    assert shown("right").max() == 0  # both sides come from one frame of one video
    page.close()
    assert errors == []


def test_best_and_worst_are_told_apart() -> None:
    rows = [row("a", f"c{i}", "psnr", float(i)) for i in range(5)] + [row("b", f"c{i}", "psnr", 1.0) for i in range(5)]
    comparison = compare(rows, find_metrics(["psnr"]), ["a", "b"], ours="a", baselines=["b"])
    chosen = chosen_clips(comparison, 2)
    assert [clip for clip, why in chosen.items() if "best" in why] == ["c4", "c3"]
    assert {clip for clip, why in chosen.items() if "worst" in why} == {"c0", "c1"}


def test_the_flip_test_is_exact_for_few_clips_and_honest_for_many() -> None:
    assert flip_test([1.0, 2.0, 3.0]) == 2 / 8  # only all plus and all minus lie as far out
    assert flip_test([1.0, -1.0]) == 1.0
    noise = np.random.default_rng(1).normal(0, 1, 60)
    assert flip_test(list(noise)) > 0.05
    assert flip_test(list(noise + 2)) == pytest.approx(1 / 10_001)


def test_ours_is_tested_against_the_best_baseline_on_common_clips() -> None:
    names = [f"c{i}" for i in range(8)]
    rows = [row("ours", clip, "psnr", 20.0 + i % 2) for i, clip in enumerate(names)]
    rows += [row("weak", clip, "psnr", 10.0) for clip in names]
    rows += [row("strong", clip, "psnr", 19.0 + 0.1 * i if i else None) for i, clip in enumerate(names)]
    rows += [row("truth", clip, "psnr", 99.0) for clip in names]
    methods = ["ours", "weak", "strong", "truth"]
    comparison = compare(rows, find_metrics(["psnr"]), methods, ours="ours", baselines=["weak", "strong"])
    test = comparison.tests["psnr"]
    assert test.baseline == "strong"
    assert sum(value is not None for value in test.difference.values) == 7
    assert (test.verdict, test.p) == ("better", 2 / 2**7)
    assert comparison.best(METRICS["psnr"]) == "ours"  # the truth is no rival


def test_many_metrics_make_each_harder_to_pass() -> None:
    names = [f"c{i}" for i in range(6)]
    rows = [row("a", c, m, 1.0 + 0.01 * i) for i, c in enumerate(names) for m in ("psnr", "ssim", "edge_f1")]
    rows += [row("b", c, m, 0.5) for c in names for m in ("psnr", "ssim", "edge_f1")]
    comparison = compare(rows, find_metrics(["psnr", "ssim", "edge_f1"]), ["a", "b"], ours="a", baselines=["b"])
    assert {test.p for test in comparison.tests.values()} == {2 / 2**6}
    assert {test.p_adjusted for test in comparison.tests.values()} == {3 * 2 / 2**6}


def summary(tmp_path: Path, values: list[float], metric: str = "psnr") -> tuple[Comparison, Path]:
    rows = [row("ours", f"c{i}", metric, value) for i, value in enumerate(values)]
    comparison = compare(rows, find_metrics([metric]), ["ours"], ours="ours", baselines=[])
    file = tmp_path / "summary.json"
    file.write_text(as_json(comparison))
    return comparison, file


def test_the_guard_refuses_figures_of_other_clips(tmp_path: Path) -> None:
    """Four hard clips against twelve easy ones would look like a loss, and the other way round like none."""
    _, file = summary(tmp_path, [20.0, 21.0, 22.0, 23.0])
    with pytest.raises(ConfigError, match="same 3 clips, found 4 clips, 2 of them the same"):
        read_baseline(file, "ours", ["c0", "c1", "another"])


def test_the_guard_lets_noise_pass_and_stops_a_loss(tmp_path: Path) -> None:
    before = [20.0, 21.0, 22.0, 23.0]
    _, file = summary(tmp_path, before)
    baseline = read_baseline(file, "ours", CLIPS)
    inside, _ = summary(tmp_path, [20.0, 20.5, 22.0, 23.0])
    below, _ = summary(tmp_path, [18.0, 19.0, 20.0, 21.0])
    above, _ = summary(tmp_path, [30.0, 31.0, 32.0, 33.0])
    assert not guard(inside, baseline).worse
    assert not guard(above, baseline).worse
    (line,) = guard(below, baseline).worse
    assert line.startswith("PSNR: 19.50 now, was 21.50 [")
    gone = compare([row("ours", "c0", "psnr", None)], find_metrics(["psnr"]), ["ours"], ours="ours", baselines=[])
    assert "absent now (gone)" in guard(gone, baseline).worse[0]


def test_the_guard_knows_which_way_is_worse_and_what_cannot_be_compared(tmp_path: Path) -> None:
    _, file = summary(tmp_path, [1.0, 1.1, 1.2], "flicker")
    baseline = read_baseline(file, "ours", CLIPS[:3])
    assert guard(summary(tmp_path, [2.0, 2.1, 2.2], "flicker")[0], baseline).worse
    assert not guard(summary(tmp_path, [0.5, 0.6, 0.7], "flicker")[0], baseline).worse
    baseline["flicker"]["made_with"] = "another model"
    found = guard(summary(tmp_path, [2.0, 2.1, 2.2], "flicker")[0], baseline)
    assert not found.worse
    assert "other weights" in found.not_compared[0]
    with pytest.raises(ConfigError, match="expected figures of the method 'theirs', found ours"):
        read_baseline(file, "theirs", CLIPS[:3])
    file.write_text("[]")
    with pytest.raises(ConfigError, match=r"got another file.*summary\.json"):
        read_baseline(file, "ours", CLIPS[:3])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"clips": {"render": "nowhere/{clip}.mp4"}}, "expected clips at nowhere/{clip}.mp4, found none"),
        ({"methods": {"x": "nowhere/{clip}.mp4"}}, "method 'x': expected clips at nowhere"),
        ({"methods": {"x": "{truth}"}}, "method 'x': expected clips at clips.truth"),
        ({"methods": {"x": "clip.mp4"}}, "expected {clip}"),
        ({"ours": "nobody"}, "got 'nobody'"),
        ({"metrics": ["edge_f2"]}, "did you mean edge_f1?"),
        ({"clips": {}}, "expected either pairs or render"),
        ({"tool": {}}, "tool"),
    ],
)
def test_a_wrong_configuration_is_refused_in_one_line(clips: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        evaluate(settings_of(clips, **changes))
    assert words.lower() in str(refused.value).lower()
    assert "\n" not in str(refused.value)


def test_an_output_that_cannot_be_written_is_refused_before_any_work(clips: Path) -> None:
    (clips / "file").write_text("")
    with pytest.raises(OutputError, match="choose another output"):
        evaluate(settings_of(clips, output=str(clips / "file" / "out")))


def test_a_metric_that_fails_for_now_is_asked_again(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that was down is asked by the next run; a render without flicker is not."""
    from dataclasses import replace

    down = replace(METRICS["edge_f1"], measure=lambda case, tools: Figure.absent("down", is_final=False))
    with monkeypatch.context() as patch:
        patch.setitem(METRICS, "edge_f1", down)
        comparison, _ = run(settings_of(clips))
        assert comparison.cells["good", "edge_f1"].reason == "down"
    comparison, num_measured = run(settings_of(clips))
    assert num_measured == 9
    assert comparison.cells["good", "edge_f1"].num_clips == 3


def test_broken_labels_cost_their_own_metrics_only(clips: Path) -> None:
    for name in ("c0", "c1", "c2"):
        (clips / "labels" / name).mkdir(parents=True)
        (clips / "labels" / name / "0000.npz").write_bytes(b"no labels")
    sources = {"render": f"{clips}/renders/{{clip}}.mkv", "labels": f"{clips}/labels/{{clip}}"}
    comparison, _ = run(settings_of(clips, clips=sources, metrics=["edge_f1", "label_flow"]))
    assert comparison.cells["good", "edge_f1"].num_clips == 3
    assert "0000.npz: expected labels" in comparison.cells["good", "label_flow"].reason


def test_a_pair_set_brings_its_truth_and_names(pair_folder: Path, tmp_path: Path) -> None:
    settings = settings_of(
        tmp_path, clips={"pairs": str(pair_folder), "limit": 2}, methods={"input": "{render}", "truth": "{truth}"}
    )
    assert [scene.name for scene in find_scenes(settings)] == ["test_1.0_clear", "test_1.0_rain"]
    comparison, _ = run(settings)
    assert comparison.cells["input", "psnr"].num_clips == 2
    assert comparison.cells["truth", "psnr"].reason == "this is the truth"


def test_the_recipe_of_the_paper_is_a_valid_configuration(checkout: Path) -> None:
    for path in (checkout / "configs" / "eval").glob("*.yaml"):
        settings = ComparisonSettings.from_yaml(path)
        assert settings.chosen_metrics()
        assert settings.baseline_methods
