"""The commands and links of README and docs are real: they parse, and what they name is there."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

from realmaster.cli.main import group

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def commands_of(page: Path) -> list[list[str]]:
    """Every command line of a page's `sh` blocks, in words; comments fall away and continued lines are joined."""
    blocks = [text for language, text in BLOCK.findall(page.read_text("utf-8")) if language == "sh"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "words" in metafunc.fixturenames:
        found = [(page.name, words) for page in PAGES for words in commands_of(page)]
        metafunc.parametrize("words", [words for _, words in found], ids=[f"{n}: {' '.join(w)}" for n, w in found])


def parse(command: click.Command, words: list[str], parent: click.Context | None) -> None:
    """Parse words as click would, down to the last subcommand, without running it."""
    if isinstance(command, click.Group):
        context = click.Context(command, parent=parent, info_name=command.name)
        inner = command.get_command(context, words[0])
        assert inner is not None, f"{command.name} has no command {words[0]}"
        parse(inner, words[1:], context)
    else:
        command.make_context(command.name, list(words), parent=parent).close()


def test_a_command_of_the_docs_is_real(words: list[str]) -> None:
    while "=" in words[0]:  # a variable of the environment
        words = words[1:]
    program = Path(words[0]).name
    if program == "realmaster":
        if not {"--help", "--version"} & set(words):
            parse(group, words[1:], None)
    elif program == "make":
        targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        assert {word for word in words[1:] if "=" not in word and not word.startswith("-")} <= targets
    else:
        assert program in ("pip", "git", "cd") or re.fullmatch(r"python3?(\.\d+)?", program), f"unknown: {program}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text("utf-8")) if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_compiles_and_imports_public_names(page: Path) -> None:
    import realmaster

    for language, text in BLOCK.findall(page.read_text("utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module == "realmaster":
                assert {alias.name for alias in node.names} <= set(realmaster.__all__)


def test_the_readme_has_a_line_for_each_folder() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for folder in (ROOT / "src" / "realmaster").iterdir():
        if folder.is_dir() and not folder.name.startswith("__"):
            assert re.search(rf"^  {folder.name}/ +\w", readme, re.MULTILINE), folder.name


def test_the_translate_page_explains_each_option() -> None:
    from realmaster.cli.translate import command

    page = (ROOT / "docs" / "translate.md").read_text("utf-8")
    names = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    missing = {name for name in names if f"`{name}" not in page}
    assert not missing
