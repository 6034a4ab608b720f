"""The contact sheet shows every clip, holds everything itself, and filters and sorts in the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pair_sets import make_set, record_of, write_clip_files
from realmaster.errors import DataError
from realmaster.pairs.pair_set import Failure, PairSet
from realmaster.pairs.record import write_record
from realmaster.pairs.sheet import write_sheet
from realmaster.pairs.sheet_pictures import take_picture

NASTY = "</script><img src=x onerror=alert(1)>"


def test_every_clip_is_there_with_pictures_scores_and_reason(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    assert write_sheet(folder, tmp_path / "sheet.html", width=32) == 3
    page = (tmp_path / "sheet.html").read_text("utf-8")
    assert page.count('<article class="clip"') == page.count("data:image/webp") == 3
    assert "3 clips · 2 kept · 1 dropped" in page
    assert "identity: lowest cosine 0.21 below 0.4" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page), "nothing is loaded from elsewhere"
    assert not list(tmp_path.glob(".*part*"))


def test_the_picture_has_a_row_for_each_thing_and_anchors_in_their_place(tmp_path: Path) -> None:
    record = record_of("alley-0001")
    write_clip_files(tmp_path, record)
    picture = take_picture(tmp_path, record, num_columns=3, width=32)
    assert picture is not None
    assert (picture.rows, picture.frames) == (("source", "anchors", "edges", "result"), (0, 2, 4))
    assert (picture.width, picture.height) == (3 * 34 - 2, 4 * 26 - 2)
    few = record_of("alley-0001", files={"engine": record.files["engine"]}, anchors=())
    assert take_picture(tmp_path, few, width=32).rows == ("source",)
    assert take_picture(tmp_path, record_of("alley-0001", files={}), width=32) is None


def test_a_clip_that_was_given_up_or_lost_its_files_is_shown_with_its_reason(tmp_path: Path) -> None:
    early = record_of("alley-0003", files={}, accepted=False, reason="over-edited: 0.2", rejected_at="edit")
    folder = make_set(tmp_path / "set", record_of("alley-0001"), early)
    (folder / "videos" / "alley-0001" / "camera.mp4").unlink()
    write_sheet(folder, tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text("utf-8")
    assert "over-edited: 0.2" in page
    assert '"rules": ["edit"]' in page
    assert "alley-0001/camera.mp4: expected this file, found none: remove the clip" in page


def test_a_clip_that_failed_is_named_with_its_stage(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", record_of("alley-0001"))
    PairSet(folder).set_aside(Failure("dock-0001", "edit", "expected a frame, got none: mend it"))
    write_sheet(folder, tmp_path / "sheet.html", width=32)
    assert "dock-0001 is set aside since edit: expected a frame" in (tmp_path / "sheet.html").read_text("utf-8")


def test_what_people_wrote_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    record = record_of("alley-0001")
    clip = record.clip.model_copy(update={"caption": NASTY})
    folder = make_set(tmp_path / "set", record.model_copy(update={"clip": clip, "accepted": False, "reason": NASTY}))
    write_sheet(folder, tmp_path / "sheet.html", width=32)
    page = (tmp_path / "sheet.html").read_text("utf-8")
    assert NASTY not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data[1])[0]["text"].count("onerror") == 2


def test_a_large_set_is_thinned_evenly_and_the_page_says_so(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    assert write_sheet(folder, tmp_path / "sheet.html", limit=2, width=32) == 2
    assert "2 of 3 clips are here" in (tmp_path / "sheet.html").read_text("utf-8")
    assert write_sheet(folder, tmp_path / "sheet.html", which="dropped", width=32) == 1


def test_nothing_to_show_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name the set's folder"):
        write_sheet(tmp_path, tmp_path / "sheet.html")
    folder = make_set(tmp_path / "set", record_of("alley-0001"))
    with pytest.raises(DataError, match="none of them dropped"):
        write_sheet(folder, tmp_path / "sheet.html", which="dropped")
    (folder / "records" / "alley-0001.json").unlink()
    with pytest.raises(DataError, match="build the set first"):
        write_sheet(folder, tmp_path / "sheet.html")


@pytest.fixture
def page(tmp_path: Path, browser: Any) -> Iterator[Any]:
    """The sheet of the small set in a browser; an error of the page fails the test."""
    folder = make_set(tmp_path / "set")
    early = record_of("castle-0001", files={}, accepted=False, reason="x: 1", rejected_at="edit")
    write_record(folder, early)
    write_sheet(folder, tmp_path / "sheet.html", width=64)
    opened, errors = browser.new_page(), []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto((tmp_path / "sheet.html").as_uri())
    yield opened
    opened.close()
    assert errors == []


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_filters_and_sorts(page: Any) -> None:
    def seen() -> list[str]:
        return page.eval_on_selector_all(".clip:not([hidden])", "cards => cards.map(card => card.id.slice(5))")

    assert len(seen()) == 4
    page.select_option("#kept", "1")
    assert seen() == ["alley-0001", "bridge-0001"]
    page.select_option("#kept", "")
    page.select_option("#rule", "identity")
    assert seen() == ["alley-0002"]
    page.select_option("#rule", "")
    page.select_option("#sort", "flicker")
    page.select_option("#order", "-1")
    assert seen()[0] == "bridge-0001"
    assert seen()[-1] == "castle-0001", "a clip without the score comes last"
    page.fill("#high", "2")
    assert seen() == ["alley-0001", "alley-0002"]
    assert page.inner_text("#count") == "2 of 4"
    page.fill("#high", "")
    page.fill("#words", "street bridge")
    assert seen() == ["bridge-0001"]
    page.reload()
    assert seen() == ["bridge-0001"], "the choice is in the address"
