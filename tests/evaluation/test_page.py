"""The report is one file that needs nothing else, shows what was made, and cannot be broken by a prompt."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import MediaError, OutputError
from realmaster.evaluation.alignment import Alignment, Figures, Segment, measure_alignment
from realmaster.evaluation.metrics import Flicker
from realmaster.evaluation.page import write_report
from realmaster.evaluation.plot import plots
from realmaster.evaluation.verdicts import summary, verdicts
from realmaster.models.profiles import read_changes
from realmaster.types import ClipInfo

Frames = npt.NDArray[np.uint8]
Save = Callable[..., Path]
VOID = {"meta", "img", "line", "br"}


@dataclass(frozen=True)
class Made:
    """The fields of a translation that a page reads."""

    output: Path
    num_frames: int
    info: ClipInfo
    seconds: Mapping[str, float] = field(default_factory=lambda: {"load": 1.0, "denoise": 3.0, "write": 0.0})
    settings: Mapping[str, Any] = field(default_factory=lambda: {"prompt": "overcast day", "seed": 7, "adapter": None})
    warnings: tuple[str, ...] = ()
    truncated: str | None = None


class Outline(HTMLParser):
    """Checks that tags are balanced and collects them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag and wanted.items() <= attrs.items()]


@pytest.fixture
def made(save: Save, moving: Frames) -> Made:
    film = np.clip(moving * 0.6 + np.array([40.0, 20.0, 0.0]), 0, 255).astype(np.uint8)
    render = save("render.mkv", moving)
    return Made(save("film.mkv", film), 5, ClipInfo(128, 72, Fraction(16), source=str(render)))


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


def test_everything_is_inside_the_file_and_nothing_may_be_loaded(made: Made, tmp_path: Path) -> None:
    html = write_report(tmp_path / "page.html", made).read_text(encoding="utf-8")
    outline = Outline(html)
    for _, attrs in outline.tags:
        for name in ("src", "href", "srcset", "poster", "action"):
            assert (attrs.get(name) or "data:").startswith("data:")
    assert "url(" not in html
    assert "@import" not in html
    (policy,) = [attrs["content"] for attrs in outline.all("meta") if "http-equiv" in attrs]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_the_first_picture_and_each_moment_show_render_and_film(made: Made, tmp_path: Path) -> None:
    outline = Outline(write_report(tmp_path / "page.html", made).read_text(encoding="utf-8"))
    renders, films = (outline.all("img", **{"class": side}) for side in ("render", "film"))
    assert len(renders) == len(films) == 6, "the large picture and five moments"
    for images, warm in ((renders, False), (films, True)):
        picture = cv2.imdecode(np.frombuffer(decoded(images[0]["src"]), np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (72, 128, 3)
        assert bool(picture[..., 2].mean() > picture[..., 0].mean() + 15) is warm
    assert outline.all("div", role="slider", tabindex="0")


def test_the_clip_in_motion_holds_the_render_above_the_film(made: Made, moving: Frames, tmp_path: Path) -> None:
    outline = Outline(write_report(tmp_path / "page.html", made).read_text(encoding="utf-8"))
    (video,) = outline.all("video")
    with av.open(io.BytesIO(decoded(video["src"]))) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    assert frames[0].shape == (144, 128, 3)
    assert np.abs(frames[2][:72].astype(int) - moving[2]).mean() < 8
    assert frames[2][72:, :, 0].mean() > frames[2][72:, :, 2].mean() + 15


def test_a_prompt_or_a_name_cannot_break_out_of_the_page(
    made: Made, save: Save, moving: Frames, tmp_path: Path
) -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror=alert(2)> $style \"quoted\" 'too'"
    output = save("<b>film&.mkv", moving)
    hostile = replace(
        made,
        output=output,
        settings={"prompt": attack, attack: attack},
        warnings=(attack,),
        truncated=attack,
        seconds={attack: 1.0},
    )
    outline = Outline(
        write_report(tmp_path / "page.html", hostile, measure_alignment(made.info.source, output)).read_text()
    )
    assert len(outline.all("script")) == 1
    assert not [attrs for _, attrs in outline.tags if "onerror" in attrs]
    assert not outline.all("b") or all("class" not in attrs for attrs in outline.all("b"))
    assert outline.text.count("onerror=alert(2)") >= 5, "it is shown as text"


def test_settings_timings_and_warnings_are_told(made: Made, tmp_path: Path) -> None:
    told = replace(made, warnings=("no colour tags",), truncated="the file ends at 0.3 s")
    text = Outline(write_report(tmp_path / "page.html", told).read_text(encoding="utf-8")).text
    assert "4.0 seconds, 1.25 frames per second" in text
    assert "75%" in text
    assert "overcast day" in text
    assert "seed7" in text
    assert "adapter" not in text, "what was not asked for is not listed"
    assert "no colour tags" in text
    assert "ended early: the file ends at 0.3 s" in text


@pytest.mark.parametrize("is_measured", [False, True])
def test_the_stretch_that_was_translated_is_the_one_that_is_shown(
    is_measured: bool, save: Save, make_scene: Callable[..., Frames], tmp_path: Path
) -> None:
    frames = make_scene(num_frames=8, speed=4.0)
    render, film = save("render.mkv", frames, rate=4), save("film.mkv", frames[4:6], rate=4)
    stretch = {"start_seconds": 1.0, "duration_seconds": 0.5}
    made = Made(film, 2, ClipInfo(128, 72, Fraction(4), source=str(render)), settings={} if is_measured else stretch)
    measured = measure_alignment(render, film, **stretch) if is_measured else None
    outline = Outline(write_report(tmp_path / "page.html", made, measured).read_text())
    renders, films = (outline.all("img", **{"class": side}) for side in ("render", "film"))
    assert [image["src"] for image in renders] == [image["src"] for image in films]


def test_the_alignment_is_told_in_words_with_a_bar_for_each_second(
    save: Save, make_scene: Callable[..., Frames], tmp_path: Path
) -> None:
    frames = make_scene(num_frames=12, speed=1.0)
    spoilt = frames.copy()
    spoilt[8:] = 100
    render, film = save("render.mkv", frames, rate=4), save("film.mkv", spoilt, rate=4)
    info = ClipInfo(128, 72, Fraction(4), source=str(render))
    html = write_report(tmp_path / "page.html", Made(film, 12, info), measure_alignment(render, film)).read_text()
    outline = Outline(html)
    assert "misses the mark for" in outline.text
    assert "missed" in outline.text
    shapes = html.split('<figure class="plot">')[1]
    assert shapes.count("<rect") == 3
    assert shapes.count('<rect class="missed"') >= 1
    assert "3 stretches" in outline.all("svg")[0]["aria-label"]


def test_one_frame_makes_a_page_without_motion(save: Save, moving: Frames, tmp_path: Path) -> None:
    render, film = save("render.mkv", moving[:1]), save("film.mkv", moving[:1])
    one = Made(film, 1, ClipInfo(128, 72, Fraction(16), source=str(render)))
    outline = Outline(write_report(tmp_path / "page.html", one, measure_alignment(render, film)).read_text())
    assert not outline.all("video")
    assert not outline.all("svg")
    assert "1 frame ·" in outline.text
    assert "One frame has no motion to compare" in outline.text


def test_the_page_replaces_an_old_one_and_leaves_nothing_else(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "page.html").write_text("old")
    write_report(folder / "page.html", made)
    assert [path.name for path in folder.iterdir()] == ["page.html"]
    assert "old" not in (folder / "page.html").read_text()[:100]


def test_a_page_that_cannot_be_written_leaves_nothing(made: Made, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_report(tmp_path / "no" / "page.html", made)
    with pytest.raises(MediaError):
        write_report(tmp_path / "page.html", replace(made, output=tmp_path / "gone.mkv"))
    assert not list(tmp_path.glob("*page*"))


def test_the_pages_time_is_the_whole_commands_where_that_is_known(made: Made, tmp_path: Path) -> None:
    whole = {"start": 2.0, "load": 1.0, "denoise": 3.0, "other": 4.0}
    for name, seconds, heading, meaning in (
        ("own", None, "4.0 seconds, 1.25 frames per second", "Starting Python and making this page are not included"),
        ("whole", whole, "10.0 seconds, 0.50 frames per second", "until the clip was written"),
    ):
        text = Outline(write_report(tmp_path / f"{name}.html", made, seconds=seconds).read_text()).text
        assert heading in text
        assert meaning in text


def test_the_page_names_the_input_the_adapter_and_the_changes_and_how_to_make_it_again(
    made: Made, tmp_path: Path
) -> None:
    settings = {"input": "-in/render.mkv", "output": "film.mkv", "profile": "nano", "adapter": "rain <1>.safetensors"}
    settings |= {"prompt": "", "negative_prompt": "", "changes": {"sampling.mirror": False, "few_step.lora": "true"}}
    settings |= {"duration_seconds": 0.1, "seed": 3, "strength": 1.0}
    told = replace(made, settings=settings)
    text = Outline(write_report(tmp_path / "page.html", told).read_text()).text
    assert "from render.mkv" in text
    assert "adapterrain <1>.safetensors" in text
    assert "sampling.mirror=no" in text
    assert (
        "realmaster translate -o film.mkv --negative-prompt '' --profile nano --adapter 'rain <1>.safetensors' "
        "--seed 3 --strength 1 --duration 0.1 --set sampling.mirror=false "
        "--set 'few_step.lora=\"true\"' -- -in/render.mkv"
    ) in text
    assert read_changes(("sampling.mirror=false", 'few_step.lora="true"')) == settings["changes"]


def test_a_translation_whose_settings_are_not_all_known_has_no_command(made: Made, tmp_path: Path) -> None:
    assert "realmaster translate" not in write_report(tmp_path / "page.html", made).read_text()


def test_a_name_that_is_no_utf8_is_shown_by_its_bytes(made: Made, save: Save, moving: Frames, tmp_path: Path) -> None:
    told = replace(made, output=save("film\udce9.mkv", moving), settings={"prompt": "caf\udce9"})
    text = write_report(tmp_path / "page.html", told).read_text(encoding="utf-8")
    assert r"film\udce9.mkv" in text
    assert r"caf\udce9" in text
    assert {path.name for path in tmp_path.iterdir() if path.suffix == ".html"} == {"page.html"}


def test_rates_and_settings_are_shown_with_their_digits(made: Made, tmp_path: Path) -> None:
    info = replace(made.info, frame_rate=Fraction(24000, 1001))
    told = replace(made, info=info, settings={"strength": 0.12345, "changes": {"transfer.cell": 1234.5}})
    text = Outline(write_report(tmp_path / "page.html", told).read_text()).text
    for shown in ("23.976 per second", "strength0.12345", "transfer.cell=1234.5"):
        assert shown in text


def test_a_page_that_may_not_be_replaced_stays(made: Made, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(OutputError, match="still free"):
        write_report(tmp_path / "page.html", made, overwrite=False)
    assert (tmp_path / "page.html").read_text() == "mine"


def alignment(**figures: Any) -> Alignment:
    known = {"edge_recall": 0.9, "flow_difference": 0.2, "flicker": Flicker(2.0, 2.2), "colour_change": 12.0}
    return Alignment(Figures(**(known | figures)), (), 81, 24, 832, 480)


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ({}, "The film keeps the render's shapes, motion and steadiness."),
        ({"edge_recall": 0.5}, "keeps the render's motion and steadiness, and misses the mark for shapes."),
        ({"flow_difference": None}, "The film keeps the render's shapes and steadiness."),
        ({"edge_recall": 0.1, "flow_difference": 3.0, "flicker": Flicker(1.0, 9.0)}, "The film misses the mark for"),
        ({"edge_recall": None, "flow_difference": None, "flicker": None}, "Nothing could be measured"),
    ],
)
def test_the_summary_names_what_is_kept_and_what_is_missed(figures: dict[str, Any], sentence: str) -> None:
    assert sentence in summary(alignment(**figures))


def test_each_verdict_says_what_was_asked_for() -> None:
    shapes, motion, steadiness, colour = verdicts(alignment(flicker=Flicker(2.0, 4.0)))
    assert (shapes.figure, shapes.asked, shapes.mark) == ("90%", "at least 80%", "kept")
    assert (motion.figure, motion.mark) == ("0.20 px", "kept")
    assert (steadiness.figure, steadiness.mark) == ("2.00×", "missed")
    assert (colour.figure, colour.mark) == ("ΔE 12", "")
    unknown = verdicts(alignment(flicker=Flicker(0.0, 3.0)))[2]
    assert (unknown.kept, unknown.mark) == (None, "not measured")


@pytest.mark.parametrize(
    ("figures", "shown", "mark"),
    [
        ({"edge_recall": 0.796}, "80%", "kept"),
        ({"edge_recall": 0.794}, "79%", "missed"),
        ({"flow_difference": 0.496}, "0.50 px", "missed"),
        ({"flow_difference": 0.494}, "0.49 px", "kept"),
        ({"flicker": Flicker(1.0, 1.304)}, "1.30×", "kept"),
        ({"flicker": Flicker(1.0, 1.306)}, "1.31×", "missed"),
        ({"flicker": Flicker(0.1, 0.54)}, "still", "kept"),
    ],
)
def test_a_figure_is_judged_as_it_is_shown(figures: dict[str, Any], shown: str, mark: str) -> None:
    assert (shown, mark) in [(verdict.figure, verdict.mark) for verdict in verdicts(alignment(**figures))]


def bars_of(whole: Figures, *stretches: Figures) -> tuple[list[Any], str]:
    segments = tuple(Segment(float(i), i + 1.0, figures) for i, figures in enumerate(stretches))
    measured = Alignment(whole, segments, 81, 24, 832, 480)
    return list(verdicts(measured)), plots(measured)


def test_bars_do_not_contradict_the_card() -> None:
    whole = Figures(0.9, 0.2, Flicker(0.3, 0.4), 12.0)
    unseen, seen = Figures(0.80, 0.2, Flicker(0.1, 0.141), 12.0), Figures(0.70, 0.2, Flicker(1.0, 2.26), 12.0)
    (shapes, _, steadiness, _), drawn = bars_of(whole, unseen, seen, unseen)
    assert (shapes.mark, shapes.beyond) == ("kept", "1 of 3 stretches is beyond that")
    assert (steadiness.figure, steadiness.mark, steadiness.beyond) == ("still", "kept", shapes.beyond)
    assert 'class="missed"' not in drawn, "what the card calls kept has no bar that is called missed"
    assert drawn.count('class="beyond"') == 2
    assert "missed" not in drawn
    assert "kept" not in drawn, "the verdict is the card's alone"
    assert "1 to 2.0 s: 2.26×, beyond the bound" in drawn
    assert drawn.count("too little to be seen") == 2
    assert "1.41×" not in drawn
    assert "0 to 1.0 s: 80%<" in drawn
    assert "asked for at least 80%: 3 stretches, 1 of 3 stretches is beyond that" in drawn


def test_where_the_card_says_missed_the_bars_beyond_the_bound_are_called_so() -> None:
    whole, calm = Figures(0.5, 0.2, Flicker(1.0, 1.0), 12.0), Figures(0.9, 0.2, Flicker(1.0, 1.0), 12.0)
    (shapes, *_), drawn = bars_of(whole, whole, calm)
    assert shapes.mark == "missed"
    assert drawn.count('class="missed"') == 1
    assert drawn.count('class="beyond"') == 0
