"""The command on the page gives back every setting, whatever words it holds."""

from __future__ import annotations

import shlex

import pytest

from realmaster.evaluation.page_command import command_line
from realmaster.models.profiles import read_changes


@pytest.mark.parametrize(
    "text",
    ["fog", "blurry: bad: ugly", "fog: [wet", "[a", "*a", "2024-02-30", "2024-02-28", "0x_", "true", "", "caf\udce9"],
)
def test_words_that_yaml_would_refuse_or_take_for_something_else_come_back_as_they_were(text: str) -> None:
    changes = {"sampling.negative_prompt": text}
    line = command_line({"input": "in.mp4", "output": "out.mp4", "changes": changes})
    assert line is not None
    words = shlex.split(line)
    assert read_changes([words[words.index("--set") + 1]]) == changes
