"""A whole run in miniature, on a tiny checkpoint of the published layout: it learns, goes on, stops."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import tiny_run
from realmaster.errors import AdapterError, ConfigError, MemoryLimitError, MissingExtraError, NumericalError
from realmaster.evaluation.metrics import psnr
from realmaster.models.adapter import save_adapters
from realmaster.models.adapter_metadata import find_adapter, read_metadata
from realmaster.models.loading import Models, load_profile_models
from realmaster.models.profiles import load_profile
from realmaster.training import cache, run_plan, setup
from realmaster.training.checkpoints import Checkpoints
from realmaster.training.experts import TrainedExpert, find_start
from realmaster.training.processes import tracker_arguments
from realmaster.training.run import Trained, train
from realmaster.training.settings import ExpertSettings, TrainSettings, plan_turns
from tiny_adapters import METADATA, random_lora
from wan_layout import tiny_transformer, write_wan22

SCRIPT = Path(tiny_run.__file__)


class Place:
    """Pairs and a base, and runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = tiny_run.write_pairs(folder / "pairs")
        self.wan = write_wan22(folder / "wan")

    def values(self, name: str, **changes: Any) -> dict[str, Any]:
        return tiny_run.config(self.manifest, self.wan, self.folder / name, **changes)

    def train(self, name: str, **changes: Any) -> Trained:
        settings = TrainSettings.from_mapping(self.values(name, **changes), source="test")
        return train(settings, score=lambda output, truth: {"psnr": psnr(output, truth)})

    def losses(self, name: str) -> list[tuple[int, str, float]]:
        return tiny_run.losses(self.folder / name)

    def start(self, name: str, *, rank: int = 0, world: int = 1, port: int = 0, kill: int = 0, **changes: Any):
        """Run in a process of its own."""
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(self.values(name, **changes)))
        env = os.environ | {"KILL_AFTER_STEP": str(kill), "PYTHONPATH": str(SCRIPT.parent), "OMP_NUM_THREADS": "1"}
        if world > 1:
            env |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, str(SCRIPT), str(path)], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("train"))


TWO = {"transformer": {"num_steps": 3, "learning_rate": 0.01}, "transformer_2": {"num_steps": 3, "learning_rate": 0.02}}


@pytest.fixture(scope="module")
def both(place: Place) -> Trained:
    """Both experts in turn, with averaged weights, validated before and after."""
    validation = {"manifest": str(place.manifest), "every": 4, "num_clips": 2, "num_inference_steps": 2}
    return place.train("both", experts=TWO, turn_steps=2, average=0.9, validation=validation, trackers=["tensorboard"])


def test_experts_take_turns_until_all_steps_are_done(place: Place, both: Trained) -> None:
    names = [expert for _, expert, _ in place.losses("both")]
    assert names == ["transformer"] * 2 + ["transformer_2"] * 2 + ["transformer", "transformer_2"]
    mine = {"transformer": ExpertSettings(num_steps=1), "transformer_2": ExpertSettings(num_steps=3)}
    assert plan_turns(mine, None) == ["transformer"] + ["transformer_2"] * 3
    assert both.num_steps == 6


def test_a_checkpoint_holds_an_adapter_of_both_experts_that_says_what_it_is_for(place: Place, both: Trained) -> None:
    files = find_adapter(both.newest.folder)
    assert {path.name for path in files.values()} == {
        "adapter_high_noise.safetensors", "adapter_low_noise.safetensors",
    }  # fmt: skip
    told = read_metadata(files["transformer_2"])
    assert (told.expert, told.rank, told.reference, told.profile) == ("transformer_2", 4, "cached", "wan2.2-a14b")
    assert told.base_model == "Wan-AI/Wan2.2-T2V-A14B-Diffusers"
    assert [(size.num_frames, size.height, size.width) for size in told.sizes] == [(5, 32, 48)]
    assert told.data_digest


@pytest.mark.parametrize("given", ["", "adapter", "adapter_high_noise.safetensors", "adapter_low_noise.safetensors"])
def test_each_expert_begins_from_its_own_file(place: Place, both: Trained, given: str) -> None:
    barely = {name: {"num_steps": 1, "learning_rate": 1e-20} for name in TWO}
    start = {"start_from": str(both.newest.folder / given)}
    trained = place.train(f"from-{given}", experts=barely, adapter=start, checkpoints={"every": 9})
    before, after = find_adapter(both.newest.folder), find_adapter(trained.newest.folder)
    for expert in TWO:
        old, new = load_file(before[expert]), load_file(after[expert])
        assert all(torch.allclose(old[key], value, atol=1e-6) for key, value in new.items())


def settings_from(place: Place, start: Path, **changes: Any) -> tuple[TrainSettings, Any]:
    values = place.values("start", **changes)
    values["adapter"] = {**values["adapter"], "start_from": str(start)}
    settings = TrainSettings.from_mapping(values, source="test")
    return settings, load_profile(settings.profile, model_dir=place.wan, changes=settings.profile_changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"profile": "wan2.1-1.3b"}, r"base 'wan2\.1-1\.3b', got one for 'wan2\.2-a14b'"),
        ({"reference": {"mode": "joint"}}, r"reference\.mode joint .*, got cached: set reference\.mode to cached"),
        ({"data": {"encode": {"reference_scale": 2}}}, r"reference_scale 2 .*, got 1"),
        ({"adapter": {"rank": 8}}, r"adapter\.rank 8 .*, got 4: set adapter\.rank to 4"),
        ({"adapter": {"alpha": 8}}, r"adapter\.alpha 8 .*, got 4"),
    ],
    ids=["base", "mode", "scale", "rank", "alpha"],
)
def test_an_adapter_that_cannot_be_begun_from_is_refused(
    place: Place, both: Trained, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((AdapterError, ConfigError), match=message) as raised:
        find_start(*settings_from(place, both.newest.folder, **changes))
    assert "\n" not in str(raised.value)


def test_half_an_adapter_is_no_beginning(
    place: Place, both: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alone = Path(shutil.copy(find_adapter(both.newest.folder)["transformer"], tmp_path))
    with pytest.raises(AdapterError, match=r"adapter_low_noise\.safetensors beside adapter_high_noise"):
        find_start(*settings_from(place, alone, experts=TWO))
    assert list(find_start(*settings_from(place, alone))) == ["transformer"]
    experts = {"transformer": tiny_transformer(0), "transformer_2": random_lora(tiny_transformer(1))}
    (only,) = save_adapters(experts, tmp_path / "low", METADATA.model_copy(update={"reference": "cached"}))
    with pytest.raises(AdapterError, match=r"this run trains \(transformer\), got the low-noise expert's"):
        find_start(*settings_from(place, only))
    found = find_start(*settings_from(place, only, experts=TWO))
    assert found == {"transformer_2": only}
    assert "no file of the high-noise (or only) expert: transformer begins anew" in caplog.text


def test_the_adapter_of_a_checkpoint_is_what_inference_loads(place: Place, both: Trained) -> None:
    profile = load_profile(
        "wan2.2-a14b", model_dir=place.wan, changes={**place.values("both")["profile_changes"], "size.buckets": []}
    )
    models, mode = load_profile_models(profile, adapter=both.newest.folder, dtype=torch.float32)
    assert mode == "cached"
    moved = [p for n, p in models.transformer_2.named_parameters() if "lora_B" in n]
    assert moved
    assert any(bool(p.detach().any()) for p in moved)


def test_validation_is_scored_shown_and_listed(place: Place, both: Trained) -> None:
    run = place.folder / "both"
    assert {path.name for path in (run / "validation").iterdir()} == {
        "step-00000000.mp4", "step-00000004.mp4", "step-00000006.mp4",
    }  # fmt: skip
    scored = [line for line in map(json.loads, (run / "log.jsonl").read_text().splitlines()) if "psnr" in line]
    assert [line["step"] for line in scored] == [0, 4, 6]
    assert both.best is not None
    assert both.best.scores["psnr"] >= both.newest.scores["psnr"]
    assert list(run.rglob("events.out.tfevents*"))


def test_a_figure_that_no_clip_has_is_told_and_names_no_best(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    validation = {"manifest": str(place.manifest), "every": 1, "num_clips": 1, "num_inference_steps": 1}
    trained = place.train(
        "figure", experts={"transformer": {"num_steps": 1}}, validation={**validation, "figure": "sharpness"}
    )
    assert trained.best is None
    assert "validation.figure sharpness has no effect: there are psnr" in caplog.text


def test_the_loss_falls(place: Place) -> None:
    place.train(
        "learn",
        experts={"transformer": {"num_steps": 12, "learning_rate": 0.05}},
        checkpoints={"every": 12},
        timesteps={"distribution": "grid", "num_grid_steps": 1},  # one sigma, so that losses compare
        data={"batch_size": 3, "accumulation": 1},
    )
    values = [loss for _, _, loss in place.losses("learn")]
    assert np.mean(values[-3:]) < 0.95 * np.mean(values[:3])


@pytest.mark.parametrize(
    "changes",
    [
        {"reference": {"mode": "joint"}},
        {"reference": {"adapted": False}},
        {"data": {"encode": {"reference_scale": 2}, "cache": None}, "memory": {"gradient_checkpointing": False}},
        {"noise": {"first_frame": 0.5, "still": 0.5}, "memory": {"offload_blocks": 1}},
        {"memory": {"dtype": "bfloat16", "fp8_base": True}},
    ],
    ids=["joint", "unadapted", "half-scale", "first-frame", "fp8"],
)
def test_each_option_trains(place: Place, changes: dict[str, Any], request: pytest.FixtureRequest) -> None:
    name = request.node.callspec.id
    size = {"profile_changes": {"size": {"width": 64, "height": 64}}} if name == "half-scale" else {}
    if name == "half-scale":
        changes = {**changes, "data": {**changes["data"], "encode": {"reference_scale": 2, "buckets": ["32x32x5"]}}}
    trained = place.train(name, experts={"transformer": {"num_steps": 1}}, **changes, **size)
    told = read_metadata(next(iter(find_adapter(trained.newest.folder).values())))
    reference = changes.get("reference", {})
    assert told.reference == reference.get("mode", "cached")
    assert told.reference_adapted == reference.get("adapted", True)
    assert told.reference_scale == (2 if name == "half-scale" else 1)


def test_a_run_killed_at_any_moment_goes_on_as_if_nothing_had_happened(place: Place) -> None:
    changes: dict[str, Any] = {"experts": TWO, "turn_steps": 2, "average": 0.9, "checkpoints": {"every": 2}}
    changes["threads"] = 1

    def in_a_fresh_process(name: str, kill: int = 0) -> int:  # libraries take other paths after other work
        process = place.start(name, kill=kill, **changes)
        _, stderr = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL), stderr.decode()[-2000:]
        return process.returncode

    assert in_a_fresh_process("whole") == 0
    assert in_a_fresh_process("killed", kill=3) == -signal.SIGKILL
    run = place.folder / "killed"
    assert len(place.losses("killed")) == 3  # one more than the checkpoint knows
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 4, "exp')  # and a line it was writing
    (run / "checkpoints" / ".step-00000004.partial").mkdir()  # and a checkpoint it was writing
    assert in_a_fresh_process("killed") == 0
    assert place.losses("killed") == place.losses("whole")
    folders = [Checkpoints(place.folder / name / "checkpoints").newest().folder for name in ("whole", "killed")]
    for name in ("adapter_high_noise.safetensors", "adapter_low_noise.safetensors", "state/tensors.safetensors"):
        mine, theirs = (load_file(folder / name) for folder in folders)
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert torch.equal(mine[key], theirs[key]), key


def test_a_finished_run_started_again_does_nothing(place: Place, both: Trained) -> None:
    before = (place.folder / "both" / "log.jsonl").read_bytes()
    validation = {"manifest": str(place.manifest), "every": 4, "num_clips": 2, "num_inference_steps": 2}
    again = place.train("both", experts=TWO, turn_steps=2, average=0.9, validation=validation)
    assert again.newest.step == 6
    assert (place.folder / "both" / "log.jsonl").read_bytes() == before


def test_a_run_is_not_resumed_with_other_settings(place: Place, both: Trained) -> None:
    with pytest.raises(ConfigError, match=r"go on with reference .*another output"):
        place.train("both", experts=TWO, turn_steps=2, average=0.9, reference={"mode": "joint"})


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_batch(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = TrainedExpert.train_step

    def broken(self: TrainedExpert, batches: Any) -> dict[str, torch.Tensor]:
        values = plain(self, batches)
        return values if self.index < 3 else {**values, "loss": values["loss"] * float("nan")}

    monkeypatch.setattr(TrainedExpert, "train_step", broken)
    with pytest.raises(NumericalError, match=r"step 4 .*manifest\.jsonl:\d.*last good checkpoint is .*step-00000002"):
        place.train("nan")
    assert Checkpoints(place.folder / "nan" / "checkpoints").newest().step == 2


def test_an_expert_that_the_profile_has_not_is_refused(place: Place) -> None:
    with pytest.raises(ConfigError, match="has one transformer"):
        place.train("other", profile="wan2.1-1.3b", experts={"transformer_2": {"num_steps": 1}})


def test_a_run_that_will_not_fit_is_refused_before_anything_is_loaded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_plan, "free_bytes", lambda _: 10**6)
    with pytest.raises(MemoryLimitError, match=r"training wan2.2-a14b: expected .* GB on cpu .*frozen base .*has 0\.0"):
        place.train("large")
    assert not (place.folder / "large" / "checkpoints").exists()


def test_the_cache_is_made_by_one_encoder_at_a_time_before_the_transformers_are_loaded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool, bool]] = []
    encode_frames, encode_text, load = cache.encode_frames, Models.encode_text, setup.load_parts

    def is_here(models: Models) -> bool:
        return any(not parameter.is_meta for parameter in models.transformer.parameters())

    def watch_frames(models: Models, frames: Any) -> torch.Tensor:
        seen.append(("frames", models.text_encoder is not None, is_here(models)))
        return encode_frames(models, frames)

    def watch_text(models: Models, prompts: Any) -> torch.Tensor:
        seen.append(("text", True, is_here(models)))
        return encode_text(models, prompts)

    def watch_load(*arguments: Any, **keywords: Any) -> Models:
        models = load(*arguments, **keywords)
        seen.append(("load", models.text_encoder is not None, True))
        return models

    monkeypatch.setattr(cache, "encode_frames", watch_frames)
    monkeypatch.setattr(Models, "encode_text", watch_text)
    monkeypatch.setattr(setup, "load_parts", watch_load)
    own = {"cache": str(place.folder / "own-cache")}
    place.train("own", data=own, experts={"transformer": {"num_steps": 1}})
    assert list(dict.fromkeys(seen)) == [("text", True, False), ("frames", False, False), ("load", False, True)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "available_gb"), [("wan2.2-a14b", 79.0), ("wan2.1-1.3b", 23.5)])
def test_a_shipped_config_fits_the_card_it_names(checkout: Path, name: str, available_gb: float) -> None:
    config = TrainSettings.read(checkout / "configs" / "train" / f"{name}.yaml")
    plan = run_plan.plan_run(
        config, load_profile(config.profile), device="cuda", available_gb=available_gb, flops_per_second=8e14
    )
    assert plan.fits, plan.memory_gb


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"realmaster\[wandb\]"):
        place.train("wandb", trackers=["wandb"])


def test_trackers_know_the_run_and_write_into_its_folder(place: Place, both: Trained) -> None:
    settings = TrainSettings.from_mapping(
        place.values("tracked", trackers=["tensorboard", "wandb", "trackio"]), source="test"
    )
    told = tracker_arguments(settings, step=7)
    assert told["tensorboard"] == {"purge_step": 8}
    assert told["wandb"]["dir"] == str(settings.output)
    for name in ("wandb", "trackio"):
        assert told[name]["name"] == "tracked"
        assert told[name]["config"]["adapter"]["rank"] == 4
    assert list((place.folder / "both" / "tensorboard").rglob("events.out.tfevents*"))


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_what_one_does_with_twice_the_accumulation(place: Place, parallel: str) -> None:
    validation = {"manifest": str(place.manifest), "every": 6, "num_clips": 2, "num_inference_steps": 1}
    changes: dict[str, Any] = {"experts": TWO, "turn_steps": 2, "average": 0.9, "validation": validation}
    one, two = f"{parallel}-one", f"{parallel}-two"
    place.train(one, **changes)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        place.start(two, rank=rank, world=2, port=port, parallel=parallel, data={"accumulation": 1}, **changes)
        for rank in range(2)
    ]
    for process in processes:
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr.decode()[-2000:]
    for mine, theirs in zip(place.losses(one), place.losses(two), strict=True):
        assert mine[:2] == theirs[:2]
        assert theirs[2] == pytest.approx(mine[2], rel=1e-4)
    states = [Checkpoints(place.folder / name / "checkpoints") for name in (one, two)]
    (single, _), (spread, _) = (checkpoints.load(checkpoints.newest()) for checkpoints in states)
    assert single.keys() == spread.keys()
    # as a whole: Adam divides rounding by rounding where a gradient is almost zero, and such an element may go anywhere
    for kind, most in (("/moment/", 1e-4), ("/weight/", 1e-3), ("/average/", 1e-3)):
        names = [name for name in single if kind in name and not name.endswith("|step")]
        mine, theirs = (torch.cat([state[name].flatten().float() for name in names]) for state in (single, spread))
        assert float((mine - theirs).norm() / mine.norm()) < most, kind
