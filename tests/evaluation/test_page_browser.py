"""The report in a real browser: nothing grows without bound, and a finger that scrolls does not move the divide."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realmaster.evaluation.page import write_report
from realmaster.pipelines.translation import Translation
from realmaster.types import ClipInfo

pytestmark = pytest.mark.browser
Save = Callable[..., Path]


@pytest.fixture
def shown(browser: Any, save: Save, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open the report of a clip of some size in a window of a phone with a finger."""
    context = browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)

    def show(num_frames: int, height: int, width: int) -> Any:
        frames = np.random.default_rng(0).integers(0, 256, (num_frames, height, width, 3), dtype=np.uint8)
        render, film = save("render.mkv", frames), save("film.mkv", 255 - frames)
        made = Translation(film, num_frames, ClipInfo(width, height, Fraction(16), source=str(render)), {}, {})
        page = context.new_page()
        page.goto(write_report(tmp_path / "page.html", made).as_uri())
        return page

    yield show
    context.close()


@pytest.mark.parametrize(("num_frames", "height", "width"), [(1, 72, 128), (5, 400, 8), (5, 8, 800), (5, 72, 128)])
def test_pictures_and_moments_are_bounded_whatever_the_shape(
    shown: Callable[..., Any], num_frames: int, height: int, width: int
) -> None:
    page = shown(num_frames, height, width)
    for window in ({"width": 390, "height": 800}, {"width": 1280, "height": 800}):
        page.set_viewport_size(window)
        page.wait_for_function("[...document.querySelectorAll('.moment img')].every((image) => image.complete)")
        for moment in page.locator(".moment").all():
            box = moment.bounding_box()
            assert box["width"] <= 240
            assert box["height"] <= 400
        stage = page.locator("#stage").bounding_box()
        assert stage["width"] >= 160
        assert 96 <= stage["height"] <= 0.72 * window["height"] + 1
        assert page.evaluate("document.documentElement.scrollHeight") < 1600


def drag(page: Any, *points: tuple[float, float]) -> float:
    """Drag a finger over the picture by shares of its size; give where the divide is then, in percent."""
    box = page.locator("#stage").bounding_box()
    session = page.context.new_cdp_session(page)
    places = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in points]
    for kind, place in zip(["touchStart", *["touchMove"] * (len(places) - 1)], places, strict=True):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [place]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    return float(page.locator("#divide").get_attribute("aria-valuenow"))


def test_only_a_finger_that_goes_across_moves_the_divide(shown: Callable[..., Any]) -> None:
    page = shown(5, 72, 128)
    assert drag(page, (0.2, 0.2), (0.2, 0.5), (0.21, 0.9)) == 50, "it scrolls the page"
    assert drag(page, (0.2, 0.2)) == 50, "it only touches"
    assert drag(page, (0.5, 0.5), (0.6, 0.5), (0.8, 0.5)) == pytest.approx(80, abs=2)
    assert drag(page, (0.1, 0.2), (0.1, 0.8)) == pytest.approx(80, abs=2)


def test_a_mouse_moves_the_divide_where_it_presses(shown: Callable[..., Any]) -> None:
    page = shown(5, 72, 128)
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 5)
    page.mouse.down()
    assert float(page.locator("#divide").get_attribute("aria-valuenow")) == pytest.approx(25, abs=2)
    page.mouse.move(box["x"] + 0.25 * box["width"] + 5, box["y"] + 0.9 * box["height"])
    page.mouse.up()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 5)
    assert float(page.locator("#divide").get_attribute("aria-valuenow")) == pytest.approx(26, abs=2)
