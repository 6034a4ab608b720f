"""The site over HTTP: who may ask what, what leaves, and fifty people at once."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from realmaster.errors import StudyError
from realmaster.web.study.make import make_study
from realmaster.web.study.results import read_results
from realmaster.web.study.serve import is_loopback, open_port, public_address, serving, write_links
from realmaster.web.study.store import StudyStore
from study_people import CLIPS, METHODS, QUESTIONS, Client, Reply, settings


@pytest.fixture
def client(store: StudyStore, address: str) -> Iterator[Client]:
    """The first person."""
    client = Client(address, store.tokens()[0][1])
    yield client
    client.close()


def test_a_person_takes_part_from_consent_to_thanks(client: Client, store: StudyStore) -> None:
    state = client.state()
    assert (state["consented"], state["trial"], state["thanks"]) == (False, None, None)
    state = client.agree()
    assert (state["done"], state["total"]) == (0, 8)
    for done in range(8):
        for side in ("left", "original", "right"):
            video = client.ask(f"/api/videos/{state['trial'][side]}")
            assert (video.status, video.headers["content-type"]) == (200, "video/mp4")
            assert video.body[4:8] == b"ftyp"
        reply = client.answer(state["trial"]["id"], key=f"key-{done:04d}")
        assert (reply.status, reply.json["outcome"]) == (200, "counted")
        state = reply.json
    assert (state["done"], state["trial"]) == (8, None)
    assert state["thanks"].startswith("Thank you")
    assert read_results(store).num_counted in (0, 6)  # always the left side: the checks decide whether it counts


def test_nothing_that_leaves_the_server_names_a_method_a_clip_or_a_check(client: Client, store: StudyStore) -> None:
    replies: list[Reply] = [client.ask(path) for path in ("/", "/study.js", "/study.css", "/player.js")]
    state = client.agree()
    shapes = set()
    while state["trial"]:
        shapes.add(json.dumps({name: sorted(state[name]) if state[name] else None for name in ("trial",)}))
        replies += [client.ask(f"/api/videos/{state['trial'][side]}") for side in ("left", "original", "right")]
        replies.append(client.answer(state["trial"]["id"]))
        state = replies[-1].json
    replies += [client.ask("/api/videos/none"), client.ask("/openapi.json"), client.ask("/api/answers", b"{")]
    replies.append(client.answer("x" * 16))
    sent = b"\n".join(reply.body + json.dumps(reply.headers).encode() for reply in replies).lower()
    names = (*METHODS, *CLIPS, "originals", "study.sqlite", "damaged", 'expected"', str(store.folder))
    assert [name for name in names if name.lower().encode() in sent] == []
    assert len(shapes) == 1  # an attention check looks like any other set
    assert {len(row["id"]) for row in store.rows("SELECT id FROM videos")} == {16}


def test_the_page_asks_nobody_else_and_works_below_any_path(client: Client) -> None:
    for path in ("/", "/study.js", "/study.css", "/player.js"):
        text = client.ask(path).body.decode()
        assert "://" not in text
        assert re.findall(r"""(?:src|href)="/|(?:ask|askState|fetch)\(["'`]/|url\(""", text) == []


@pytest.mark.parametrize("token", ["", "x" * 24, "' OR 1=1 --", "Bearer"])
def test_without_ones_own_token_there_is_nothing(address: str, token: str) -> None:
    client = Client(address, token)
    for reply in (
        client.ask("/api/me"),
        client.ask("/api/consent", {}),
        client.ask("/api/videos/anything"),
        client.answer("anything"),
    ):
        assert reply.status == 401
        assert "link" in reply.json["detail"]
    client.close()


@pytest.mark.parametrize(
    "path",
    [
        "/../study.sqlite",
        "/%2e%2e/study.sqlite",
        "/..%2fstudy.sqlite",
        "/study.sqlite",
        "/links.csv",
        "/assets/index.html",
        "/api/videos/..%2f..%2fstudy.sqlite",
        "/api/videos/%2e%2e%2fstudy.sqlite",
        "/api/videos/%2fetc%2fpasswd",
        "/docs",
        "/openapi.json",
    ],
)
def test_paths_that_try_to_leave_the_site_find_nothing(client: Client, path: str) -> None:
    client.agree()
    reply = client.ask(path)
    assert reply.status == 404
    assert b"SQLite" not in reply.body
    assert b"root:" not in reply.body


def test_the_videos_of_others_and_of_later_sets_are_not_given(client: Client, store: StudyStore) -> None:
    before = client.state()
    assert before["trial"] is None
    names = [row["id"] for row in store.rows("SELECT id FROM videos")]
    assert {client.ask(f"/api/videos/{name}").status for name in names} == {404}
    client.agree()
    assert Counter(client.ask(f"/api/videos/{name}").status for name in names)[200] <= 6


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"trial": "a"}',
        b'{"trial": "a", "key": "short", "choices": {}, "seconds": 1, "plays": 1}',
        b'{"trial": "a", "key": "12345678", "choices": {"realism": "up"}, "seconds": 1, "plays": 1}',
        b'{"trial": "a", "key": "12345678", "choices": {}, "seconds": NaN, "plays": 1}',
        b'{"trial": "a", "key": "12345678", "choices": {}, "seconds": 1, "plays": 1, "more": 1}',
        b'{"trial": "a", "key": "12345678", "choices": {}, "seconds": -1, "plays": 1}',
        b'{"trial": "a", "key": "12345678", "choices": {}, "seconds": 1, "plays": 1e99}',
        b"\xff\xfe",
    ],
)
def test_an_answer_that_is_none_is_refused(client: Client, store: StudyStore, body: bytes) -> None:
    client.agree()
    assert client.ask("/api/answers", body, method="POST").status in (400, 422)
    assert store.rows("SELECT COUNT(*) FROM responses")[0][0] == 0


def test_a_body_larger_than_any_answer_is_refused(client: Client, store: StudyStore) -> None:
    client.agree()
    assert client.ask("/api/answers", b" " * 100_000).status == 413
    assert store.rows("SELECT COUNT(*) FROM responses")[0][0] == 0


def test_an_answer_to_a_question_that_is_not_asked_or_out_of_turn_is_refused(client: Client) -> None:
    state = client.agree()
    body = {"trial": state["trial"]["id"], "key": "12345678", "choices": {"beauty": "left"}, "seconds": 1, "plays": 1}
    assert client.ask("/api/answers", body).status == 422
    assert client.answer(state["next"]["id"]).status == 409


def test_a_double_click_and_a_retry_are_counted_once(client: Client, store: StudyStore) -> None:
    trial = client.agree()["trial"]["id"]
    outcomes = [client.answer(trial, key=key).json["outcome"] for key in ("first-key", "first-key", "other-key")]
    assert outcomes == ["counted", "repeated", "answered before"]
    assert store.rows("SELECT COUNT(*) FROM choices")[0][0] == len(QUESTIONS)
    assert client.state()["done"] == 1


def test_every_reply_carries_the_protective_headers(client: Client) -> None:
    for reply in (client.ask("/"), client.ask("/api/me"), client.ask("/nothing"), client.ask("/api/answers", b"{")):
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert client.ask("/api/me").headers["cache-control"] == "no-store"


def test_a_database_that_is_busy_asks_the_browser_to_try_again(folder: Path) -> None:
    with StudyStore.open(folder, wait_seconds=0.05) as store, serving(store, open_port("127.0.0.1", 0)) as address:
        client = Client(address, store.tokens()[0][1])
        trial = client.agree()["trial"]["id"]
        other = sqlite3.connect(folder / "study.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        reply = client.answer(trial)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        other.execute("ROLLBACK")
        other.close()
        assert client.answer(trial).json["outcome"] == "counted"
        client.close()


def test_fifty_people_at_once_lose_nothing_and_count_nothing_twice(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    make_study(
        settings(participants=50, trials_per_person=3, checks_per_person=1, max_failed_checks=0), folder, root=sources
    )

    def take_part(number: int, address: str, token: str) -> None:
        client, second = Client(address, token), Client(address, token)
        client.agree()
        state = client.agree()
        while state["trial"]:
            for side in ("left", "original", "right"):
                assert client.ask(f"/api/videos/{state['trial'][side]}").status == 200
            side = "left" if number % 2 else "right"
            trial, key = state["trial"]["id"], f"key-{number}-{state['done']:04d}"
            with ThreadPoolExecutor(2) as fingers:  # a double click: the same answer twice at one moment
                both = [fingers.submit(one.answer, trial, side, key=key) for one in (client, second)]
                assert sorted(click.result().json["outcome"] for click in both) == ["counted", "repeated"]
            state = client.state()
        assert state["done"] == 4
        client.close()
        second.close()

    with StudyStore.open(folder) as store, serving(store, open_port("127.0.0.1", 0)) as address:
        with ThreadPoolExecutor(50) as people:
            for done in [people.submit(take_part, number, address, token) for number, token in store.tokens()]:
                done.result()
        rows = store.rows("SELECT participant, choice FROM choices JOIN responses USING (trial)")
        assert len(rows) == 50 * 4 * len(QUESTIONS)
        assert {row["choice"] == ("left" if row["participant"] % 2 else "right") for row in rows} == {True}
        plans = [row["plan"] for row in store.rows("SELECT plan FROM participants")]
        assert sorted(plans) == list(range(50))
        cells = store.rows(
            "SELECT COUNT(*) FROM responses JOIN trials ON trials.id = trial WHERE expected IS NULL "
            "GROUP BY clip, MIN(left_method, right_method), MAX(left_method, right_method)"
        )
        counts = [row[0] for row in cells]
        assert (len(counts), sum(counts)) == (9, 150)
        assert max(counts) - min(counts) <= 1


@contextmanager
def served(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command itself, in a process of its own."""
    code = "import sys; from realmaster.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "study", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert " at http://127.0.0.1:" in line, line + process.communicate(timeout=5)[1]
        yield process, line.rsplit(" ", 1)[1].strip()
    finally:
        process.kill()
        process.communicate()


def test_what_was_confirmed_survives_kill_9_and_the_person_goes_on(folder: Path) -> None:
    with StudyStore.open(folder) as store:
        token = store.tokens()[0][1]
    with served(folder) as (process, address):
        client = Client(address, token)
        state = client.agree()
        for done in range(3):
            state = client.answer(state["trial"]["id"], key=f"key-{done:04d}").json
        client.close()
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
    with served(folder) as (process, address):
        client = Client(address, token)
        assert client.state() == {name: value for name, value in state.items() if name != "outcome"}
        assert client.state()["done"] == 3
        client.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) in (0, 130)
    with StudyStore.open(folder) as store:
        assert store.rows("SELECT COUNT(*) FROM choices")[0][0] == 3 * len(QUESTIONS)
        assert store.rows("PRAGMA integrity_check")[0][0] == "ok"


def test_links_hold_the_token_where_no_server_sees_it(store: StudyStore) -> None:
    path = write_links(store, public_address("https://example.org/study", "127.0.0.1", 8000))
    assert path.stat().st_mode & 0o077 == 0
    header, first, *rest = path.read_text().splitlines()
    assert header == "participant,link"
    assert first == f"1,https://example.org/study/#{store.tokens()[0][1]}"
    assert len(rest) == 3


@pytest.mark.parametrize("url", ["example.org", "ftp://example.org", "https://example.org/?a=1", "https://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StudyError, match="correct --public-url"):
        public_address(url, "127.0.0.1", 8000)


def test_a_port_that_is_taken_is_refused_in_one_line() -> None:
    with open_port("127.0.0.1", 0) as taken, pytest.raises(StudyError, match="choose another --port"):
        open_port("127.0.0.1", taken.getsockname()[1])


def test_loopback_is_told_from_the_world() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "10.0.0.7", "study.org")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
