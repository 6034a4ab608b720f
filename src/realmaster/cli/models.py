"""`realmaster models`: fetch a profile's weights from the hub, or check those that are here."""

from __future__ import annotations

from pathlib import Path

import click

from realmaster.cli.progress import Progress, progress_bar

MODEL_DIR = click.option(
    "--model-dir", type=click.Path(path_type=Path), help="Folder for the weights.  [default: the hub's cache]"
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Fetch a profile's weights from the hub, or check those that are here."""


@command.command()
@click.argument("profile")
@MODEL_DIR
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
def download(profile: str, model_dir: Path | None, quiet: bool) -> None:
    """Fetch the weights of PROFILE; a second run goes on with the files that are missing.

    Checks that the disk has room before the first byte, and every file's hash after the last.
    """
    from realmaster.models.download import download_checkpoint
    from realmaster.models.profiles import load_profile

    with progress_bar(quiet=quiet, unit=" MB") as show:
        checked = download_checkpoint(load_profile(profile), model_dir=model_dir, progress=_megabytes(show))
    if not quiet:
        click.echo(f"{checked.folder}: {checked.num_files} files, {checked.num_bytes / 1e9:.1f} GB, all as published")


@command.command()
@click.argument("profile")
@MODEL_DIR
@click.option("--online", is_flag=True, help="Ask the hub for sizes and hashes, whatever the folder's record says.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
def verify(profile: str, model_dir: Path | None, online: bool, quiet: bool) -> None:
    """Check revision, files and hashes of PROFILE's weights; changes nothing, needs no network."""
    from realmaster.models.download import verify_checkpoint
    from realmaster.models.profiles import load_profile

    with progress_bar(quiet=quiet, unit=" MB") as show:
        checked = verify_checkpoint(
            load_profile(profile), model_dir=model_dir, online=online, progress=_megabytes(show)
        )
    if not quiet:
        click.echo(f"{checked.folder}: {checked.num_files} files, {checked.num_bytes / 1e9:.1f} GB, all as published")


def _megabytes(show: Progress) -> Progress:
    """Show bytes as megabytes."""
    return lambda done, total: show(done // 10**6, None if total is None else total // 10**6)
