"""Ask any OpenAI-compatible server for a structured answer: retries, cache, tokens.

Separate from the judge, which knows what to ask: here are only the protocol and what goes wrong on a network. Answers
are kept by the content of the question, so that a second run asks nothing and costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from realmaster.config import Settings
from realmaster.errors import RealMasterError
from realmaster.media.output import temporary

logger = logging.getLogger(__name__)
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_FAILURES_UNTIL_DOWN = 3  # questions in a row that failed for the network's or server's sake
_LONGEST_WAIT = 60.0  # seconds


class JudgeError(RealMasterError):
    """The judge gave no usable answer; the message says why, and what to do."""


class JudgeSettings(Settings):
    """Which server and model, and how patiently it is asked."""

    endpoint: str = Field("https://api.openai.com/v1", description="base address of an OpenAI-compatible server")
    model: str = Field("gpt-4o", description="the model's name there")
    key_env: str | None = Field("OPENAI_API_KEY", description="variable that holds the key; null where none is wanted")
    temperature: float | None = Field(0.0, ge=0, le=2, description="0 is the most repeatable; null leaves it out")
    max_tokens: int | None = Field(300, ge=16, description="of an answer; null leaves it out, as some models want")
    timeout_seconds: float = Field(60.0, gt=0, description="of one request")
    attempts: int = Field(4, ge=1, le=10, description="requests for one answer before it is absent")
    parallel: int = Field(4, ge=1, le=64, description="requests at a time")
    swap: bool = Field(True, description="ask beside the input in both orders, to measure and cancel the bias")
    cache: Path | None = Field(None, description="folder of answers; null is judge/ in the output folder")
    dollars_per_million_input: float | None = Field(None, ge=0, description="price; null leaves the cost absent")
    dollars_per_million_output: float | None = Field(None, ge=0, description="price; null leaves the cost absent")

    @model_validator(mode="after")
    def _key_stays_secret(self) -> JudgeSettings:
        address = urlsplit(self.endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError(f"expected an address that begins with http:// or https://, got {self.endpoint!r}")
        if address.scheme == "http" and self.key_env is not None and address.hostname not in LOOPBACK:
            raise ValueError(
                "expected https:// where a key is sent, got http://: change endpoint or set key_env to null"
            )
        return self

    @property
    def key(self) -> str | None:
        """The key, from the environment; None where none is wanted or set."""
        return os.environ.get(self.key_env) or None if self.key_env is not None else None


@dataclass(frozen=True)
class Answer:
    """A checked answer, and what it took."""

    content: Mapping[str, Any]
    model: str  # as the server names it
    input_tokens: int
    output_tokens: int
    was_cached: bool


class JudgeClient:
    """Asks questions, each a list of messages with one JSON schema for the answer."""

    def __init__(
        self, settings: JudgeSettings, cache: Path | None, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Ask as `settings` say; keep answers in the folder `cache`."""
        self.settings = settings
        self._cache = cache
        self._sleep = sleep
        self._lock = threading.Lock()
        self._failures = 0
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if urlsplit(settings.endpoint).hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(
        self, messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any], check: Callable[[Any], str | None]
    ) -> Answer:
        """Ask once, or give the kept answer; `check` says what is wrong with an answer, or None.

        Raises:
            JudgeError: no usable answer after all attempts, or a refusal that no second attempt would change.
        """
        body: dict[str, Any] = {
            "model": self.settings.model,
            "messages": list(messages),
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": True, "schema": schema},
            },
        }
        limits = {"temperature": self.settings.temperature, "max_tokens": self.settings.max_tokens}
        body |= {name: value for name, value in limits.items() if value is not None}
        data = json.dumps(body, sort_keys=True).encode()
        kept = self._kept(data)
        if kept is not None:
            return kept
        if self._failures >= _FAILURES_UNTIL_DOWN:
            raise JudgeError(f"{self.settings.endpoint}: the judge did not answer {self._failures} times in a row: "
                             "see whether it runs, then run again: what was measured is kept")  # fmt: skip
        reason = ""
        for attempt in range(self.settings.attempts):
            try:
                answer = self._read(self._post(data), check)
            except _AgainError as error:
                reason = str(error)
                logger.info("judge, attempt %d of %d: %s", attempt + 1, self.settings.attempts, reason)
                if attempt + 1 < self.settings.attempts:
                    self._sleep(min(_LONGEST_WAIT, error.wait if error.wait is not None else 2.0**attempt))
                is_down = error.is_down
                continue
            with self._lock:
                self._failures = 0
            self._keep(data, answer)
            return answer
        with self._lock:
            self._failures += is_down
        raise JudgeError(f"{self.settings.endpoint}: no usable answer in {self.settings.attempts} attempts, the last: "
                         f"{reason}: try again later or choose another judge")  # fmt: skip

    def _post(self, data: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.settings.key is not None:
            headers["Authorization"] = f"Bearer {self.settings.key}"
        url = self.settings.endpoint.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, data, headers, method="POST")
        try:
            with self._opener.open(request, timeout=self.settings.timeout_seconds) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            told = _message(error.read())
            if error.code in (408, 409, 429) or error.code >= 500:
                wait = error.headers.get("Retry-After") or ""
                seconds = float(wait) if wait.replace(".", "", 1).isdigit() else None
                raise _AgainError(f"{error.code} {told}", wait=seconds, is_down=True) from error
            remedy = f"check the key in {self.settings.key_env}" if error.code in (401, 403) else "check the settings"
            raise JudgeError(f"{url}: the judge refused ({error.code} {told}): {remedy}") from error
        except (OSError, ValueError) as error:
            raise _AgainError(str(getattr(error, "reason", error)), is_down=True) from error

    def _read(self, raw: bytes, check: Callable[[Any], str | None]) -> Answer:
        try:
            reply = json.loads(raw)
            message = reply["choices"][0]["message"]
            if message.get("refusal"):
                raise JudgeError(f"the judge refused to answer ({message['refusal']}): choose another judge")
            content = json.loads(message["content"])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _AgainError(f"an answer that is no JSON of this protocol ({type(error).__name__})") from error
        wrong = check(content)
        if wrong is not None:
            raise _AgainError(wrong)
        usage = reply.get("usage") or {}
        return Answer(
            content,
            str(reply.get("model") or self.settings.model),
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            was_cached=False,
        )

    def _file(self, data: bytes) -> Path | None:
        name = hashlib.sha256(self.settings.endpoint.encode() + b"\n" + data).hexdigest()
        return None if self._cache is None else self._cache / name[:2] / f"{name}.json"

    def _kept(self, data: bytes) -> Answer | None:
        file = self._file(data)
        if file is None or not file.is_file():
            return None
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            return Answer(**{**values, "was_cached": True})
        except (ValueError, TypeError, OSError):
            return None  # it only saves a question

    def _keep(self, data: bytes, answer: Answer) -> None:
        file = self._file(data)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            with temporary(file) as part:
                part.write_text(json.dumps(vars(answer)), encoding="utf-8")


class _AgainError(Exception):
    """A failure that a second attempt may mend."""

    def __init__(self, reason: str, *, wait: float | None = None, is_down: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_down = is_down


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key goes to the server it is for, and nowhere else."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


def _message(raw: bytes) -> str:
    """The server's own words about an error, in one short line."""
    try:
        error = json.loads(raw)["error"]
        text = error["message"] if isinstance(error, dict) else error
    except (ValueError, KeyError, TypeError):
        text = raw.decode("utf-8", "replace")
    return " ".join(str(text).split())[:200] or "no reason given"
