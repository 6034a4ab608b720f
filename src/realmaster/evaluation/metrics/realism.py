"""Realism by a vision-language judge, 1 to 10, on five frames: the output alone, and beside its input.

Separate from the judge, which knows nothing of clips. The paper asks GPT-4o; whoever is asked stands in the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from realmaster.evaluation.metrics.identity import sampled
from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured

if TYPE_CHECKING:
    from realmaster.evaluation.judge import Verdict
    from realmaster.evaluation.tools import Tools


def _alone(case: Case, tools: Tools) -> Figure:
    return _figure(lambda judge, frames: judge.alone([case.output[index] for index in frames]), case, tools)


def _beside(case: Case, tools: Tools) -> Figure:
    return _figure(
        lambda judge, frames: judge.beside([case.render[i] for i in frames], [case.output[i] for i in frames]),
        case,
        tools,
    )


def _figure(ask: Any, case: Case, tools: Tools) -> Figure:
    from realmaster.evaluation.judge import DIGEST
    from realmaster.evaluation.judge_client import JudgeError

    try:
        verdict: Verdict = ask(tools.judge(), sampled(len(case.output)))
    except JudgeError as error:
        return Figure.absent(str(error), is_final=False)
    return measured(
        verdict.realism,
        scores=verdict.scores,
        bias=verdict.bias,
        judge=verdict.model,
        prompts=DIGEST,
        input_tokens=verdict.input_tokens,
        output_tokens=verdict.output_tokens,
        dollars=verdict.dollars,
        num_cached=verdict.num_cached,
    )


METRICS = tuple(
    Metric(
        name,
        title,
        "realism",
        unit="1 to 10",
        low=1.0,
        high=10.0,
        direction="higher",
        source=source,
        measure=measure,
        digits=2,
        lacking=lambda tools: tools.lacking("judge"),
        made_with=lambda tools: tools.identity("judge"),
    )
    for name, title, measure, source in (
        ("realism_alone", "realism, alone", _alone, "vision-language judge on 5 frames of the output, each alone"),
        (
            "realism_beside",
            "realism, beside the input",
            _beside,
            "vision-language judge on 5 frames of the output, each beside its input, both orders averaged",
        ),
    )
)
