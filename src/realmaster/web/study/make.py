"""Make a study from its settings: find the clips, plan, prepare the videos, write the database; whole or not at all."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from realmaster.errors import StudyError
from realmaster.media.output import check_output, temporary
from realmaster.web.study.clips import match_clips
from realmaster.web.study.database import DATABASE
from realmaster.web.study.holding import being_replaced
from realmaster.web.study.plan import make_plans
from realmaster.web.study.prepare import prepare_videos
from realmaster.web.study.settings import StudySettings
from realmaster.web.study.store import StudyStore
from realmaster.web.study.videos import VIDEOS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewStudy:
    """What was made: counts that an experimenter wants to see before the invitations go out."""

    folder: Path
    num_clips: int
    num_pairs: int
    num_participants: int
    num_trials_each: int
    num_checks_each: int
    answers_per_cell: float


def make_study(
    settings: StudySettings,
    folder: Path,
    *,
    root: Path,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> NewStudy:
    """Make a study's folder.

    Args:
        settings: what to ask, of what, of how many.
        folder: the new folder; readable by its owner alone, for it holds the participants' tokens.
        root: where relative paths of the settings begin.
        overwrite: replace a study that is there.
        progress: told of (clips done, clips in all).

    Raises:
        OutputError: the folder exists, or cannot be made.
        StudyError, MediaError: what would be replaced is no study, holds answers or is being served; clips are missing,
            do not match, or cannot be read.
    """
    check_output(folder, overwrite=overwrite, inputs=[root])
    clips = match_clips(settings, root)
    methods = list(settings.methods)
    first = random.Random(settings.seed).randrange(len(methods))
    check_methods = [methods[(first + index) % len(methods)] for index in range(len(clips))]
    plans = make_plans(
        settings.pairs,
        len(clips),
        num_plans=settings.participants,
        trials_per_person=settings.trials_per_person,
        checks_per_person=settings.checks_per_person,
        check_methods=check_methods,
        seed=settings.seed,
    )
    num_cells = len(settings.pairs) * len(clips)
    num_trials = min(settings.trials_per_person, num_cells)
    if num_trials * settings.participants < num_cells:
        log.warning(
            "%d comparisons are planned for %d pairs on clips: %d will be shown to nobody",
            num_trials * settings.participants,
            num_cells,
            num_cells - num_trials * settings.participants,
        )
    is_there = overwrite and folder.exists()
    with _replacing(folder) if is_there else nullcontext(), temporary(folder, overwrite=is_there) as part:
        (part / VIDEOS).mkdir(parents=True, mode=0o700)
        part.chmod(0o700)
        videos = prepare_videos(
            clips,
            part / VIDEOS,
            check_methods=check_methods if settings.checks_per_person else [],
            max_height=settings.max_height,
            progress=progress,
        )
        StudyStore.create(part, settings, [clip.name for clip in clips], videos, plans).close()
    return NewStudy(
        folder=folder,
        num_clips=len(clips),
        num_pairs=len(settings.pairs),
        num_participants=settings.participants,
        num_trials_each=num_trials,
        num_checks_each=settings.checks_per_person,
        answers_per_cell=num_trials * settings.participants / num_cells,
    )


@contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """Hold what is to be replaced until it is; refuse answers, a study that is being served, and what is no study."""
    if not (folder / DATABASE).is_file():
        raise StudyError(f"{folder}: expected a study to replace, found something else: choose another folder")
    with being_replaced(folder):
        with StudyStore.open(folder) as store:
            (count,) = store.rows("SELECT COUNT(*) FROM responses")[0]
        if count:
            raise StudyError(
                f"{folder}: expected a study without answers to replace, found {count}: move it away first"
            )
        yield
