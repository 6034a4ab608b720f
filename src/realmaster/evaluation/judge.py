"""The vision-language judge: how real does a frame look, alone and beside its input?

Separate from the client so that the questions can be read. Their digest is part of every result: two figures compare
only where model and digest are the same.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.evaluation.judge_client import Answer, JudgeClient, JudgeSettings

Frame = npt.NDArray[np.uint8]
Order = Literal["alone", "input first", "output first"]
_SIDE = 1024  # longer side of what is sent

_SCALE = (
    "Give an integer from 1 to 10: 1 is plainly computer graphics or a broken picture, 4 is good game graphics, 7 has "
    "few traces of rendering, 10 cannot be told from a frame of real camera footage. Look at light and shadow, "
    "materials, skin and hair, plants, texture in the distance, lens and sensor. Judge realism only: not beauty, not "
    "content, not sharpness as such. Answer with the JSON object asked for and nothing else; keep the reason to one "
    "sentence."
)
PROMPTS: dict[Order, str] = {
    "alone": f"The image is a frame of a video. How realistic does it look? {_SCALE}",
    "input first": (
        "The first image is a rendered frame, the second image is the same frame after a method tried to make it "
        f"photorealistic. How realistic does the SECOND image look? {_SCALE}"
    ),
    "output first": (
        "The second image is a rendered frame, the first image is the same frame after a method tried to make it "
        f"photorealistic. How realistic does the FIRST image look? {_SCALE}"
    ),
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "realism": {"type": "integer"}},
    "required": ["reason", "realism"],
    "additionalProperties": False,
}
DIGEST = hashlib.sha256(json.dumps([PROMPTS, SCHEMA], sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Verdict:
    """The judge's answers about one clip in one setting."""

    scores: dict[Order, list[int]]  # a score for each frame, in each order asked
    model: str
    input_tokens: int
    output_tokens: int
    dollars: float | None
    num_cached: int

    @property
    def realism(self) -> float:
        """Mean over frames and orders."""
        return float(np.mean([score for scores in self.scores.values() for score in scores]))

    @property
    def bias(self) -> float | None:
        """How much more the output gets for being shown last; None where both orders were not asked."""
        if "output first" not in self.scores:
            return None
        return float(np.mean(self.scores["input first"]) - np.mean(self.scores["output first"]))


class Judge:
    """Scores frames by a vision-language model."""

    def __init__(self, client: JudgeClient) -> None:
        """Ask through a client."""
        self._client = client
        self.name = name_of(client.settings)

    def alone(self, frames: Sequence[Frame]) -> Verdict:
        """Score frames, each alone: uint8 [H, W, 3] each.

        Raises:
            JudgeError: a frame got no usable answer.
        """
        return self._ask([("alone", [frame]) for frame in frames])

    def beside(self, inputs: Sequence[Frame], outputs: Sequence[Frame]) -> Verdict:
        """Score output frames, each beside its input, in both orders where the settings say so.

        Raises:
            JudgeError: a frame got no usable answer.
        """
        pairs = list(zip(inputs, outputs, strict=True))
        questions: list[tuple[Order, list[Frame]]] = [("input first", [a, b]) for a, b in pairs]
        if self._client.settings.swap:
            questions += [("output first", [b, a]) for a, b in pairs]
        return self._ask(questions)

    def _ask(self, questions: list[tuple[Order, list[Frame]]]) -> Verdict:
        with ThreadPoolExecutor(self._client.settings.parallel) as pool:
            answers = list(pool.map(self._one, questions))
        scores: dict[Order, list[int]] = {}
        for (order, _), answer in zip(questions, answers, strict=True):
            scores.setdefault(order, []).append(int(answer.content["realism"]))
        used_in, used_out = (sum(a.input_tokens for a in answers), sum(a.output_tokens for a in answers))
        return Verdict(
            scores,
            answers[0].model,
            used_in,
            used_out,
            _dollars(self._client.settings, used_in, used_out),
            sum(answer.was_cached for answer in answers),
        )

    def _one(self, question: tuple[Order, list[Frame]]) -> Answer:
        order, images = question
        content: list[dict[str, Any]] = [{"type": "text", "text": PROMPTS[order]}]
        content += [{"type": "image_url", "image_url": {"url": _data_uri(image), "detail": "high"}} for image in images]
        return self._client.ask([{"role": "user", "content": content}], SCHEMA, wrong_with)


def judge_from(settings: JudgeSettings, cache: Path | None) -> Judge:
    """Make a judge; answers are kept in the settings' cache, or else in `cache`."""
    return Judge(JudgeClient(settings, settings.cache or cache))


def name_of(settings: JudgeSettings) -> str:
    """Name model and questions, for tables and for telling results apart."""
    return f"{settings.model}, prompts {DIGEST}" + ("" if settings.swap else ", one order")


def wrong_with(answer: Any) -> str | None:
    """Say what is wrong with an answer, or None: strictly the two keys, an integer from 1 to 10, a text."""
    if not isinstance(answer, dict) or set(answer) != {"reason", "realism"}:
        return "an answer without exactly the keys reason and realism"
    score = answer["realism"]
    if not isinstance(score, int) or isinstance(score, bool) or not 1 <= score <= 10:
        return f"a realism of {json.dumps(score)[:40]}, where an integer from 1 to 10 was asked for"
    return None if isinstance(answer["reason"], str) else "a reason that is no text"


def _dollars(settings: JudgeSettings, used_in: int, used_out: int) -> float | None:
    if settings.dollars_per_million_input is None or settings.dollars_per_million_output is None:
        return None
    return (used_in * settings.dollars_per_million_input + used_out * settings.dollars_per_million_output) / 1e6


def _data_uri(frame: Frame) -> str:
    scale = min(1.0, _SIDE / max(frame.shape[:2]))
    if scale < 1.0:
        size = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    done, data = cv2.imencode(".png", frame[..., ::-1])
    if not done:
        raise MediaError(f"expected to encode a frame of {frame.shape[1]}x{frame.shape[0]} as PNG, OpenCV could not")
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
