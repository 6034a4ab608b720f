"""Checkpoints of a run: written whole, few kept, the best one remembered, and the way back from each.

Separate from what is in them. A checkpoint is a folder `step-00001000` with the adapter as people use it, and the state
that training goes on from; it appears by one rename, so that a process killed at any moment leaves whole ones alone.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from realmaster.errors import ConfigError, NumericalError, OutputError

logger = logging.getLogger(__name__)

STATE, TENSORS = "state/state.json", "state/tensors.safetensors"  # in a folder: beside them lies the adapter alone
_NAME = re.compile(r"step-(\d{8})")


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint: its folder, optimizer step, and the scores of the validation made at that step."""

    folder: Path
    step: int
    scores: Mapping[str, float] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints in one folder."""

    def __init__(self, folder: Path, *, keep: int = 3, figure: str = "psnr") -> None:
        """Look after `folder`: the newest `keep` stay, and the one with the highest `figure`."""
        self.folder, self.keep, self.figure = folder, keep, figure

    def list(self) -> list[Checkpoint]:
        """List the checkpoints, oldest first.

        Raises:
            ConfigError: one cannot be read; the message says what to do.
        """
        found = []
        for path in sorted(self.folder.glob("step-*")):
            match = _NAME.fullmatch(path.name)
            if match is None:
                continue
            try:
                state = json.loads((path / STATE).read_text(encoding="utf-8"))
                found.append(Checkpoint(path, int(match[1]), state["scores"]))
            except (OSError, ValueError, KeyError) as error:
                raise ConfigError(
                    f"expected a whole checkpoint in {path}, could not read {STATE} ({error}): remove the folder to go "
                    "on from the one before"
                ) from error
        return found

    def newest(self) -> Checkpoint | None:
        """Give the newest checkpoint, or None."""
        return next(reversed(self.list()), None)

    def best(self) -> Checkpoint | None:
        """Give the checkpoint with the highest score, the newest of equals; None where none was scored."""
        scored = [checkpoint for checkpoint in self.list() if self.figure in checkpoint.scores]
        return max(scored, key=lambda checkpoint: (checkpoint.scores[self.figure], checkpoint.step), default=None)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        scores: Mapping[str, float],
        write_adapter: Callable[[Path], None],
    ) -> Checkpoint:
        """Write a checkpoint whole or not at all, then remove what need not stay.

        Args:
            step: optimizer steps done.
            tensors: the state, on the CPU.
            state: the rest of the state, in JSON's values.
            scores: of a validation at this step; may be empty.
            write_adapter: called with the folder to write the adapter's files into.

        Raises:
            OutputError: the disk is full or not writable; the message names the last good checkpoint.
            NumericalError: a weight is not finite; likewise.
        """
        final = self.folder / f"step-{step:08d}"
        temporary = self.folder / f".{final.name}.partial"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".step-*"):  # of a process that was killed
                shutil.rmtree(left)
            self._refuse_full_disk(sum(tensor.nbytes for tensor in tensors.values()))
            (temporary / TENSORS).parent.mkdir(parents=True)
            write_adapter(temporary)
            save_file(dict(tensors), temporary / TENSORS)
            (temporary / STATE).write_text(json.dumps({**state, "step": step, "scores": dict(scores)}))
            for path in [*temporary.rglob("*"), temporary]:
                _flush(path)
            shutil.rmtree(final, ignore_errors=True)
            temporary.replace(final)
            _flush(self.folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise self._cannot_save(final, error) from error
        except NumericalError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise NumericalError(
                f"expected finite weights at step {step}, got NaN or infinity, wrote no checkpoint; {self._last()}: "
                "lower learning_rate, and run again"
            ) from error
        self._remove_old()
        return Checkpoint(final, step, dict(scores))

    def load(self, checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Read a checkpoint's state back.

        Raises:
            ConfigError: its files are damaged.
        """
        try:
            tensors = load_file(checkpoint.folder / TENSORS)
            return tensors, json.loads((checkpoint.folder / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError, SafetensorError) as error:
            raise ConfigError(
                f"expected a whole checkpoint in {checkpoint.folder}, could not read it ({error}): remove that folder "
                "to go on from the one before"
            ) from error

    def _remove_old(self) -> None:
        best = self.best()
        for checkpoint in self.list()[: -self.keep]:
            if best is None or checkpoint.step != best.step:
                gone = checkpoint.folder.with_name(f".{checkpoint.folder.name}.gone")
                checkpoint.folder.replace(gone)  # killed within rmtree, a half-removed one would look like a checkpoint
                shutil.rmtree(gone, ignore_errors=True)

    def _refuse_full_disk(self, num_bytes: int) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < 1.6 * num_bytes:  # the adapter is a part of the state again, in half or full precision
            raise OSError(errno.ENOSPC, f"{free / 1e9:.1f} GB free of {1.6 * num_bytes / 1e9:.1f} GB needed")

    def _cannot_save(self, final: Path, error: Exception) -> OutputError:
        last = self._last()
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in str(error):
            return OutputError(
                f"no space left on the disk for the checkpoint {final} ({error}); {last}: free some, or lower "
                "checkpoints.keep, and run again to go on"
            )
        return OutputError(f"expected to write the checkpoint {final}, could not ({error}); {last}: check the folder")

    def _last(self) -> str:
        newest = self.newest()
        return f"the last good one is {newest.folder}" if newest is not None else "there is none before it"


def as_table(checkpoints: Checkpoints) -> str:
    """List the checkpoints as Markdown, with the scores of each and the best one marked."""
    listed, best = checkpoints.list(), checkpoints.best()
    names = sorted({name for checkpoint in listed for name in checkpoint.scores})
    rows = [["step", *names, "", "folder"]]
    rows += [
        [
            str(checkpoint.step),
            *(f"{checkpoint.scores[name]:.3f}" if name in checkpoint.scores else "-" for name in names),
            "best" if best is not None and checkpoint.step == best.step else "",
            str(checkpoint.folder),
        ]
        for checkpoint in listed
    ]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _flush(path: Path) -> None:
    """Have the system write a file or folder to the disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
