"""`realmaster train`: one line where a config is wrong, a line of progress, a list of checkpoints."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import tiny_run
from realmaster.cli.main import main
from realmaster.cli.train import progress_line
from realmaster.training.checkpoints import Checkpoints
from realmaster.training.run import Progress
from wan_layout import write_wan21, write_wan22

CONFIG = "configs/train/nano.yaml"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["train", *map(str, arguments)]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_a_config_is_refused_in_one_line(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "missing.yaml" in refused(capsys, tmp_path / "missing.yaml")
    config = checkout / CONFIG
    assert "optimizer.warmup_step" in refused(capsys, config, "--set", "optimizer.warmup_step=3")
    assert "NAME=VALUE" in refused(capsys, config, "--set", "seed")
    fast = refused(capsys, config, "--set", "experts.transformer.learning_rate=1.0e+38")
    assert "experts.transformer.learning_rate: input should be less than or equal to 1" in fast
    assert "72x72x6" in refused(capsys, config, "--set", "data.encode.buckets=[72x72x6]", *_places(tmp_path))


def test_a_manifest_that_is_not_there_is_named(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(
        capsys, checkout / CONFIG, "--set", f"data.manifest={tmp_path}/no.jsonl", "--set", f"output={tmp_path}"
    )
    assert "no.jsonl" in line


def test_a_device_that_is_not_there_is_named(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    assert "cuda" in refused(capsys, checkout / CONFIG, "--set", "device=cuda", *_places(tmp_path))


def test_a_checkpoint_with_a_part_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wan = write_wan21(tmp_path / "wan")
    for path in (wan / "transformer").glob("*.safetensors"):
        path.unlink()
    changes = ("--set", "profile=wan2.1-1.3b", "--set", f"model_dir={wan}", "--set", "device=cpu")
    changes += ("--set", 'data.encode.buckets=["128x64x5"]')
    line = refused(capsys, Path(__file__).parents[2] / CONFIG, *changes, *_places(tmp_path))
    assert "transformer" in line
    assert "--set model_dir=FOLDER" in line
    assert "--model-dir" not in line


def test_the_list_of_checkpoints_needs_no_data(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(100, {"w": torch.ones(1)}, {}, {"psnr": 17.25}, lambda folder: None)
    assert main(["train", str(checkout / CONFIG), "--set", f"output={tmp_path}", "--list"]) == 0
    assert "| 100 | 17.250 | best |" in capsys.readouterr().out


def test_a_run_that_is_not_there_has_no_list(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, checkout / CONFIG, "--set", f"output={tmp_path / 'elsewhere'}", "--list")
    assert f"{tmp_path / 'elsewhere'}, found no run there" in line
    assert not (tmp_path / "elsewhere").exists()


def test_one_of_several_processes_says_what_came_of_the_run(tmp_path: Path) -> None:
    manifest, wan = tiny_run.write_pairs(tmp_path / "pairs", count=2), write_wan22(tmp_path / "wan")
    experts = {"transformer": {"num_steps": 1, "learning_rate": 0.01}}
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(tiny_run.config(manifest, wan, tmp_path / "run", experts=experts)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-m", "realmaster", "train", str(config), "--quiet"]
    processes = [
        subprocess.Popen(
            command, env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.PIPE, text=True
        )
        for rank in ("0", "1")
    ]
    first, second = (process.communicate(timeout=120)[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert "1 steps; adapter: " in first
    assert second == ""


def test_the_progress_line_has_losses_speed_memory_and_time_left() -> None:
    one = Progress(3, 10, {"transformer": 0.5}, 2.0, 1.25, 70.0)
    assert progress_line(one) == "step 3/10, loss 0.5000, 2 samples/s, 1.2 GB, 01:10 left"
    both = Progress(3, 10, {"transformer": 0.5, "transformer_2": 0.25}, 0.05, 71.0, 7000.0)
    assert "high noise 0.5000, low noise 0.2500, 0.05 samples/s" in progress_line(both)
    assert "1:56:40 left" in progress_line(both)


def test_nano_itself_is_trained_by_a_command_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nano", "train", "--help"]) == 0
    assert "autoencoder" in capsys.readouterr().out


def _places(folder: Path) -> list[str]:
    manifest = tiny_run.write_pairs(folder / "pairs", count=2)
    return [
        "--set",
        f"data.manifest={manifest}",
        "--set",
        f"output={folder / 'run'}",
        "--set",
        "validation.manifest=null",
    ]
