"""`realmaster study`: make a user study, serve it, rehearse it, and say what its answers mean."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from realmaster.cli.progress import progress_bar
from realmaster.cli.values import Number
from realmaster.optional import require


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Ask people which of two methods' videos they prefer, beside the original.

    FOLDER is a study that `create` made: its videos, its database, its links.
    """


@command.command(short_help="Make a study from a YAML file.")
@click.argument("settings", metavar="FILE", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The study's new folder.")
@click.option("--overwrite", is_flag=True, help="Replace a study that has no answers yet.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def create(settings: Path, output: Path, overwrite: bool, quiet: bool) -> None:
    """Make a study from its settings, a YAML file: methods, clips, questions, how many people."""
    from realmaster.web.study.settings import StudySettings

    study = StudySettings.from_yaml(settings)
    from realmaster.web.study.make import make_study

    with progress_bar(quiet=quiet, unit="clip") as progress:
        made = make_study(study, output, root=settings.absolute().parent, overwrite=overwrite, progress=progress)
    checks = f" and {made.num_checks_each} attention checks" if made.num_checks_each else ""
    click.echo(
        f"study: {output}\n"
        f"{made.num_clips} clips x {made.num_pairs} pairs of methods; {made.num_participants} people with "
        f"{made.num_trials_each} comparisons{checks} each: {made.answers_per_cell:.1f} answers for a pair on a clip\n"
        f"{study.rule}\n"
        f"next: realmaster study serve {output}"
    )


@command.command(short_help="Serve it, with a link for each person.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; the default is this machine."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option("--public-url", metavar="URL", help="Where people reach it through a proxy; links begin with it.")
def serve(folder: Path, host: str, port: int, public_url: str | None) -> None:
    """Serve a study until Ctrl-C and write each person's link to links.csv in its folder."""
    require("fastapi", extra="study")
    require("uvicorn", extra="study")
    from realmaster.web.study.holding import being_served
    from realmaster.web.study.serve import is_loopback, open_port, public_address, write_links
    from realmaster.web.study.serve import serve as run
    from realmaster.web.study.store import StudyStore

    with being_served(folder), StudyStore.open(folder) as store, open_port(host, port) as listener:
        address = public_address(public_url, host, listener.getsockname()[1])
        links = write_links(store, address)
        if not is_loopback(host):
            click.echo(
                f"realmaster: warning: {host} is reachable from other machines and nothing is encrypted: put a proxy "
                "with https in front (docs/study.md)",
                err=True,
            )
        click.echo(f"serving {folder} at {address}\n{store.settings.participants} links: {links}\nCtrl-C ends it")
        run(store, listener)


@command.command(short_help="Let scripted people take part in a copy.")
@click.argument("folder", metavar="FOLDER|FILE", type=click.Path(path_type=Path))
@click.option("--people", "num_people", type=click.IntRange(1), default=6, show_default=True, help="Scripted people.")
@click.option(
    "--careless",
    "num_careless",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Of them, who press anything.",
)
@click.option(
    "--strength",
    "strengths",
    multiple=True,
    metavar="METHOD=NUMBER",
    help="A method's true strength in log-odds; repeat it.  [default: the first 1.5, the others 0]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of their choices.")
@click.option("--screenshots", type=click.Path(path_type=Path), metavar="FOLDER", help="Keep pictures of the pages.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for the results, as of `results`.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def rehearse(
    folder: Path,
    num_people: int,
    num_careless: int,
    strengths: tuple[str, ...],
    seed: int,
    screenshots: Path | None,
    output: Path | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Walk scripted people through a copy of the study in a headless browser, and show what the results would say.

    FOLDER is a study, or FILE its settings (YAML), from which a study is made for the rehearsal alone.
    """
    require("fastapi", extra="study")
    require("uvicorn", extra="study")
    from realmaster.web.study.rehearsal import rehearse as run
    from realmaster.web.study.report import as_markdown, write_results
    from realmaster.web.study.visitor import open_browser

    truth = dict(map(_strength, strengths))
    _check_output(output, folder, overwrite=overwrite)
    if screenshots is not None and not screenshots.is_dir():
        raise click.UsageError(f"--screenshots: expected a folder, {screenshots} is none: make it first")
    with (
        _made_for_now(folder) as study,
        open_browser() as browser,
        progress_bar(quiet=quiet, unit="person") as progress,
    ):
        found = run(
            study,
            browser,
            num_people=num_people,
            num_careless=num_careless,
            strengths=truth or None,
            seed=seed,
            screenshots=screenshots,
            progress=progress,
        )
    click.echo(as_markdown(found))
    if output is not None:
        for path in write_results(found, output):
            click.echo(f"wrote {path}")


@command.command(short_help="Say who wins, and how sure that is.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder for page, tables and answers.csv.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
def results(folder: Path, output: Path | None, as_json: bool, overwrite: bool) -> None:
    """Say who wins: win rates, strengths, agreement, and who was left out by the rule; safe while the study runs."""
    from realmaster.web.study.report import as_json_text, as_markdown, write_results
    from realmaster.web.study.results import read_results
    from realmaster.web.study.store import StudyStore

    _check_output(output, folder, overwrite=overwrite)
    with StudyStore.open(folder, writing=False) as store:
        found = read_results(store)
    click.echo(as_json_text(found) if as_json else as_markdown(found))
    if output is not None:
        for path in write_results(found, output):
            click.echo(f"wrote {path}", err=as_json)


@contextmanager
def _made_for_now(place: Path) -> Iterator[Path]:
    """Give a study's folder: the one there is, or one made of a YAML file and removed at the end."""
    if place.suffix.lower() not in (".yaml", ".yml"):
        yield place
        return
    from realmaster.web.study.make import make_study
    from realmaster.web.study.settings import StudySettings

    settings = StudySettings.from_yaml(place)
    with tempfile.TemporaryDirectory(prefix="study-") as name:
        make_study(settings, Path(name) / "study", root=place.absolute().parent)
        yield Path(name) / "study"


def _check_output(output: Path | None, folder: Path, *, overwrite: bool) -> None:
    if output is not None:
        from realmaster.media.output import check_output

        check_output(output, overwrite=overwrite, inputs=[folder])


def _strength(word: str) -> tuple[str, float]:
    method, _, number = word.rpartition("=")
    try:
        return method, float(Number(-20, 20).convert(number, None, None))
    except click.BadParameter as error:
        raise click.UsageError(f"--strength: expected METHOD=NUMBER, got {word!r}: {error.message}") from None
