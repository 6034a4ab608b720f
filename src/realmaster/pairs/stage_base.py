"""What the stages share: settings, the set, threads, and how long their models took.

Separate from the stages, which say what is done to a clip.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.runner import Span
from realmaster.pairs.settings import PairSettings
from realmaster.pairs.stage import Job


class StageBase:
    """What the stages share: settings, the set, and how long their models took."""

    name = ""
    uses_torch = False
    is_beside_models = False  # may run in a thread of its own while the editor or the propagator works

    def __init__(self, settings: PairSettings, root: str) -> None:
        """Take the settings; `setup` opens and loads."""
        self.settings, self.root = settings, root
        self.model_spans: list[Span] = []  # of the job at hand

    def setup(self) -> None:
        """Open the set; threads are set once for the process, torch's only where a stage uses it."""
        self.pairs = PairSet(self.root)
        self.store = self.pairs.store
        if self.settings.compute.threads is not None:
            cv2.setNumThreads(self.settings.compute.threads)
            if self.uses_torch:
                import torch

                torch.set_num_threads(self.settings.compute.threads)

    def close(self) -> None:
        """Let the models go."""

    def prompt(self, job: Job, wanted: str | None) -> str:
        """Give the prompt of the settings, or the clip's caption where they have none."""
        return job.clip.caption if wanted is None else wanted

    @contextmanager
    def within_model(self) -> Iterator[None]:
        """Count the time of a block as the model's."""
        started = time.time()
        try:
            yield
        finally:
            self.model_spans.append((started, time.time()))
