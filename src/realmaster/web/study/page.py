"""A study's results as one self-contained page: the figure of win rates first, then strengths, agreement, people.

Drawn with plain HTML and CSS widths, so that it reads on a phone and prints. Separate from the other forms because it
is drawing.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from realmaster.evaluation.document import document
from realmaster.web.study.results import PairResult, QuestionResult, Results
from realmaster.web.study.strengths import Strength


def as_page(results: Results) -> str:
    """Draw the page."""
    left_out = [person for person in results.people if not person.counts]
    seconds = "" if results.median_seconds is None else f", {results.median_seconds:.0f} s each (median)"
    facts = (
        f"{len(results.people) - len(left_out)} people, {results.num_counted} comparisons on {results.num_clips} "
        f"clips{seconds}."
    )
    body = Template(_asset("results.html")).substitute(
        title=escape(results.settings.title),
        facts=escape(facts),
        figure="\n".join(map(_question, results.questions)) if results.num_counted else "<p>No answers count yet.</p>",
        strengths="\n".join(map(_strengths, results.questions)),
        agreement="\n".join(map(_agreement, results.questions)),
        rule=escape(results.settings.rule),
        people=_people(results),
    )
    return document(f"{results.settings.title} · results", body, style=_asset("results.css"))


def _asset(name: str) -> str:
    return files("realmaster.web.study").joinpath("assets", name).read_text(encoding="utf-8")


def _question(question: QuestionResult) -> str:
    bars = "\n".join(map(_bar, question.pairs))
    return f'<section class="question"><h3>{escape(question.text)}</h3>{bars}</section>'


def _bar(pair: PairResult) -> str:
    first, second, share = escape(pair.first), escape(pair.second), pair.share
    ends = f'<p class="ends"><b>{first}</b><b>{second}</b></p>'
    if share is None:
        return f'<div class="pair">{ends}<p class="fine">Not compared yet</p></div>'
    place = f"left:{share.low:.2%};width:{share.high - share.low:.2%}"
    said = (
        f"{first} over {second}: {share.share:.0%} of {share.num_answers} answers, 95 % interval {share.low:.0%} to "
        f"{share.high:.0%}"
    )
    return (
        f'<div class="pair" role="img" aria-label="{said}">{ends}'
        f'<div class="bar{"" if share.is_decided else " open"}"><i class="won" style="width:{share.share:.2%}"></i>'
        f'<i class="half"></i><i class="range" style="{place}"></i></div>'
        f'<p class="ends fine"><span>{share.share:.0%} <small>[{share.low:.0%}, {share.high:.0%}]</small></span>'
        f"<span>{1 - share.share:.0%}</span></p></div>"
    )


def _strengths(question: QuestionResult) -> str:
    if question.strengths is None:
        return ""
    ordered = sorted(question.strengths, key=lambda one: -one.value)
    reach = max(0.5, *(max(abs(one.low), abs(one.high)) for one in ordered))
    rows = "".join(_dot(one, reach) for one in ordered)
    return f'<section class="question"><h3>{escape(question.text)}</h3><dl class="dots">{rows}</dl></section>'


def _dot(one: Strength, reach: float) -> str:
    low, at, high = (50 + 50 * value / reach for value in (one.low, one.value, one.high))
    place = f"left:{low:.2f}%;width:{high - low:.2f}%"
    return (
        f'<div><dt>{escape(one.method)}</dt><dd class="axis"><i class="half"></i>'
        f'<i class="range" style="{place}"></i><i class="dot" style="left:{at:.2f}%"></i></dd>'
        f'<dd class="value">{one.value:+.2f} <small>[{one.low:+.2f}, {one.high:+.2f}]</small></dd></div>'
    )


def _agreement(question: QuestionResult) -> str:
    found = question.agreement
    alpha = "-" if found is None or found.alpha is None else f"{found.alpha:.2f}"
    observed = "-" if found is None else f"{found.observed:.0%}"
    left = "-" if question.left is None else f"{question.left.share:.0%}"
    return f'<tr><th scope="row">{escape(question.text)}</th><td>{alpha}</td><td>{observed}</td><td>{left}</td></tr>'


def _people(results: Results) -> str:
    left_out = [person for person in results.people if not person.counts]
    began = f"{len(results.people)} of {results.num_invited} invited people began."
    if not left_out:
        return f"<p>{began} Nobody was left out.</p>"
    rows = "".join(
        f'<tr><th scope="row">Person {person.number}</th><td class="reason">{escape(str(person.reason))}</td></tr>'
        for person in left_out
    )
    return f"<p>{began} Left out: {len(left_out)}.</p><table><tbody>{rows}</tbody></table>"
