"""Measure a comparison's scenes on Ray: an actor for each worker, a scene at a time, rows in the order of the
scenes.

Separate from the measuring, which is the same object that this machine's processes run. Files are read and rows
written by the actors, so that clips, weights and the output folder have to lie where all of them reach them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from realmaster.cluster.connect import RaySettings, connected
from realmaster.errors import ClusterError
from realmaster.evaluation.comparison_settings import ComparisonSettings, Scene
from realmaster.evaluation.run import Absent, Measured, SceneWorker, Spread


class RemoteWorker:
    """A `SceneWorker` in a process of Ray's, with one thread for each core it has."""

    def __init__(self, settings: ComparisonSettings, absent: Absent) -> None:
        """Load nothing yet."""
        import cv2

        cv2.setNumThreads(1)
        self._worker = SceneWorker(settings, absent)

    def measure(self, scene: Scene) -> Measured:
        """Give the rows of a scene."""
        return self._worker.measure(scene)


def spread_over_ray(ray_settings: RaySettings) -> Spread:
    """Give a function that measures scenes on a cluster, on as many actors as `workers` says.

    Raises (when it is called):
        MissingExtraError: Ray is not installed. ClusterError: no cluster answers, or an actor died.
    """

    def spread(settings: ComparisonSettings, scenes: Sequence[Scene], absent: Absent) -> Iterator[Measured]:
        with connected(ray_settings) as ray:
            device = settings.tools.device
            needs = {"num_gpus": 1} if device is not None and device.startswith("cuda") else {}
            actor = ray.remote(num_cpus=1, **needs)(RemoteWorker)
            actors: list[Any] = [actor.remote(settings, absent) for _ in range(min(settings.workers, len(scenes)))]
            pool = ray.util.ActorPool(actors)
            try:
                yield from pool.map(lambda worker, scene: worker.measure.remote(scene), scenes)
            except ray.exceptions.RayActorError as error:
                raise ClusterError(
                    f"expected every worker to stay, one died ({str(error).splitlines()[0]}): see its memory, lower "
                    "workers, and run again: what was measured is kept"
                ) from error
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error

    return spread
