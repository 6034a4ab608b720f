"""One expert made ready to train: frozen base, LoRA in float32, what makes it fit, optimizer, average of the weights.

Separate from the run, which only asks an expert to take a step. The order in `prepare` matters: the LoRA goes in before
the base is cast to float8 (its own weights stay as they are), and everything is on its device before the optimizer.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from realmaster.errors import AdapterError, ConfigError
from realmaster.models.adapter import add_lora
from realmaster.models.adapter_checks import check_metadata, spoken
from realmaster.models.adapter_files import read_lora
from realmaster.models.adapter_metadata import Expert, expert_path, find_adapter, read_metadata
from realmaster.models.profiles import Profile
from realmaster.training.average import WeightAverage
from realmaster.training.block_offload import offload_blocks
from realmaster.training.dataset import Batch
from realmaster.training.optimizer import build_optimizer, load_optimizer_tensors, optimizer_tensors, spread, whole
from realmaster.training.processes import shard
from realmaster.training.schedule import rate_factor
from realmaster.training.settings import MemorySettings, TrainSettings
from realmaster.training.step import InContextStep, flow_loss, noise_batch
from realmaster.training.timesteps import range_of

if TYPE_CHECKING:
    from pathlib import Path

    from accelerate import Accelerator

logger = logging.getLogger(__name__)


class TrainedExpert:
    """An expert with its LoRA, optimizer and schedule."""

    def __init__(
        self,
        name: Expert,
        transformer: Any,
        settings: TrainSettings,
        accelerator: Accelerator,
        *,
        shift: float,
        boundary: float | None,
        reference_text: Tensor,
    ) -> None:
        """Make a transformer that lies where it is to be trained ready; `add_trainable_lora` was called on it."""
        self.name, self.transformer, self.settings, self.accelerator = name, transformer, settings, accelerator
        self.shift, self.within = shift, range_of(name, boundary)
        self.reference_text = reference_text  # [1, L, D]
        self.index = 0
        mine = settings.experts[name]
        self.num_steps, self.learning_rate = mine.num_steps, mine.learning_rate
        self.step = InContextStep(transformer, settings.reference, spatial_scale=settings.data.encode.reference_scale)
        self.is_sharded = accelerator.num_processes > 1 and settings.parallel == "fsdp"
        self.wrapped: Any = self.step
        if self.is_sharded:
            shard(transformer, accelerator.device)
        elif accelerator.num_processes > 1:
            _spare_frozen(self.step)
            self.wrapped = accelerator.prepare_model(self.step, device_placement=False)
        self.parameters: dict[str, nn.Parameter] = {
            name: p for name, p in transformer.named_parameters() if p.requires_grad
        }
        self.optimizer = build_optimizer(self.parameters.values(), settings.optimizer, self.learning_rate)
        self.average = None if settings.average is None else WeightAverage(self.parameters, settings.average)

    def train_step(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Accumulate the gradients of some batches and give their mean loss; `apply` changes the weights."""
        settings, device = self.settings, self.accelerator.device
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=device)
        for place, batch in enumerate(batches):
            noised = noise_batch(
                batch, settings.timesteps, settings.noise, self.within, shift=self.shift, device=device
            )
            last = place == len(batches) - 1
            with self._exchanging(last):
                predicted = self.wrapped(
                    noised.noisy_latents,
                    batch["reference_latents"].to(device, torch.float32),
                    1000 * noised.sigmas,
                    batch["text"].to(device, torch.float32),
                    self.reference_text,
                )
                loss = flow_loss(predicted, noised) / len(batches)
                loss.backward()
            total += loss.detach()
        norm = nn.utils.clip_grad_norm_(self.parameters.values(), settings.optimizer.clip_norm)
        return {"loss": total, "norm": whole(norm).to(device)}

    @contextlib.contextmanager
    def _exchanging(self, now: bool) -> Iterator[None]:
        """Exchange gradients with the other processes in the last backward pass of a step only."""
        if self.is_sharded:
            self.transformer.set_requires_gradient_sync(now)
            yield
        else:
            with contextlib.nullcontext() if now else self.accelerator.no_sync(self.wrapped):
                yield

    def apply(self) -> None:
        """Change the weights by the gradients of `train_step`."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.index)
        self.index += 1

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        optimizer = self.settings.optimizer
        return self.learning_rate * rate_factor(
            self.index,
            self.index / self.num_steps,
            warmup_steps=optimizer.warmup_steps,
            final_fraction=optimizer.final_fraction,
            decay=optimizer.decay,
        )

    @contextlib.contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Put the weights that are validated and saved in place: the averaged ones where there is an average."""
        with contextlib.nullcontext() if self.average is None else self.average.in_place():
            yield

    def adapter_state(self) -> dict[str, Tensor]:
        """Give the LoRA as it is saved, whole, under PEFT's names; every process has to call it."""
        with self.kept_weights():
            return {name.replace(".default.", "."): whole(p) for name, p in self.parameters.items()}

    def state(self) -> dict[str, Tensor]:
        """Give everything training goes on from, as tensors on the CPU; every process has to call it."""
        state = {f"weight/{name}": whole(p) for name, p in self.parameters.items()}
        state |= {f"moment/{k}": v for k, v in optimizer_tensors(self.optimizer, self.parameters).items()}
        if self.average is not None:
            state |= {f"average/{name}": whole(value) for name, value in self.average.weights.items()}
        return state

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor], index: int) -> None:
        """Put a state back.

        Raises:
            ConfigError: it is another adapter's.
        """
        kinds: dict[str, dict[str, Tensor]] = {"weight": {}, "moment": {}, "average": {}}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            kinds[kind][name] = value
        shapes = {name: p.shape for name, p in self.parameters.items()}
        if {name: value.shape for name, value in kinds["weight"].items()} != shapes:
            raise ConfigError(
                f"expected the checkpoint of this adapter for {self.name}, got one with other modules or another rank: "
                "restore the settings, or choose another output"
            )
        for name, parameter in self.parameters.items():
            parameter.copy_(spread(kinds["weight"][name], parameter))
            if self.average is not None:
                self.average.weights[name].copy_(spread(kinds["average"][name], parameter))
        load_optimizer_tensors(self.optimizer, self.parameters, kinds["moment"])
        self.index = index


def find_start(settings: TrainSettings, profile: Profile) -> dict[Expert, Path]:
    """Find the file of `adapter.start_from` for each expert that trains; one that it never trained begins anew.

    Raises:
        AdapterError: there is no such adapter, half of it is missing, it is for another base or no expert of the run.
        ConfigError: it was trained with another reference, rank or alpha.
    """
    if settings.adapter.start_from is None:
        return {}
    files = find_adapter(settings.adapter.start_from)
    for expert, file in files.items():
        told = read_metadata(file)
        check_metadata(file, told, base_model=profile.base_name, expert=expert)
        for name, asked, got in (
            ("reference.mode", settings.reference.mode, told.reference),
            ("data.encode.reference_scale", settings.data.encode.reference_scale, told.reference_scale),
            ("adapter.rank", settings.adapter.rank, told.rank),
            ("adapter.alpha", f"{settings.adapter.alpha:g}", f"{told.alpha:g}"),
        ):
            if asked != got:
                raise ConfigError(
                    f"{file}: expected an adapter of {name} {asked} to begin from, got {got}: set {name} to {got}, or "
                    "begin from another"
                )
        for other in set(told.all_experts) & settings.experts.keys() - files.keys():
            raise AdapterError(
                f"expected {expert_path(file, other, tagged=True)} beside {file.name}, which was trained with it, "
                "found none: put both files into one folder"
            )
    if not files.keys() & settings.experts.keys():
        raise AdapterError(
            f"{settings.adapter.start_from}: expected the adapter of an expert that this run trains "
            f"({', '.join(settings.experts)}), got the {' and '.join(map(spoken, files))} expert's: begin from another"
        )
    for name in settings.experts.keys() - files.keys():
        logger.warning(
            "%s has no file of the %s expert: %s begins anew", settings.adapter.start_from, spoken(name), name
        )
    return files


def add_trainable_lora(transformer: Any, *, rank: int, alpha: float, seed: int, start_from: Path | None = None) -> None:
    """Add a LoRA in float32, the same for the same seed, or the one in a file.

    Raises:
        AdapterError: the file is no adapter. ConfigError: its rank, alpha or modules are others.
    """
    transformer.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        add_lora(transformer, rank=rank, alpha=alpha)
    parameters = {name: p for name, p in transformer.named_parameters() if p.requires_grad}
    for parameter in parameters.values():
        parameter.data = parameter.data.float()
    if start_from is None:
        return
    lora = read_lora(start_from)
    names = {name.partition(".lora_")[0] for name in parameters}
    if (lora.rank, lora.alpha) != (rank, alpha) or set(lora.pairs) != names:
        raise ConfigError(
            f"{start_from}: expected a LoRA of rank {rank} and alpha {alpha:g} on {len(names)} layers of this base, "
            f"got rank {lora.rank}, alpha {lora.alpha:g}, {len(lora.pairs)} layers: set adapter.rank and adapter.alpha "
            "to these"
        )
    for name, parameter in parameters.items():
        module, _, rest = name.partition(".lora_")
        parameter.data.copy_(lora.pairs[module][0 if rest.startswith("A") else 1])


def prepare_memory(transformer: Any, memory: MemorySettings, device: torch.device, dtype: torch.dtype) -> None:
    """Put what makes a base fit into effect, on a transformer that has its LoRA and lies in host memory.

    With `offload_blocks` the offloaded blocks' weights are never on the device as a whole.
    """
    if dtype == torch.bfloat16:
        transformer.forward = torch.autocast(device.type, dtype=dtype)(transformer.forward)
        _let_autocast_cast(transformer)
    if memory.fp8_base:  # diffusers leaves LoRA, norms and embeddings as they are
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
    if memory.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    if memory.compile:
        transformer.compile_repeated_blocks()
    offload_blocks(transformer, memory.offload_blocks, device)


def _let_autocast_cast(transformer: nn.Module) -> None:
    """Keep peft from copying each input to the LoRA's float32, which autocast would copy back to bfloat16 and keep.

    Set for good, not by `peft.helpers.disable_input_dtype_casting`: recomputation in the backward pass needs it too.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False


def _spare_frozen(step: nn.Module) -> None:
    """Keep DDP from sending the frozen base around: every process has read the same files."""
    from torch.nn.parallel import DistributedDataParallel

    frozen = [name for name, p in step.named_parameters() if not p.requires_grad]
    frozen += [name for name, _ in step.named_buffers()]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(step, frozen)
