"""`make nano` in seconds: every part trained for a few steps on pairs made here, then used."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from realmaster.data.frames import Pair, load_pairs
from realmaster.errors import ConfigError, DataError, MissingWeightsError
from realmaster.evaluation.metrics.sharpness import gradient_energy
from realmaster.evaluation.metrics.ssim import ssim as measured_ssim
from realmaster.media.writer import ClipWriter
from realmaster.models.adapter import read_metadata
from realmaster.models.loading import Models, load_parts
from realmaster.models.reference import ReferenceAttention
from realmaster.models.refiner import load_refiner, refine, to_tensor
from realmaster.models.vace import condition_channels, grow_vace
from realmaster.training.captions import WEATHER, all_captions, vary_caption
from realmaster.training.initialise import start_copying, start_local, start_reading, widen
from realmaster.training.latents import LatentPool, PoolSettings
from realmaster.training.nano import NanoRecipe, crossed, hold_out, scene_of, train_nano
from realmaster.training.refiner import RefinerTraining, energy, ssim, train_refiner
from realmaster.training.shown import ShownSettings, train_shown
from realmaster.training.transformer import pixel_metric, shown_error, validate_one_step
from realmaster.types import ClipInfo

LOOP = {"num_steps": 2, "save_every": 2, "validate_every": 2}
FLOW = {"loop": LOOP, "pool": {"size": 3, "refresh": 1, "num_frames": 5, "height": 16, "width": 32}, "batch_size": 2}
RECIPE = {
    "size": (16, 32),
    "sizes": {
        "autoencoder": {"base_dim": 8, "z_dim": 8},
        "text_encoder": {"d_model": 16, "num_heads": 2, "vocab_size": 400},
        "transformer": {"num_heads": 2, "head_dim": 24, "num_layers": 2, "ffn_dim": 32},
    },
    "autoencoder": {"loop": LOOP, "size": 16, "num_frames": (5,)},
    "base": FLOW | {"num_latent_frames": (2,)},
    "reference": FLOW | {"num_latent_frames": (2,)},
    "reference_ffn_dim": 48,
    "shown": FLOW | {"num_latent_frames": (1, 2)},
    "refiner": {"loop": LOOP, "shown_size": (16, 32), "batch_size": 2, "sizes": {"widths": (8, 16)}},
    "teacher": {"loop": LOOP, "batch_size": 2, "widths": (16, 16)},
    "lora": {"rank": 4, "flow": FLOW | {"num_latent_frames": (2,)}},
    "editor": {"rank": 4, "flow": FLOW | {"num_latent_frames": (1,)}},
    "vace": {"layers": (0, 1), "flow": FLOW | {"num_latent_frames": (1, 2)}},
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    generator = np.random.default_rng(0)
    rows = []
    for index in range(12):
        frames = generator.integers(0, 256, (5, 32, 64, 3), dtype=np.uint8)
        for look, clip in (("engine", frames), ("camera", frames // 2)):
            path = folder / f"videos/{index}/{look}.mkv"
            path.parent.mkdir(parents=True, exist_ok=True)
            with ClipWriter(path, ClipInfo(64, 32, Fraction(16)), codec="lossless") as writer:
                writer.write(clip)
        rows.append({
            "id": f"{index}_street",
            "reference_video": f"videos/{index}/engine.mkv", "video": f"videos/{index}/camera.mkv",
            "caption": "a city street, overcast day, soft light",
            "engine_weather": "clear", "camera_weather": "overcast",
        })  # fmt: skip
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def trained(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("run")
    recipe = NanoRecipe.from_mapping(RECIPE, source="test")
    return train_nano([pairs], output, recipe)


def test_every_part_is_there_in_the_formats_of_the_large_models(trained: Path) -> None:
    models = load_parts(trained)
    tuned = load_parts(trained, transformer="transformer_reference").transformer
    assert tuned.config.num_layers == models.transformer.config.num_layers == 2
    assert read_metadata(trained / "adapter_cached.safetensors").rank == 4
    assert load_refiner(trained / "refiner").config.block_out_channels == [8, 16]
    assert read_metadata(trained / "editor_cached.safetensors").reference == "cached"
    assert type(load_parts(trained, transformer="transformer_vace").transformer).__name__ == "WanVACETransformer3DModel"
    assert max(abs(value) for value in models.autoencoder.config.latents_mean) > 0
    assert not list(trained.rglob("*.bin"))


def test_what_is_shipped_is_half_as_large_and_loads(trained: Path) -> None:
    def weight(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*.safetensors"))

    shipped = trained.parent / "shipped"
    assert weight(shipped) < 0.7 * weight(trained)
    assert load_parts(shipped).transformer.dtype == torch.float32
    assert not [path for path in shipped.rglob("*.json") if str(trained.parent) in path.read_text()]


def test_a_second_run_trains_nothing_again(trained: Path, pairs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*.safetensors")}
    train_nano([pairs], trained.parent, NanoRecipe.from_mapping(RECIPE, source="test"))
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*.safetensors")} == before


@pytest.mark.parametrize(("part", "missing"), [("reference", "vae"), ("refiner", "transformer_reference")])
def test_what_a_part_stands_on_is_asked_for_before_its_teachers_are_trained(
    part: str, missing: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingWeightsError, match=f"{missing}.*train these parts first"):
        train_nano([pairs], tmp_path / "run", NanoRecipe.from_mapping(RECIPE, source="test"), only=[part])
    assert not (tmp_path / "run/teacher").exists()
    with pytest.raises(ConfigError):
        train_nano([tmp_path / "nowhere"], tmp_path / "other", NanoRecipe(), only=[part])
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("part", ["base", "lora", "editor", "vace"])
def test_a_part_whose_predecessors_are_missing_says_which_to_train_first(
    part: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(MissingWeightsError, match=r"vae.*train these parts first"):
        train_nano([pairs], tmp_path / "run", NanoRecipe.from_mapping(RECIPE, source="test"), only=[part])


def test_pairs_too_short_for_the_windows_asked_for_are_refused_and_not_waited_for(trained: Path, pairs: Path) -> None:
    models = load_parts(trained)
    shown = load_pairs([pairs], "train")
    single = [replace(pair, engine=pair.engine[:1], camera=pair.camera[:1]) for pair in shown]
    settings = PoolSettings(size=3, height=48, width=64, num_frames=5, refresh=0)
    generator = np.random.default_rng(0)
    with pytest.raises(DataError, match="expected pairs of 5 frames or more for 2 latent ones, the longest has 1"):
        LatentPool(single, models.autoencoder, settings, generator).draw(2, generator, 2)
    mixed = LatentPool([*single, shown[0]], models.autoencoder, settings, generator)
    assert mixed.draw(4, generator, 2)[0].shape[2] == 2


def test_a_scene_is_never_both_trained_and_validated_on(pairs: Path) -> None:
    (pair, *_) = load_pairs([pairs], "train")
    names = [f"{seed:05d}_street_{weather}" for seed in range(30) for weather in ("clear", "rain")]
    several = [replace(pair, row=replace(pair.row, name=name)) for name in names]
    kept, held = hold_out(several)
    assert len(held) == 4
    assert len(kept) == 56
    assert not {scene_of(p) for p in kept} & {scene_of(p) for p in held}


def test_a_render_is_trained_with_the_photographs_of_its_scene_in_other_weathers(pairs: Path) -> None:
    (pair, *_) = load_pairs([pairs], "train")

    def row(seed: int, engine: str, camera: str, level: int) -> Pair:
        named = replace(
            pair.row, name=f"{seed:05d}_street", engine_weather=engine, camera_weather=camera, caption=camera
        )
        return Pair(named, np.full_like(pair.engine, level), np.full_like(pair.camera, level + 1))

    clear, rain, both, other = (
        row(1, "clear", "clear", 10),
        row(1, "rain", "rain", 20),
        row(2, "clear", "rain", 30),
        row(2, "clear", "clear", 40),
    )
    made = crossed([clear, rain, both, other])
    assert [(p.row.weathers, p.row.caption, p.engine.max(), p.camera.max()) for p in made] == [
        (("clear", "rain"), "rain", 10, 21),
        (("rain", "clear"), "clear", 20, 11),
    ]
    assert {scene_of(p) for p in made} == {"00001"}
    assert crossed([*made, clear, rain]) == []


def test_the_reference_step_moves_the_weights_of_the_base(trained: Path) -> None:
    base = load_parts(trained).transformer.state_dict()
    tuned = load_parts(trained, transformer="transformer_reference").transformer.state_dict()
    assert any(not torch.equal(base[name], tuned[name]) for name in base)
    assert tuned["blocks.0.ffn.net.2.weight"].shape[1] == 48 > base["blocks.0.ffn.net.2.weight"].shape[1]


def test_a_refiner_learns_what_the_pictures_lack(trained: Path, pairs: Path, tmp_path: Path) -> None:
    models = load_parts(trained, transformer="transformer_reference")
    shown = load_pairs([pairs], "train")
    single = [replace(pair, engine=pair.engine[:1], camera=pair.camera[:1]) for pair in shown]
    settings = RefinerTraining.from_mapping(
        RECIPE["refiner"] | {"loop": LOOP | {"num_steps": 40, "learning_rate": 5e-3, "validate_every": 40}},
        source="test",
    )
    net = train_refiner(models, shown[:3], shown[:3], tmp_path, settings, answered=single[3:])
    scores = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    last = [line for line in scores if "psnr" in line][-1]
    assert last["psnr"] > last["psnr_before"] + 1
    drawn = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert len(drawn) == len(shown) + 3
    again = train_refiner(models, shown[:3], shown[:3], tmp_path, settings, answered=single[3:])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == drawn
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))


def blocks(seed: int, *shape: int) -> np.ndarray:
    """Grey pictures of soft blocks: [*shape, 48, 72, 3]."""
    small = np.random.default_rng(seed).integers(0, 256, (*shape, 8, 12, 1))
    return small.repeat(6, axis=-3).repeat(6, axis=-2).repeat(3, axis=-1).astype(np.uint8)


def test_of_grey_pictures_similarity_and_gradient_energy_are_trained_as_they_are_measured() -> None:
    first = blocks(3, 2)
    second = (first * 0.7 + blocks(4, 2) * 0.2).astype(np.uint8)
    both = [to_tensor(frames, torch.device("cpu")) for frames in (first, second)]
    assert float(ssim(*both)) == pytest.approx(measured_ssim(first, second), abs=0.05)
    assert float(ssim(both[0], both[0])) == pytest.approx(1)
    assert energy(both[0]).shape == (2,)
    assert float(energy(both[0]).mean()) == pytest.approx(gradient_energy(first), rel=0.1)


@pytest.mark.parametrize("aim", [lambda a, b: ssim(a, b), lambda a, _: energy(a).mean()], ids=["ssim", "energy"])
def test_what_grows_sharper_grows_no_tint(aim: Callable[[Tensor, Tensor], Tensor]) -> None:
    grey, other = (to_tensor(blocks(seed, 1), torch.device("cpu")) for seed in (5, 6))
    aim(grey.requires_grad_(), other).backward()
    assert grey.grad is not None
    assert grey.grad.abs().max() > 0
    torch.testing.assert_close(grey.grad, grey.grad.mean(dim=1, keepdim=True).expand_as(grey.grad))


def test_only_photographs_teach_a_refiner_to_be_sharp(trained: Path, pairs: Path, tmp_path: Path) -> None:
    models = load_parts(trained, transformer="transformer_reference")
    shown = load_pairs([pairs], "train")[:3]
    sharp = RECIPE["refiner"] | {
        "loop": LOOP | {"num_steps": 40, "learning_rate": 5e-3},
        "ssim_weight": 0.0,
        "energy_weight": 20.0,
        "energy": 2.0,
    }
    energies = {}
    for name, photographs, answers in (("photographs", shown, []), ("answers", [], shown)):
        settings = RefinerTraining.from_mapping(sharp, source="test")
        net = train_refiner(models, photographs, shown[:1], tmp_path / name, settings, answered=answers)
        render = to_tensor(shown[0].engine, torch.device("cpu"))
        with torch.no_grad():
            energies[name] = float(energy(refine(net, render, render)).mean())
    assert energies["photographs"] > 1.07 * energies["answers"]


def test_what_is_trained_by_what_is_seen_leaves_latents_as_they_were(
    trained: Path, pairs: Path, tmp_path: Path
) -> None:
    models = load_parts(trained, transformer="transformer_reference")
    before = {name: value.clone() for name, value in models.autoencoder.state_dict().items()}
    settings = ShownSettings.from_mapping(
        FLOW | {"num_latent_frames": (1, 2), "loop": LOOP | {"num_steps": 24, "learning_rate": 3e-3}},
        source="test",
    )
    shown = load_pairs([pairs], "train", size=(16, 32))
    with ReferenceAttention(models.transformer) as attention:
        first = psnr_of_one_step(models, attention, shown)
    train_shown(models, shown, [], tmp_path, settings)
    with ReferenceAttention(models.transformer) as attention:
        assert psnr_of_one_step(models, attention, shown) > first + 0.5
    after = models.autoencoder.state_dict()
    changed = {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"decoder", "post_quant_conv"}


def psnr_of_one_step(models: Models, attention: ReferenceAttention, pairs: list[Pair]) -> float:
    def predict(noise: torch.Tensor, engine: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return noise - attention.denoise(noise, torch.tensor(1000.0), text, attention.encode(engine, text))

    return validate_one_step(models, predict, pairs)["psnr"]


def test_a_recipe_that_would_narrow_the_reference_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ConfigError, match="reference_ffn_dim must be 32 or more"):
        NanoRecipe.from_mapping(RECIPE | {"reference_ffn_dim": 16}, source="test")


def test_wider_layers_say_nothing_at_first() -> None:
    torch.manual_seed(0)
    transformer = NanoRecipe.from_mapping(RECIPE, source="test").sizes.transformer.build(z_dim=8, text_dim=16).eval()
    inputs = {
        "hidden_states": torch.randn(1, 8, 1, 4, 4),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": torch.ones(1, 3, 16),
    }
    with torch.no_grad():
        before = transformer(**inputs, return_dict=False)[0]
        widen(transformer, 50)
        torch.testing.assert_close(transformer(**inputs, return_dict=False)[0], before)
    assert transformer.blocks[1].ffn.net[0].proj.out_features == transformer.config.ffn_dim == 50
    with pytest.raises(ValueError, match="for 50"):
        widen(transformer, 40)


def test_the_control_branch_is_trained_and_its_base_is_not(trained: Path) -> None:
    base = load_parts(trained).transformer
    grown = load_parts(trained, transformer="transformer_vace").transformer.state_dict()
    assert all(torch.equal(grown[name], value) for name, value in base.state_dict().items())
    assert all(grown[f"vace_blocks.{index}.proj_out.weight"].abs().max() > 0 for index in (0, 1))


def test_an_untrained_control_branch_leaves_the_base_as_it_is(trained: Path) -> None:
    models = load_parts(trained)
    grown = grow_vace(models.transformer, (0, 1), condition_channels(models.autoencoder)).eval()
    generator = torch.Generator().manual_seed(0)
    noisy, conditions = (torch.randn(1, count, 2, 2, 4, generator=generator) for count in (8, 8 + 8 + 64))
    inputs = {"hidden_states": noisy, "timestep": torch.tensor([500.0]), "encoder_hidden_states": torch.ones(1, 3, 16)}
    with torch.no_grad():
        plain = models.transformer(**inputs, return_dict=False)[0]
        assert torch.equal(grown(**inputs, control_hidden_states=conditions, return_dict=False)[0], plain)


def test_a_local_start_attends_to_the_reference_token_at_its_own_place() -> None:
    recipe = NanoRecipe.from_mapping(RECIPE, source="test")
    torch.manual_seed(0)
    transformer = recipe.sizes.transformer.build(z_dim=8, text_dim=16)
    start_local(transformer)
    reference = torch.zeros(1, 8, 1, 4, 4)
    reference[..., 1, 2] = 5.0
    text, noisy = torch.zeros(1, 4, 16), torch.randn(1, 8, 1, 4, 4)
    with ReferenceAttention(transformer) as attention, torch.no_grad():
        changed = attention.denoise(noisy, torch.tensor(1000.0), text, attention.encode(reference, text))
        plain = attention.denoise(noisy, torch.tensor(1000.0), text, attention.encode(reference * 0, text))
    difference = (changed - plain).square().sum(dim=1)[0, 0]
    assert int(difference.argmax()) == 1 * 4 + 2


def test_the_first_prediction_is_a_copy_of_the_reference() -> None:
    torch.manual_seed(0)
    sizes = NanoRecipe.from_mapping(RECIPE, source="test").sizes.transformer
    transformer = sizes.build(z_dim=8, text_dim=16)
    start_reading(transformer)
    reference, noise = torch.randn(2, 1, 8, 1, 6, 8)
    text = torch.zeros(1, 4, 16)
    with ReferenceAttention(transformer) as attention, torch.no_grad():
        cache = attention.encode(reference, text)
        predicted = noise - attention.denoise(noise, torch.tensor(1000.0), text, cache)
    assert float(torch.corrcoef(torch.stack([predicted.flatten(), reference.flatten()]))[0, 1]) > 0.7
    assert abs(float(torch.corrcoef(torch.stack([predicted.flatten(), noise.flatten()]))[0, 1])) < 0.4


def test_a_transformer_too_narrow_to_copy_starts_without(caplog: pytest.LogCaptureFixture) -> None:
    transformer = NanoRecipe.from_mapping(RECIPE, source="test").sizes.transformer.build(z_dim=24, text_dim=16)
    before = transformer.proj_out.weight.clone()
    with caplog.at_level("INFO"):
        start_copying(transformer)
    assert torch.equal(transformer.proj_out.weight, before)
    assert "no room to copy 24 latents" in caplog.text


def test_the_metric_of_latent_errors_foretells_what_they_show_in_pixels(trained: Path, pairs: Path) -> None:
    models, pair = load_parts(trained), load_pairs([pairs], "train", size=(16, 32))[0]
    metric = pixel_metric(models, [pair], floor=0.0)
    assert torch.allclose(metric, metric.T, rtol=1e-4, atol=1e-6)
    assert float(metric.trace()) == pytest.approx(len(metric), rel=1e-4)
    directions = torch.linalg.eigh(metric).eigenvectors
    video = torch.from_numpy(pair.camera[:5]).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    std = torch.tensor(models.autoencoder.config.latents_std).view(1, -1, 1, 1, 1)
    shown = []
    with torch.no_grad():
        latents = models.autoencoder.encode(video).latent_dist.mode()
        decoded = models.autoencoder.decode(latents).sample
        for direction in (directions[:, 0], directions[:, -1]):
            error = 0.1 * direction.view(1, -1, 1, 1, 1) * torch.randn(latents[:, :1].shape)
            change = (models.autoencoder.decode(latents + std * error).sample - decoded).square().mean()
            shown.append((float(change), float(shown_error(error, metric))))
    assert shown[1][0] > 2 * shown[0][0]
    assert shown[1][1] > 2 * shown[0][1]
    assert float(shown_error(error, torch.eye(len(metric)))) == pytest.approx(float(error.square().mean()), rel=1e-4)


def test_captions_keep_their_weather_when_reworded() -> None:
    generator = np.random.default_rng(0)
    for weather, wordings in WEATHER.items():
        for _ in range(20):
            said = vary_caption(f"a city street with parked cars and people walking, {weather}", generator)
            assert any(wording in said for wording in wordings)
    assert len(set(all_captions())) > 50
