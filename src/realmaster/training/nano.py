"""`make nano` from top to bottom: autoencoder, base, reference, refiner, LoRA, editor, VACE, and what is shipped."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator

from realmaster.config import Settings
from realmaster.data.frames import Pair, fit, load_pairs
from realmaster.models.adapter import AdapterMetadata, add_lora, save_adapter
from realmaster.models.checkpoint import check_parts
from realmaster.models.loading import Models, load_parts
from realmaster.models.machine import check_device
from realmaster.models.nano import NanoSizes
from realmaster.models.text import build_tokenizer
from realmaster.training.autoencoder import AutoencoderSettings, train_autoencoder
from realmaster.training.captions import all_captions
from realmaster.training.initialise import start_reading, widen
from realmaster.training.latents import PoolSettings
from realmaster.training.loop import LoopSettings
from realmaster.training.refiner import RefinerTraining, train_refiner
from realmaster.training.run_lock import only_run
from realmaster.training.shown import ShownSettings, train_shown
from realmaster.training.teacher import TeacherSettings, taught, train_teachers
from realmaster.training.transformer import FlowSettings, train_base, train_reference
from realmaster.training.vace import VaceSettings, train_vace

logger = logging.getLogger(__name__)

PARTS = {
    "autoencoder": "vae",
    "base": "transformer",
    "reference": "transformer_reference",
    "refiner": "refiner",
    "lora": "adapter_cached.safetensors",
    "editor": "editor_cached.safetensors",
    "vace": "transformer_vace",
}
"""What is trained, in order, and what of the folder it makes."""


_FIRST = "train these parts first: name them with --only too, or leave it out"


class LoraSettings(Settings):
    """An in-context adapter over the frozen base."""

    rank: int = Field(32, ge=1, description="rank of every LoRA matrix; alpha equals it")
    flow: FlowSettings = FlowSettings(loop=LoopSettings(num_steps=3000, learning_rate=2e-3))


class NanoRecipe(Settings):
    """Everything `realmaster nano train` does, in order."""

    size: tuple[int, int] = Field(
        (72, 128), description="height and width in pixels of what is shown to the autoencoder"
    )
    device: str = Field("auto", description="cpu, cuda, or auto: the fastest there is")
    cross_scenes: bool = Field(
        True, description="train each render with the photographs of its scene in other weathers too; geometry agrees"
    )
    sizes: NanoSizes = NanoSizes()
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    base: FlowSettings = FlowSettings()
    reference: FlowSettings = FlowSettings(
        loop=LoopSettings(num_steps=20_000, learning_rate=1e-3),
        pool=PoolSettings(height=96, width=176, zoom=(0.7, 1.1)),  # the size at which nano translates
    )
    teacher: TeacherSettings | None = Field(
        TeacherSettings(), description="convolutional nets that the reference step learns from; null: the truth alone"
    )
    reference_ffn_dim: int | None = Field(
        None, ge=16, description="width of the reference transformer's feed-forward layers, if not the base's"
    )
    shown: ShownSettings | None = Field(
        None, description="then the reference transformer and the decoder together, by what is seen; null: not"
    )
    refiner: RefinerTraining = RefinerTraining()
    lora: LoraSettings = LoraSettings()
    editor: LoraSettings = LoraSettings(
        flow=FlowSettings(
            loop=LoopSettings(num_steps=3000, learning_rate=2e-3),
            pool=PoolSettings(num_frames=1),
            num_latent_frames=(1,),
        )
    )
    vace: VaceSettings = VaceSettings()

    @model_validator(mode="after")
    def _divides(self) -> NanoRecipe:
        stride = self.sizes.autoencoder.patch_size * 4
        if any(side % stride for side in self.size):
            raise ValueError(f"size must be multiples of {stride} pixels, the autoencoder's stride")
        return self

    @model_validator(mode="after")
    def _widens(self) -> NanoRecipe:
        base = self.sizes.transformer.ffn_dim
        if self.reference_ffn_dim is not None and self.reference_ffn_dim < base:
            raise ValueError(f"reference_ffn_dim must be {base} or more, the base's sizes.transformer.ffn_dim")
        return self


def train_nano(folders: Sequence[Path], output: Path, recipe: NanoRecipe, *, only: Sequence[str] = ()) -> Path:
    """Train every part of nano that is not done yet and write `output/nano`; returns that folder.

    When all are done, `output/shipped` holds them in half precision, for the package.

    `only` limits the work to some of `PARTS`; what they stand on must be done.

    Raises:
        ConfigError: a pair folder has no train split, the device is not here, or another run is at work in `output`.
        MissingWeightsError: a part that another stands on is not done. DataError: the pairs are too short.
        NumericalError: a loss is not finite.
    """
    if recipe.device != "auto":
        check_device(recipe.device)
    kept, held_out = hold_out(load_pairs(folders, "train"))  # the test split is never looked at
    small = hold_out(load_pairs(folders, "train", size=recipe.size))
    output.mkdir(parents=True, exist_ok=True)
    with only_run(output):
        return _train_parts(kept, held_out, small, output, recipe, only)


def _train_parts(
    kept: list[Pair],
    held_out: list[Pair],
    shrunk: tuple[list[Pair], list[Pair]],
    output: Path,
    recipe: NanoRecipe,
    only: Sequence[str],
) -> Path:
    """Train parts from pairs to learn from, pairs held out, and both of these `shrunk` to the autoencoder's size."""
    parts = output / "nano"
    wanted = {part for part in only or PARTS if not (parts / PARTS[part]).exists()}
    device = recipe.device if recipe.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    both_looks = kept + crossed(kept) if recipe.cross_scenes else kept
    small, small_held_out = shrunk
    (output / "recipe.json").write_text(recipe.model_dump_json(indent=2))
    if "autoencoder" in wanted:
        model = train_autoencoder(
            small,
            small_held_out,
            output / "autoencoder",
            recipe.sizes.autoencoder,
            recipe.autoencoder,
            device=device,
        )
        _save(model, parts / "vae")
    if "base" in wanted:
        models = _untrained(parts, recipe, device)
        train_base(models, kept, output / "base", recipe.base)
        models.tokenizer.save_pretrained(parts / "tokenizer")
        _save(models.text_encoder, parts / "text_encoder")
        _save(models.transformer, parts / "transformer")
    learnt = both_looks
    if wanted & {"reference", "refiner"} and recipe.teacher is not None:
        stands_on = "transformer" if "reference" in wanted else PARTS["reference"]
        check_parts(parts, ("vae", "tokenizer", "text_encoder", stands_on), remedy=_FIRST)  # before an hour of teachers
        teachers = train_teachers(both_looks, held_out, output / "teacher", recipe.teacher, device=device)
        learnt = taught(teachers, both_looks, recipe.teacher.share)
    if "reference" in wanted:
        models = load_parts(parts, device=device, remedy=_FIRST)
        models.transformer.requires_grad_(True)
        if recipe.reference_ffn_dim is not None:
            widen(models.transformer, recipe.reference_ffn_dim)
        seen = recipe.reference.pool.height, recipe.reference.pool.width
        shown = [replace(pair, engine=fit(pair.engine, seen), camera=fit(pair.camera, seen)) for pair in held_out]
        train_reference(models, learnt, shown, output / "reference", recipe.reference)
        if recipe.shown is not None:
            train_shown(models, learnt, shown, output / "shown", recipe.shown)
            _save(models.autoencoder, parts / "vae")
        _save(models.transformer, parts / "transformer_reference")
    if "refiner" in wanted:
        models = load_parts(parts, transformer="transformer_reference", device=device)
        answered = learnt[len(both_looks) :]
        refiner = train_refiner(models, both_looks, held_out, output / "refiner", recipe.refiner, answered=answered)
        _save(refiner, parts / "refiner")
    if "lora" in wanted:
        _train_lora(parts, both_looks, small_held_out, output, "lora", recipe.lora, device=device)
    if "editor" in wanted:  # the same on single frames: anchors of the pair pipeline
        single = [replace(pair, engine=pair.engine[:1], camera=pair.camera[:1]) for pair in small_held_out]
        _train_lora(parts, both_looks, single, output, "editor", recipe.editor, device=device)
    if "vace" in wanted:
        models = load_parts(parts, device=device, remedy=_FIRST)
        _save(train_vace(models, kept, small_held_out, output / "vace", recipe.vace), parts / "transformer_vace")
    if all((parts / file).exists() for file in PARTS.values()):
        ship(parts, output / "shipped")
    return parts


def ship(parts: Path, folder: Path) -> None:
    """Write a trained nano folder in half precision, as the package carries it; replaces an earlier one."""
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    shutil.copytree(parts / "tokenizer", temporary / "tokenizer")
    for adapter in parts.glob("*.safetensors"):  # in half precision already
        shutil.copy(adapter, temporary)
    models = load_parts(parts, refiner=PARTS["refiner"])
    assert models.refiner is not None, "asked for, so loaded"
    models.refiner.half().save_pretrained(temporary / "refiner")
    models.autoencoder.half().save_pretrained(temporary / "vae")
    models.text_encoder.half().save_pretrained(temporary / "text_encoder")
    for name in ("transformer", "transformer_reference", "transformer_vace"):
        load_parts(parts, transformer=name).transformer.half().save_pretrained(temporary / name)
    for path in temporary.glob("*/config.json"):  # diffusers writes down which folder of ours a model came from
        config = json.loads(path.read_text())
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)


def hold_out(pairs: Sequence[Pair], every: int = 12) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into those to train on and those to validate on; a scene (the id up to "_") is never in both."""
    scenes = sorted({scene_of(pair) for pair in pairs})
    held = set(scenes[every - 1 :: every])
    return [p for p in pairs if scene_of(p) not in held], [p for p in pairs if scene_of(p) in held]


def crossed(pairs: Sequence[Pair]) -> list[Pair]:
    """Pair renders with the photographs of their scene in other weathers: the same shapes, the other caption.

    `realmaster render` draws a scene's geometry from its seed alone, so that rows of one seed and size agree in it.
    """
    known = {(scene_of(pair), pair.row.engine_weather, pair.row.camera_weather) for pair in pairs}
    found = []
    for first in pairs:
        for second in pairs:
            names = (scene_of(first), first.row.engine_weather, second.row.camera_weather)
            if scene_of(second) == names[0] and names not in known and first.engine.shape == second.camera.shape:
                known.add(names)
                row = replace(
                    second.row,
                    name=f"{first.row.name}_{second.row.camera_weather}",
                    engine=first.row.engine,
                    engine_weather=first.row.engine_weather,
                )
                found.append(Pair(row, first.engine, second.camera))
    return found


def scene_of(pair: Pair) -> str:
    """Name the scene of a pair: its id begins with the seed."""
    return pair.row.name.partition("_")[0]


def _train_lora(
    parts: Path,
    pairs: list[Pair],
    validation: list[Pair],
    output: Path,
    part: str,
    settings: LoraSettings,
    *,
    device: str,
) -> None:
    """Train an in-context adapter over the frozen base and save it."""
    models = load_parts(parts, device=device, remedy=_FIRST)
    models.transformer.requires_grad_(False)
    torch.manual_seed(settings.flow.loop.seed)
    add_lora(models.transformer, rank=settings.rank)
    train_reference(models, pairs, validation, output / part, settings.flow)
    metadata = AdapterMetadata(base_model="nano", rank=settings.rank, alpha=settings.rank, reference="cached")
    save_adapter(models.transformer, parts / PARTS[part], metadata)


def _untrained(parts: Path, recipe: NanoRecipe, device: str) -> Models:
    from diffusers import AutoencoderKLWan

    check_parts(parts, ("vae",), remedy=_FIRST)
    torch.manual_seed(recipe.base.loop.seed)
    sizes = recipe.sizes
    tokenizer = build_tokenizer(
        all_captions(), vocab_size=sizes.text_encoder.vocab_size, max_length=sizes.text_encoder.max_length
    )
    transformer = sizes.transformer.build(z_dim=sizes.autoencoder.z_dim, text_dim=sizes.text_encoder.d_model)
    start_reading(transformer)
    return Models(
        autoencoder=AutoencoderKLWan.from_pretrained(parts / "vae").requires_grad_(False).eval().to(device),
        tokenizer=tokenizer,
        text_encoder=sizes.text_encoder.build().to(device),
        transformer=transformer.to(device),
        max_length=sizes.text_encoder.max_length,
    )


def _save(model: Any, folder: Path) -> None:
    """Save a model under a temporary name, then rename: what exists is whole; replaces an earlier one."""
    temporary = folder.with_name(folder.name + ".partial")
    shutil.rmtree(temporary, ignore_errors=True)
    model.save_pretrained(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    logger.info("saved %s", json.dumps(str(folder)))
