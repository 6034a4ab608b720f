"""The page in a real browser: what a person sees, presses, loses and gets back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realmaster.errors import StudyError
from realmaster.web.study.make import make_study
from realmaster.web.study.rehearsal import rehearse
from realmaster.web.study.serve import open_port, serving
from realmaster.web.study.store import StudyStore
from realmaster.web.study.visitor import Visitor
from study_people import CLIPS, METHODS, QUESTIONS, settings, write_sources

pytestmark = [pytest.mark.browser, pytest.mark.slow]
Visit = Callable[..., Visitor]
ALL_LEFT = dict.fromkeys(QUESTIONS, "left")


@pytest.fixture
def visit(browser: Any, store: StudyStore, address: str) -> Iterator[Visit]:
    """Open the page as the first person, agreed or not; an error of the page fails the test."""
    visitors: list[Visitor] = []
    errors: list[str] = []

    def go(*, agree: bool = True, phone: bool = False, look: Any = "light", token: str | None = None) -> Visitor:
        visitor = Visitor(browser, phone=phone, look=look)
        visitors.append(visitor)
        visitor.page.on("pageerror", lambda error: errors.append(str(error)))
        visitor.page.on("console", lambda message: errors.append(message.text) if "Security" in message.text else None)
        visitor.open(f"{address}#{store.tokens()[0][1] if token is None else token}")
        if agree and visitor.shows("consent"):
            visitor.agree()
        if agree:
            visitor.wait_for_videos()
        return visitor

    yield go
    for visitor in visitors:
        visitor.leave()
    assert errors == []


def responses(store: StudyStore) -> list[dict[str, str]]:
    rows = store.rows("SELECT trial FROM responses ORDER BY at")
    return [
        {row["question"]: row["choice"] for row in store.rows("SELECT * FROM choices WHERE trial = ?", trial["trial"])}
        for trial in rows
    ]


def test_nobody_starts_without_agreeing(visit: Visit, store: StudyStore) -> None:
    visitor = visit(agree=False)
    assert visitor.shows("consent")
    assert visitor.page.locator("#start").is_disabled()
    assert store.standing(1).consented is False
    visitor.agree()
    assert visitor.progress() == "Set 1 of 8"
    assert store.standing(1).consented is True


def test_the_keyboard_alone_is_enough(visit: Visit, store: StudyStore) -> None:
    visitor = visit()
    press = visitor.page.keyboard.press
    press("ArrowRight")  # realism: B, and on to the next question
    press("ArrowLeft")  # faithfulness: A
    press("ArrowRight")  # quality: B
    press("ArrowUp")  # back to faithfulness
    press("ArrowRight")  # B after all
    visitor.wait_for_next()
    assert responses(store) == []
    press("Enter")
    visitor.page.get_by_text("Set 2 of 8").wait_for()
    assert responses(store) == [{"realism": "right", "faithfulness": "right", "quality": "right"}]
    visitor.wait_for_videos()
    visitor.page.get_by_role("button", name="Pause").wait_for()
    press(" ")
    assert visitor.page.get_by_role("button", name="Play", exact=True).is_visible()
    assert visitor.page.evaluate("[...document.querySelectorAll('video')].every(video => video.paused)")


def test_going_on_needs_every_answer_and_one_look_to_the_end(visit: Visit) -> None:
    visitor = visit()
    visitor.page.keyboard.press(" ")  # hold the videos before their end
    visitor.page.locator("#restart").click()
    visitor.page.keyboard.press("Escape")
    visitor.choose({"realism": "left", "faithfulness": "right"})
    visitor.page.get_by_text("One question is left").wait_for()  # they have played to their end by now
    assert visitor.page.locator("#next").is_disabled()
    visitor.choose({"quality": "left"})
    visitor.wait_for_next()
    assert visitor.page.locator("#hint").text_content() == ""


def test_three_videos_are_loaded_whole_and_play_as_one(browser: Any, tmp_path: Path, sources: Path) -> None:
    long = write_sources(tmp_path / "long", num_frames=40)
    make_study(settings(clips=["room"]), tmp_path / "study", root=long)
    with StudyStore.open(tmp_path / "study") as store, serving(store, open_port("127.0.0.1", 0)) as address:
        visitor = Visitor(browser)
        sizes: dict[str, int] = {}
        visitor.page.on("response", lambda reply: sizes.update({reply.url: int(reply.headers["content-length"])}))
        visitor.open(f"{address}#{store.tokens()[0][1]}")
        visitor.agree()
        visitor.wait_for_videos()
        expected = {store.video(1, name) for name in _names(store)}
        assert {path.stat().st_size for path in expected if path is not None} <= set(sizes.values())
        visitor.page.get_by_role("button", name="Pause").wait_for()
        apart = visitor.page.evaluate(
            """async () => {
              const videos = [...document.querySelectorAll("video")], apart = [];
              while (apart.length < 40 && videos[1].currentTime < 1.8) {
                await new Promise(requestAnimationFrame);
                const times = videos.map((video) => video.currentTime);
                if (times[1] > 0.3) apart.push(Math.max(...times) - Math.min(...times));
              }
              return apart.sort((one, other) => one - other);
            }"""
        )
        assert visitor.page.evaluate(
            "[...document.querySelectorAll('video')].every(video => video.src.startsWith('blob:'))"
        )
        assert apart[len(apart) // 2] < 1 / 16  # less than a frame in the middle; a busy machine may slip for a moment
        visitor.leave()


def _names(store: StudyStore) -> list[str]:
    screen = store.standing(1).screens[0]
    return [screen.left, screen.original, screen.right]


def test_a_closed_tab_is_taken_up_where_it_was_left(visit: Visit, store: StudyStore) -> None:
    visitor = visit()
    visitor.choose(ALL_LEFT)
    visitor.go_on()
    visitor.choose({"realism": "left"})  # begun, not sent
    visitor.leave()
    again = visit()
    assert again.progress() == "Set 2 of 8"
    assert again.page.locator("input:checked").count() == 0
    assert len(responses(store)) == 1


def test_an_answer_outlives_a_lost_connection_and_a_lost_confirmation(visit: Visit, store: StudyStore) -> None:
    visitor = visit()
    attempts: list[str] = []

    def unreliable(route: Any) -> None:
        attempts.append(route.request.post_data_json["key"])
        if len(attempts) == 3:
            route.fetch()  # it arrives and is stored; the confirmation is lost
        route.abort() if len(attempts) < 4 else route.continue_()

    visitor.page.route("**/api/answers", unreliable)
    visitor.choose(ALL_LEFT)
    visitor.wait_for_next()
    visitor.page.locator("#next").click()
    visitor.page.get_by_text("Nothing you answered is gone").wait_for()
    visitor.page.get_by_text("Set 2 of 8").wait_for()
    assert len(attempts) == 4
    assert len(set(attempts)) == 1  # the same key each time
    assert responses(store) == [ALL_LEFT]
    assert visitor.page.locator("#notice").is_hidden()


def test_an_answer_that_was_under_way_when_the_tab_closed_is_sent_by_the_next(visit: Visit, store: StudyStore) -> None:
    visitor = visit()
    visitor.page.route("**/api/answers", lambda route: route.abort())
    visitor.choose(ALL_LEFT)
    visitor.wait_for_next()
    visitor.page.locator("#next").click()
    visitor.page.get_by_text("Nothing you answered is gone").wait_for()
    assert responses(store) == []
    visitor.page.unroute("**/api/answers")
    visitor.page.reload()
    visitor.page.get_by_text("Set 2 of 8").wait_for()
    assert responses(store) == [ALL_LEFT]


def test_a_double_click_goes_on_by_one_set(visit: Visit, store: StudyStore) -> None:
    visitor = visit()
    visitor.choose(ALL_LEFT)
    visitor.wait_for_next()
    visitor.page.locator("#next").dblclick()
    visitor.page.get_by_text("Set 2 of 8").wait_for()
    assert responses(store) == [ALL_LEFT]


def test_an_answer_from_a_second_tab_stands_and_the_first_goes_on(visit: Visit, store: StudyStore) -> None:
    first, second = visit(), visit()
    for visitor, side in ((first, "left"), (second, "right")):
        visitor.choose(dict.fromkeys(QUESTIONS, side))
        visitor.wait_for_next()
    first.go_on()
    second.go_on()
    assert second.progress() == "Set 2 of 8"
    assert responses(store) == [ALL_LEFT]


@pytest.mark.parametrize(("token", "said"), [("", "Open your own link"), ("x" * 24, "does not open the study")])
def test_a_link_that_is_none_says_what_to_do(visit: Visit, token: str, said: str) -> None:
    visitor = visit(agree=False, token=token)
    assert visitor.shows("message")
    assert said in visitor.page.locator("#message").inner_text()


def test_no_name_reaches_the_browser(visit: Visit, store: StudyStore) -> None:
    visitor = visit()
    urls: list[str] = []
    visitor.page.on("request", lambda request: urls.append(request.url))
    visitor.choose(ALL_LEFT)
    visitor.go_on()
    visitor.wait_for_videos()
    seen = (visitor.page.content() + " ".join(urls)).lower()
    assert urls
    assert [name for name in (*METHODS, *CLIPS, store.tokens()[0][1]) if name.lower() in seen] == []


@pytest.mark.parametrize("look", ["light", "dark"])
def test_a_phone_shows_everything_on_one_screen_and_every_target_fits_a_finger(visit: Visit, look: str) -> None:
    visitor = visit(phone=True, look=look)
    boxes = [visitor.page.locator(name).bounding_box() for name in ("#left", "#original", "#right", "#next")]
    tops = [box["y"] for box in boxes]
    assert tops == sorted(tops)  # A above, the original in the middle, B below, then on
    assert boxes[-1]["y"] + boxes[-1]["height"] <= 780
    assert visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    targets = visitor.page.locator("button:visible, label.choice")
    assert targets.count() == 2 + 2 * len(QUESTIONS)
    assert min(box["height"] for box in (targets.nth(index).bounding_box() for index in range(targets.count()))) >= 44
    visitor.page.get_by_role("button", name="Pause").wait_for()
    visitor.page.locator("#original").tap()
    visitor.page.get_by_role("button", name="Play", exact=True).wait_for()


def test_a_phone_on_its_side_needs_no_scrolling_either(visit: Visit) -> None:
    visitor = visit(phone=True)
    visitor.page.set_viewport_size({"width": 844, "height": 390})
    boxes = [visitor.page.locator(name).bounding_box() for name in ("#left", "#original", "#right")]
    assert [box["x"] for box in boxes] == sorted({box["x"] for box in boxes})
    assert visitor.page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight"
    )


@pytest.mark.parametrize("look", ["light", "dark"])
def test_words_stand_out_and_controls_have_names(visit: Visit, look: str) -> None:
    visitor = visit(look=look)
    ratios = visitor.page.evaluate(
        """() => {
          const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
            .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
          const back = (element) => { for (; element; element = element.parentElement) {
            const color = getComputedStyle(element).backgroundColor;
            if (!color.startsWith("rgba(0, 0, 0, 0")) return color; } };
          const words = document.querySelectorAll(".quiet, #count, legend b, .choice span, #play, #next");
          return [...words].map((element) => {
            const [low, high] = [light(getComputedStyle(element).color), light(back(element))].sort((a, b) => a - b);
            return (high + 0.05) / (low + 0.05); });
        }"""
    )
    assert len(ratios) > 10
    assert min(ratios) >= 4.5
    group = visitor.page.get_by_role("group", name="Which is closer to the original?")
    assert group.get_by_role("radio", name="A").count() == 1
    assert visitor.page.get_by_role("progressbar", name="Sets answered").count() == 1


def test_a_rehearsal_shows_the_figures_and_leaves_the_study_untouched(
    folder: Path, browser: Any, tmp_path: Path
) -> None:
    found = rehearse(
        folder, browser, num_people=2, num_careless=1, strengths={"Alpha": 30}, seed=1, screenshots=tmp_path
    )
    assert found.people[0].num_failed_checks == 0
    assert {pair.share.share for pair in found.questions[0].pairs[:2] if pair.share is not None} == {1.0}
    assert {path.name for path in tmp_path.glob("*.png")} >= {"consent-desktop-light.png", "trial-desktop-dark.png"}
    with StudyStore.open(folder) as store:
        assert store.rows("SELECT COUNT(*) FROM responses")[0][0] == 0
    with pytest.raises(StudyError, match="expected at most 4 people"):
        rehearse(folder, browser, num_people=5)
