"""A set while it is being made: who works on which clip, how far each one is, which ones failed.

    set.json                     the settings of the set            plan.json   its clips, and what was dropped and why
    records/  videos/  *.jsonl   what is finished (see `record`)
    .work/clips/<clip>/          files of a clip under way; <stage>.json marks a stage as done
    .work/failed/<clip>.json     a clip that is set aside, with the stage and the reason
    .work/scans/  .work/locks/  .work/journal/

Separate from the stages, which only see a job, and from the executors, which only see stages. What exists under its own
name is whole; a mark is written after the files it stands for, a record after all marks.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from filelock import FileLock, Timeout

from realmaster.errors import DataError, OutputError
from realmaster.pairs.record import RECORDS, Record, read_record, record_file
from realmaster.pairs.stage import Job
from realmaster.pairs.store import Place, Store, open_store, read_text, write_text

logger = logging.getLogger(__name__)

WORK = ".work"
_RENEW_SECONDS = 60.0
_STALE_SECONDS = 600.0  # a holder of an object store's lease that has not been heard of for so long is gone


@dataclass(frozen=True)
class Failure:
    """A clip that is set aside: where it failed, and why."""

    clip: str
    stage: str
    reason: str


class PairSet:
    """One set of pairs. Opening it writes nothing but its folder."""

    def __init__(self, place: Place) -> None:
        """Open a set, wherever it lies.

        Raises:
            OutputError: its folder cannot be made.
        """
        self.store: Store = open_store(place)

    @property
    def root(self) -> str:
        """Where the set lies, in words."""
        return self.store.root

    def work(self, clip: str, file: str) -> str:
        """Name a working file of a clip."""
        return f"{WORK}/clips/{clip}/{file}"

    # -- what is done ---------------------------------------------------------------------------------------------

    def finished(self) -> set[str]:
        """Give the clips that have a record."""
        return {Path(name).stem for name in self.store.names(RECORDS) if name.endswith(".json")}

    def is_finished(self, clip: str) -> bool:
        """Say whether a clip has its record."""
        return self.store.exists(record_file(clip))

    def record(self, clip: str) -> Record:
        """Read a clip's record.

        Raises:
            DataError: it was edited into nonsense.
        """
        return read_record(self.store, clip)

    def load(self, stage: str, job: Job, digest: str) -> Job | None:
        """Give the job as it was after a stage, or None where the stage is not done under these settings."""
        name = self.work(job.clip.id, f"{stage}.json")
        if not self.store.exists(name):
            return None
        try:
            values = json.loads(read_text(self.store, name))
            if values["settings"] != digest:
                return None
            return Job(job.clip, dict(values["facts"]), values["rejected_at"], values["reason"])
        except (ValueError, KeyError, TypeError):
            return None  # damaged: the stage is done again

    def mark(self, stage: str, job: Job, digest: str) -> None:
        """Mark a stage as done."""
        values = {"settings": digest, "facts": job.facts, "rejected_at": job.rejected_at, "reason": job.reason}
        write_text(self.store, self.work(job.clip.id, f"{stage}.json"), json.dumps(values))

    def clear(self, clip: str) -> None:
        """Remove a finished clip's working files."""
        self.store.remove(f"{WORK}/clips/{clip}")

    def under_way(self) -> dict[str, list[str]]:
        """Give the clips that have working files, and the stages marked as done."""
        found = {}
        for clip in self.store.names(f"{WORK}/clips"):
            names = self.store.names(f"{WORK}/clips/{clip}")
            found[clip] = [Path(name).stem for name in names if name.endswith(".json")]
        return found

    # -- what failed ----------------------------------------------------------------------------------------------

    def set_aside(self, failure: Failure) -> None:
        """Write down that a clip failed; the run goes on without it."""
        values = {"clip": failure.clip, "stage": failure.stage, "reason": failure.reason}
        write_text(self.store, f"{WORK}/failed/{failure.clip}.json", json.dumps(values, indent=1) + "\n")

    def failures(self) -> dict[str, Failure]:
        """Give the clips that are set aside."""
        found = {}
        for name in self.store.names(f"{WORK}/failed"):
            try:
                values = json.loads(read_text(self.store, f"{WORK}/failed/{name}"))
                found[str(values["clip"])] = Failure(str(values["clip"]), str(values["stage"]), str(values["reason"]))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.root}/{WORK}/failed/{name}: expected why a clip was set aside, it is damaged: remove it, "
                    "and the clip is tried again"
                ) from error
        return found

    def forgive(self, clip: str) -> None:
        """Let a clip that was set aside be tried again."""
        self.store.remove(f"{WORK}/failed/{clip}.json")

    # -- who works on it ------------------------------------------------------------------------------------------

    @contextmanager
    def claim(self, clip: str) -> Iterator[bool]:
        """Claim a clip for this process: gives False where another one has it. A claim ends with its process.

        In a folder the system's file locks do this, so that nothing is left of a process that was killed. An object
        store has none: there the whole set is claimed, see `lease`.
        """
        folder = self.store.folder
        if folder is None:
            yield True
            return
        locks = folder / WORK / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        file = locks / f"{clip}.lock"
        lock = FileLock(file)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            if self.is_finished(clip):
                file.unlink(missing_ok=True)  # who still waits for it will find the record
            lock.release()

    def take(self, clip: str) -> ExitStack | None:
        """Claim a clip and give what lets it go; None where another process has it, or has finished it by now."""
        claim = ExitStack()
        if claim.enter_context(self.claim(clip)) and not self.is_finished(clip):
            return claim
        claim.close()
        return None

    @contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Wait until this process alone does a thing, such as planning."""
        folder = self.store.folder
        if folder is None:
            yield
            return
        locks = folder / WORK / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with FileLock(locks / f"{name}.lock"):
            yield

    @contextmanager
    def lease(self) -> Iterator[Lease | None]:
        """Claim an object store's set as a whole; None where it lies in a folder, whose clips are claimed one by one.

        Raises:
            DataError: another process works on it and was heard of within ten minutes.
        """
        if self.store.folder is not None:
            yield None
            return
        lease = Lease(self.store)
        lease.take()
        try:
            yield lease
        finally:
            lease.give_back()


class Lease:
    """A claim on a set in an object store, renewed while work goes on. Best effort: such stores have no locks."""

    NAME = f"{WORK}/lease.json"

    def __init__(self, store: Store) -> None:
        """Prepare a claim in the name of this process."""
        self._store, self._holder = store, f"{socket.gethostname()}:{os.getpid()}"
        self._is_over = Event()
        self._renewing = Thread(target=self._renew_on, name="lease", daemon=True)

    def take(self) -> None:
        """Claim the set.

        Raises:
            DataError: another process has it.
        """
        if self._store.exists(self.NAME):
            try:
                values = json.loads(read_text(self._store, self.NAME))
                holder, at = str(values["holder"]), float(values["at"])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self._store.root}/{self.NAME}: expected who works on the set, it is damaged: remove it"
                ) from error
            if holder != self._holder and time.time() - at < _STALE_SECONDS and not _has_died(holder):
                raise DataError(
                    f"{self._store.root}: expected a set that nobody works on, {holder} does: wait for it, "
                    f"or remove {self.NAME} where it has died"
                )
        self.renew()
        self._renewing.start()

    def renew(self) -> None:
        """Say that this process is alive."""
        write_text(self._store, self.NAME, json.dumps({"holder": self._holder, "at": time.time()}))

    def give_back(self) -> None:
        """Let others have the set."""
        self._is_over.set()
        self._renewing.join()
        self._store.remove(self.NAME)

    def _renew_on(self) -> None:
        while not self._is_over.wait(_RENEW_SECONDS):
            try:
                self.renew()
            except OutputError as error:  # the next minute is another try
                logger.warning("%s", error)


def _has_died(holder: str) -> bool:
    """Say whether a holder was a process of this machine that is no more."""
    host, _, process = holder.rpartition(":")
    if host != socket.gethostname() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
