"""The judge: asked over HTTP, answered strictly, patient with a server in trouble, never asked twice the same."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from realmaster.cli.main import main
from realmaster.errors import ConfigError
from realmaster.evaluation.judge import DIGEST, PROMPTS, Judge, wrong_with
from realmaster.evaluation.judge_client import JudgeClient, JudgeError, JudgeSettings
from realmaster.evaluation.metrics.metric import Case
from realmaster.evaluation.metrics.registry import METRICS
from realmaster.evaluation.tools import Tools, ToolSettings

Frames = npt.NDArray[np.uint8]


class Server:
    """A local server that speaks the protocol; `behave` makes (status, body, headers) from a request."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.behave: Callable[[dict[str, Any], int], tuple[int, Any, dict[str, str]]] = lambda body, n: answer(7)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(body)
                outer.headers.append(dict(self.headers))
                status, reply, headers = outer.behave(body, len(outer.requests))
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(realism: Any, **more: Any) -> tuple[int, Any, dict[str, str]]:
    content = json.dumps({"reason": "soft light", "realism": realism, **more})
    usage = {"prompt_tokens": 1000, "completion_tokens": 20}
    return 200, {"model": "judge-1", "choices": [{"message": {"content": content}}], "usage": usage}, {}


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def make_judge(server: Server, cache: Path | None = None, waits: list[float] | None = None, **changes: Any) -> Judge:
    settings = JudgeSettings(endpoint=server.endpoint, model="judge-1", key_env=None, **changes)
    sleep = (lambda seconds: None) if waits is None else waits.append
    return Judge(JudgeClient(settings, cache, sleep=sleep))


def test_each_frame_is_asked_for_with_a_strict_schema_and_its_picture(server: Server, still: Frames) -> None:
    verdict = make_judge(server).alone(list(still[:3]))
    assert verdict.realism == 7
    assert len(server.requests) == 3
    for request in server.requests:
        assert request["response_format"]["json_schema"]["strict"] is True
        text, image = request["messages"][0]["content"]
        assert text["text"] == PROMPTS["alone"]
        assert image["image_url"]["url"].startswith("data:image/png;base64,")
    assert (verdict.input_tokens, verdict.output_tokens, verdict.dollars) == (3000, 60, None)


def test_what_a_model_does_not_take_can_be_left_out(server: Server, still: Frames) -> None:
    make_judge(server).alone([still[0]])
    make_judge(server, temperature=None, max_tokens=None).alone([still[0]])
    first, second = server.requests
    assert (first["temperature"], first["max_tokens"]) == (0.0, 300)
    assert not {"temperature", "max_tokens"} & set(second)


def test_both_orders_are_asked_and_their_difference_is_the_bias(server: Server, still: Frames) -> None:
    def prefers_the_second(body: dict[str, Any], count: int) -> tuple[int, Any, dict[str, str]]:
        return answer(8 if body["messages"][0]["content"][0]["text"] == PROMPTS["input first"] else 5)

    server.behave = prefers_the_second
    inputs, outputs = list(still[:2]), list(255 - still[:2])
    verdict = make_judge(server).beside(inputs, outputs)
    assert (verdict.realism, verdict.bias) == (6.5, 3.0)
    first, swapped = (
        next(r for r in server.requests if r["messages"][0]["content"][0]["text"] == PROMPTS[order])
        for order in ("input first", "output first")
    )
    assert first["messages"][0]["content"][1:] != swapped["messages"][0]["content"][1:]
    once = make_judge(server, swap=False).beside(inputs, outputs)
    assert (once.realism, once.bias) == (8.0, None)


def test_the_same_question_is_asked_once(server: Server, still: Frames, tmp_path: Path) -> None:
    judge = make_judge(server, tmp_path, dollars_per_million_input=2.5, dollars_per_million_output=10)
    first, second = judge.alone([still[0]]), judge.alone([still[0]])
    assert len(server.requests) == 1
    assert (first.num_cached, second.num_cached) == (0, 1)
    assert second.realism == first.realism
    assert first.dollars == pytest.approx(0.0027)


@pytest.mark.parametrize("nonsense", [0, 11, 6.5, True, "7", None])
def test_nonsense_is_asked_again_and_a_later_answer_taken(server: Server, still: Frames, nonsense: Any) -> None:
    server.behave = lambda body, count: answer(nonsense) if count < 3 else answer(4)
    assert make_judge(server).alone([still[0]]).realism == 4
    assert len(server.requests) == 3


def test_an_answer_with_other_keys_or_no_json_is_nonsense(server: Server, still: Frames) -> None:
    assert wrong_with({"reason": "x", "realism": 3, "more": 1}) is not None
    assert wrong_with([3]) is not None
    server.behave = lambda body, count: (200, b"<html>", {}) if count < 2 else answer(3)
    assert make_judge(server).alone([still[0]]).realism == 3


def test_a_judge_that_only_talks_nonsense_is_absent_and_nothing_is_kept(
    server: Server, still: Frames, tmp_path: Path
) -> None:
    server.behave = lambda body, count: answer(12)
    with pytest.raises(JudgeError, match=r"no usable answer in 2 attempts.*integer from 1 to 10"):
        make_judge(server, tmp_path, attempts=2).alone([still[0]])
    assert not list(tmp_path.rglob("*.json"))


def test_a_rate_limit_is_waited_for_as_long_as_it_says(server: Server, still: Frames) -> None:
    waits: list[float] = []
    limited = (429, {"error": {"message": "slow down"}}, {"Retry-After": "7"})
    server.behave = lambda body, count: limited if count < 3 else answer(5)
    assert make_judge(server, waits=waits).alone([still[0]]).realism == 5
    assert waits == [7.0, 7.0]


def test_a_server_that_is_down_is_left_alone_after_three_questions(server: Server, still: Frames) -> None:
    server.behave = lambda body, count: (503, b"", {})
    judge = make_judge(server, attempts=2, parallel=1)
    for _ in range(3):
        with pytest.raises(JudgeError, match="503"):
            judge.alone([still[0]])
    asked = len(server.requests)
    with pytest.raises(JudgeError, match="did not answer 3 times in a row"):
        judge.alone([still[0]])
    assert len(server.requests) == asked == 6


def test_a_wrong_key_is_not_tried_again_and_never_shown(
    server: Server, still: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", "secret-123")
    server.behave = lambda body, count: (401, {"error": {"message": "bad key"}}, {})
    judge = Judge(JudgeClient(JudgeSettings(endpoint=server.endpoint, key_env="A_KEY"), None))
    with pytest.raises(JudgeError, match=r"401 bad key.*A_KEY") as refused:
        judge.alone([still[0]])
    assert len(server.requests) == 1
    assert server.headers[0]["Authorization"] == "Bearer secret-123"
    assert "secret" not in str(refused.value)


def test_a_key_is_not_sent_in_the_clear_nor_to_where_the_server_points(
    server: Server, still: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="https"):
        JudgeSettings.from_mapping({"endpoint": "http://judge.example/v1"}, source="x.yaml")
    monkeypatch.setenv("A_KEY", "secret-123")
    server.behave = lambda body, count: (302, b"", {"Location": server.endpoint + "/elsewhere"})
    judge = Judge(JudgeClient(JudgeSettings(endpoint=server.endpoint, key_env="A_KEY"), None))
    with pytest.raises(JudgeError, match="302"):
        judge.alone([still[0]])
    assert len(server.requests) == 1


def test_the_metrics_carry_judge_prompts_and_cost(server: Server, still: Frames) -> None:
    settings = JudgeSettings(endpoint=server.endpoint, model="judge-1", key_env=None)
    tools = Tools(ToolSettings(judge=settings))
    figure = METRICS["realism_beside"].on(Case(255 - still, still), tools)
    assert figure.value == 7
    assert figure.details["judge"] == "judge-1"
    assert figure.details["prompts"] == DIGEST in tools.identity("judge")
    assert figure.details["bias"] == 0
    assert len(server.requests) == 2 * 5


def test_without_its_key_the_judge_is_absent_with_the_variable_to_set(
    still: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    figure = METRICS["realism_alone"].on(Case(still, still), Tools(ToolSettings(judge=JudgeSettings())))
    assert figure.value is None
    assert "set the variable OPENAI_API_KEY" in figure.reason


def test_the_command_says_what_the_judge_took_and_asks_a_second_run_nothing(
    server: Server, pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.behave = lambda body, count: (503, b"", {"Retry-After": "0"}) if count == 1 else answer(6)
    config = tmp_path / "compare.yaml"
    config.write_text(
        f"output: {tmp_path / 'out'}\nclips: {{pairs: {pair_folder}, limit: 1}}\nplayers: 0\n"
        f"methods: {{film: '{pair_folder}/{{clip}}/camera.mkv'}}\nmetrics: [realism_alone, realism_beside]\n"
        f"tools: {{judge: {{endpoint: '{server.endpoint}', model: j, key_env: null, dollars_per_million_input: 100, "
        "dollars_per_million_output: 0}}\n"
    )
    assert main(["evaluate", str(config), "--quiet"]) == 0
    assert "9,000 tokens asked, 180 answered, 0.90 dollars" in capsys.readouterr().out
    asked = len(server.requests)
    assert asked == 1 + 3 + 2 * 3
    assert main(["evaluate", str(config), "--quiet"]) == 0
    assert len(server.requests) == asked


def test_a_judge_that_is_down_costs_its_own_metrics_only(
    server: Server, pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.behave = lambda body, count: (500, b"", {"Retry-After": "0"})
    config = tmp_path / "compare.yaml"
    config.write_text(
        f"output: {tmp_path / 'out'}\nclips: {{pairs: {pair_folder}, limit: 1}}\nplayers: 0\n"
        f"methods: {{film: '{pair_folder}/{{clip}}/camera.mkv'}}\nmetrics: [realism_alone, edge_f1]\n"
        f"tools: {{judge: {{endpoint: '{server.endpoint}', model: j, key_env: null, attempts: 2}}}}\n"
    )
    assert main(["evaluate", str(config), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "| edge F1" in printed
    assert "- realism, alone: " in printed
    server.behave = lambda body, count: answer(6)
    assert main(["evaluate", str(config), "--quiet"]) == 0
    assert "| realism, alone" in capsys.readouterr().out
