"""The processes of a run and the trackers that follow it, through accelerate.

Separate because it is the only file that knows whether there is one device or many: DDP or FSDP2, started by `torchrun`
or `accelerate launch`, or a plain process.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from realmaster.optional import require
from realmaster.training.settings import TrainSettings

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "realmaster"  # under which the trackers file their runs
_EXTRAS = {"tensorboard": None, "wandb": "wandb", "trackio": "trackio"}


def start_processes(settings: TrainSettings) -> Accelerator:
    """Join the processes that were started together, or be the only one.

    Raises:
        MissingExtraError: a tracker is not installed.
    """
    for tracker in settings.trackers:
        extra = _EXTRAS[tracker]
        if extra is not None:
            require(tracker, extra=extra)
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.utils import InitProcessGroupKwargs, ProjectConfiguration

    return Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision="no",  # the transformer's forward has an autocast of its own, in validation too
        log_with=list(settings.trackers) or None,
        project_config=ProjectConfiguration(
            project_dir=str(settings.output), logging_dir=str(settings.output / "tensorboard")
        ),
        kwargs_handlers=[
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=timedelta(hours=2)),  # others wait while clips are encoded or validated
        ],
    )


def shard(transformer: Any, device: torch.device) -> None:
    """Spread a transformer's weights over all processes (FSDP2): each block, and what is left of the transformer.

    Accelerate's own FSDP wants a GPU and shards a whole model at its first forward only; a transformer is called twice
    in a step, and by validation without the step around it.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # the output is a view of the last layer's, and FSDP2 hooks it: nothing may be written into what it hooks
    transformer.register_forward_hook(lambda _, __, output: tuple(tensor.clone() for tensor in output))
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    modules = [*transformer.blocks, transformer]
    for module in modules:
        fully_shard(module, mesh=mesh)
    for module in modules:  # what is gathered lives in the tensors of the first time, which validation would make
        module.unshard()  # in inference mode, and training could not write to
        module.reshard()


def start_trackers(accelerator: Accelerator, settings: TrainSettings, *, step: int) -> None:
    """Begin the trackers' curves, or go on with them behind optimizer step `step`."""
    if settings.trackers:
        accelerator.init_trackers(PROJECT, init_kwargs=tracker_arguments(settings, step=step))


def tracker_arguments(settings: TrainSettings, *, step: int) -> dict[str, dict[str, Any]]:
    """Say how each tracker begins: TensorBoard forgets what lies behind `step`, the others are told what the run is."""
    about: dict[str, Any] = {"name": settings.output.name, "config": settings.model_dump(mode="json")}
    every: dict[str, dict[str, Any]] = {
        "tensorboard": {"purge_step": step + 1},
        "wandb": {**about, "dir": str(settings.output)},
        "trackio": about,
    }
    return {name: every[name] for name in settings.trackers}


def track_pictures(accelerator: Accelerator, name: str, frames: npt.NDArray[np.uint8], *, step: int) -> None:
    """Show frames [n, H, W, 3] in every tracker that shows pictures."""
    for tracker in accelerator.trackers:
        if accelerator.is_main_process and hasattr(tracker, "log_images"):
            arguments = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}
            tracker.log_images({name: frames}, step=step, **arguments)


def gather_objects(accelerator: Accelerator, value: list[Any]) -> list[Any]:
    """Put the lists of all processes one after the other, on every process."""
    if accelerator.num_processes == 1:
        return value
    from accelerate.utils import gather_object

    gathered: list[Any] = gather_object(value)
    return gathered


def mean_over_processes(accelerator: Accelerator, values: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Average scalars over the processes, in one exchange."""
    stacked = torch.stack([value.detach().float() for value in values.values()])
    reduced: torch.Tensor = accelerator.reduce(stacked, reduction="mean")
    return dict(zip(values, reduced.tolist(), strict=True))


def peak_memory_gb(device: torch.device) -> float:
    """Give the most memory taken so far, in GB: of the CUDA device, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e9


def write_settings(settings: TrainSettings, path: Path) -> None:
    """Write the resolved settings beside the run, whole."""
    import yaml

    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    temporary.replace(path)
