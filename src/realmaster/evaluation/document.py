"""A self-contained HTML document: head, policy and house style around what a page has to say.

Separate because four pages share them: a translation's report, a comparison, a pair set's sheet, a study's results.
Everything is inline, and the content security policy forbids the page to load anything.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files

from realmaster import __version__

_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)


def document(title: str, body: str, *, style: str, script: str = "") -> str:
    """Write the document.

    Args:
        title: plain text, escaped here.
        body: HTML of the body.
        style: CSS.
        script: JavaScript; without it the policy allows none.
    """
    policy = _POLICY
    if script:
        policy += "; script-src 'unsafe-inline'"
        script = f"<script>\n{script}\n</script>\n"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="dark light">\n'
        f'<meta name="generator" content="RealMaster {__version__}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}\n</style>\n</head>\n<body>\n{body}\n{script}</body>\n</html>\n"
    )


def house_style() -> str:
    """Give the CSS that the pages share: colours for dark and light, type, sections, tables, plots."""
    return asset("house.css")


def asset(name: str) -> str:
    """Read a file of this room's pages."""
    return files("realmaster.evaluation").joinpath("assets", name).read_text(encoding="utf-8")
