"""What stops a run, said so that someone can act: memory, numbers that are none, settings that changed.

Separate from the run, whose steps read better without the sentences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from realmaster.errors import ConfigError, MemoryLimitError, NumericalError
from realmaster.training.checkpoints import Checkpoint
from realmaster.training.dataset import Batch
from realmaster.training.processes import peak_memory_gb
from realmaster.training.settings import TrainSettings


def too_large(
    settings: TrainSettings, batches: Sequence[Batch], error: Exception, *, step: int, device: torch.device
) -> MemoryLimitError:
    """Say what did not fit, and which settings that are not on yet would help, the exact ones first."""
    memory = settings.memory
    helps = {
        "memory.gradient_checkpointing: true": not memory.gradient_checkpointing,
        "data.batch_size: 1 with more accumulation": settings.data.batch_size > 1,
        "more memory.offload_blocks": not memory.fp8_base and settings.parallel == "ddp",
        "optimizer.kind: adamw8bit": settings.optimizer.kind == "adamw",
        "data.encode.reference_scale: 2": settings.data.encode.reference_scale == 1,
        "a bucket of fewer frames": True,
    }
    return MemoryLimitError(
        f"out of memory at step {step} with {len(batches[0]['index'])} clip(s) of {batches[0]['bucket']} "
        f"(peak {peak_memory_gb(device):.1f} GB; {str(error).splitlines()[0]}): set "
        + ", or ".join(setting for setting, can_help in helps.items() if can_help)
    )


def not_finite(
    values: Mapping[str, float], clips: Sequence[str], last: Checkpoint | None, *, step: int, expert: str
) -> NumericalError:
    """Name the clips of a batch that gave no finite loss or gradient, and the last good checkpoint."""
    names = ", ".join(dict.fromkeys(clips))
    what = "loss" if not math.isfinite(values["loss"]) else "gradient"
    good = f"the last good checkpoint is {last.folder}" if last is not None else "there is no checkpoint before it"
    return NumericalError(
        f"expected a finite {what} at step {step} ({expert}), got {values['loss']:g} (gradient norm "
        f"{values['norm']:g}) from the batch {names}; {good}: look at these clips, or lower learning_rate, and run "
        "again"
    )


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], output: Path) -> None:
    """Refuse to go on under settings that would give other weights.

    Raises:
        ConfigError: naming the first that differs.
    """
    for key, value in now.items():
        if before.get(key) != value:
            raise ConfigError(
                f"expected to go on with {key} as in {output} ({before.get(key)}), got {value}: restore the setting, "
                "or choose another output for a new run"
            )
