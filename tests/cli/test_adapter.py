"""`realmaster adapter`: what it prints, what it writes, and what it refuses in one line."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from realmaster.models.adapter_metadata import read_metadata
from realmaster.models.profiles import load_profile
from tiny_adapters import write_pair, write_single
from wan_layout import write_wan21, write_wan22

Call = Callable[..., object]
NANO = load_profile("nano").folder / "adapter_cached.safetensors"


def test_inspect_says_what_the_shipped_adapter_is(realmaster: Call) -> None:
    said = realmaster("adapter", "inspect", NANO)
    assert said.code == 0, said.err
    rows = [" ".join(line.split()) for line in said.out.splitlines()]
    assert "rank, alpha 32, 32" in rows
    assert "reference cached" in rows
    assert "trained at 16 frames a second, 5 frames of 128x72" in rows
    assert "nano fits sizes checked" in rows
    assert any(row.startswith("attn1.to_q 6 192 x 192") for row in rows)
    assert any(row.startswith("wan2.2-a14b does not fit expected an adapter for the base") for row in rows)


def test_inspect_measures_each_layer_and_agrees_with_the_whole_product(realmaster: Call, tmp_path: Path) -> None:
    path = write_single(tmp_path / "adapter", alpha=2.0)
    said = realmaster("adapter", "inspect", path, "--json", "--model-dir", write_wan21(tmp_path / "wan"))
    (file,) = json.loads(said.out)["files"]
    assert (file["form"], file["rank"], file["alpha"], file["dtype"]) == ("diffusers", 4, 2.0, "float16")
    assert file["metadata"]["data_digest"] == "sha256:0123"
    assert {fit["profile"]: fit["fits"] for fit in file["fits"]}["wan2.1-1.3b"]
    state = load_file(path)
    for layer in file["layers"]:
        name = f"transformer.{layer['module']}"
        change = 0.5 * state[f"{name}.lora_B.weight"].double() @ state[f"{name}.lora_A.weight"].double()
        values = torch.linalg.svdvals(change)
        assert layer["norm"] == pytest.approx(float(change.norm()), rel=1e-9)
        assert layer["largest"] == pytest.approx(float(values[0]), rel=1e-9)
        shares = values.square().cumsum(0) / values.square().sum()
        assert layer["effective_rank"] == int((shares < 0.9).sum()) + 1
    assert (
        sum(layer["out_features"] * 4 + layer["in_features"] * 4 for layer in file["layers"]) == file["num_parameters"]
    )


def test_inspect_shows_both_experts_and_every_layer(realmaster: Call, tmp_path: Path) -> None:
    write_pair(tmp_path / "adapter")
    said = realmaster("adapter", "inspect", tmp_path, "--layers")
    assert "high-noise expert" in said.out
    assert "low-noise expert" in said.out
    assert said.out.count("blocks.2.ffn.net.2") == 2


def test_inspect_with_a_profile_answers_by_its_exit_code(realmaster: Call, tmp_path: Path) -> None:
    path, tiny = write_single(tmp_path / "adapter"), write_wan21(tmp_path / "tiny")
    words = ("--profile", "wan2.1-1.3b", "--model-dir", tiny)
    assert realmaster("adapter", "inspect", path, *words).code == 0
    said = realmaster("adapter", "inspect", path, "--profile", "wan2.1-1.3b")
    assert (said.code, "does not fit" in said.out) == (2, True), "its layers are not as wide as the published ones"
    said = realmaster("adapter", "inspect", path, "--profile", "nano")
    assert said.code == 2
    assert "choose the profile it was trained for" in said.out
    older = write_single(tmp_path / "older", base_revision="0ld")
    said = realmaster("adapter", "inspect", older, *words)
    assert (said.code, "trained over revision 0ld, the profile has" in said.out) == (0, True)
    wide = tmp_path / "wan"
    write_wan22(wide)
    config = wide / "transformer" / "config.json"
    config.write_text(config.read_text().replace('"ffn_dim": 64', '"ffn_dim": 96'))
    said = realmaster("adapter", "inspect", path, "--profile", "wan2.1-1.3b", "--model-dir", wide)
    assert said.code == 2
    assert "ffn.net.0.proj is 64 x 48 here and 96 x 48 there" in said.out


def test_inspect_of_a_foreign_lora_says_what_it_lacks(realmaster: Call, tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file(load_file(write_single(tmp_path / "adapter")), path)
    said = realmaster("adapter", "inspect", path)
    assert said.code == 0
    assert "none of RealMaster's" in said.out
    assert "4 (not in the file: the rank)" in said.out


def test_export_and_import_carry_both_experts_there_and_back(realmaster: Call, tmp_path: Path) -> None:
    files = write_pair(tmp_path / "adapter", alpha=2.0)
    said = realmaster("adapter", "export", files[0], "--format", "kohya", "-o", tmp_path / "k.safetensors")
    assert said.code == 0, said.err
    assert said.out.split() == ["wrote", f"{tmp_path}/k_high_noise.safetensors", "wrote",
                                f"{tmp_path}/k_low_noise.safetensors"]  # fmt: skip
    said = realmaster("adapter", "import", tmp_path / "k", "-o", tmp_path / "back")
    assert said.code == 0, said.err
    for file in files:
        back = tmp_path / file.name.replace("adapter", "back")
        ours, returned = load_file(file), load_file(back)
        assert ours.keys() == returned.keys()
        assert all(torch.equal(ours[name], returned[name]) for name in ours)
        assert read_metadata(file) == read_metadata(back)


def test_import_takes_two_foreign_files_with_their_facts(realmaster: Call, tmp_path: Path) -> None:
    high, low = write_pair(tmp_path / "adapter")
    for file, name in ((high, "a"), (low, "b")):
        save_file(load_file(file), tmp_path / f"{name}.safetensors")
    base = ("--profile", "wan2.2-a14b", "--model-dir", write_wan22(tmp_path / "wan"))
    words = ("adapter", "import", tmp_path / "a.safetensors", "--low-noise", tmp_path / "b.safetensors", "-o")
    said = realmaster(*words, tmp_path / "made", *base, "--reference", "joint", "--alpha", "2",
                      "--frame-rate", "24", "--reference-scale", "2")  # fmt: skip
    assert said.code == 0, said.err
    low_told = read_metadata(tmp_path / "made_low_noise.safetensors")
    assert (low_told.expert, low_told.experts) == ("transformer_2", ("transformer", "transformer_2"))
    assert (low_told.alpha, low_told.frame_rate, low_told.reference_scale) == (2.0, 24, 2)
    words = ("adapter", "import", tmp_path / "b.safetensors", "-o", tmp_path / "alone", "--expert", "low-noise")
    said = realmaster(*words, *base, "--reference", "cached")
    assert said.code == 0, said.err
    assert read_metadata(tmp_path / "alone_low_noise.safetensors").all_experts == ("transformer_2",)


def test_merge_writes_both_experts_of_the_base_it_finds(realmaster: Call, tmp_path: Path) -> None:
    write_pair(tmp_path / "adapter")
    base = write_wan22(tmp_path / "wan")
    words = ("adapter", "export", tmp_path / "adapter", "--format", "merge", "--model-dir", base)
    said = realmaster(*words, "-o", tmp_path / "merged")
    assert said.code == 0, said.err
    for part in ("transformer", "transformer_2"):
        assert (tmp_path / "merged" / part / "diffusion_pytorch_model.safetensors.index.json").is_file()
    said = realmaster(*words, "-o", base)
    assert said.code == 2
    assert "other than the input" in said.err


def refused(said: object, *words: str) -> None:
    assert said.code == 2, (said.out, said.err)
    assert len(said.err.strip().splitlines()) == 1, said.err
    for word in words:
        assert word in said.err, said.err


def test_bad_files_are_refused_in_one_line(realmaster: Call, tmp_path: Path) -> None:
    good = write_single(tmp_path / "adapter.safetensors")
    refused(realmaster("adapter", "inspect", tmp_path / "none.safetensors"), "none.safetensors, found none")
    pickled = tmp_path / "pickled.safetensors"
    pickled.write_bytes(pickle.dumps({"weight": [0.0]}))
    refused(realmaster("adapter", "inspect", pickled), "pickled.safetensors", "never opened")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(good.read_bytes()[:-40])
    refused(realmaster("adapter", "export", cut, "--format", "comfyui", "-o", tmp_path / "o"), "cut", "corrupt")
    other = tmp_path / "other.safetensors"
    save_file({"lora_unet_double_blocks_0_img_attn_qkv.alpha": torch.zeros(1)}, other)
    words = ("adapter", "import", other, "-o", tmp_path / "o", "--profile", "nano", "--reference", "cached")
    refused(realmaster(*words), "lora_unet_double_blocks_0_img_attn_qkv.alpha")
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(good), bare)
    refused(realmaster("adapter", "import", bare, "-o", tmp_path / "o"), "--profile and --reference")
    refused(realmaster("adapter", "export", bare, "--format", "merge", "-o", tmp_path / "o"), "adapter import")
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter.safetensors", "pickled.safetensors", "cut.safetensors", "other.safetensors", "bare.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize("command", [("export", "--format", "kohya"), ("import",)])
@pytest.mark.parametrize("output", [".", "./", "", "..", "empty/", "empty/.."])
def test_a_folder_is_no_name_for_an_adapter(
    realmaster: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], output: str
) -> None:
    (tmp_path / "here" / "empty").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    refused(realmaster("adapter", *command, NANO, "-o", output), "expected the name of an adapter, got a folder")
    assert [path.name for path in tmp_path.rglob("*")] == ["here", "empty"]


def test_a_folder_in_the_place_of_an_adapter_is_refused_and_stays(realmaster: Call, tmp_path: Path) -> None:
    (tmp_path / "k.safetensors" / "mine").mkdir(parents=True)
    words = ("adapter", "export", NANO, "--format", "kohya", "-o", tmp_path / "k", "--overwrite")
    refused(realmaster(*words), "k.safetensors: expected a file to replace, found a folder")
    assert (tmp_path / "k.safetensors" / "mine").is_dir()


def test_an_adapter_of_rank_zero_is_refused(realmaster: Call, tmp_path: Path) -> None:
    name = "transformer.blocks.0.attn1.to_q"
    save_file({f"{name}.lora_A.weight": torch.zeros(0, 8), f"{name}.lora_B.weight": torch.zeros(8, 0)},
              tmp_path / "none.safetensors")  # fmt: skip
    refused(realmaster("adapter", "inspect", tmp_path / "none.safetensors"), "rank", "at least 1", "[0, 8] and [8, 0]")


def test_options_without_effect_and_unknown_ones_are_refused(realmaster: Call, tmp_path: Path) -> None:
    export = ("adapter", "export", NANO, "-o", tmp_path / "o", "--format")
    refused(realmaster(*export, "comfyui", "--strength", "0.5"), "--strength has no effect")
    refused(realmaster(*export, "webui"), "webui")
    refused(realmaster("adapter", "import", NANO, "-o", tmp_path / "o", "--low-noise", NANO, "--expert", "low-noise"))
    refused(realmaster("adapter", "inspect", NANO, "--profile", "wan3"), "wan3")
    refused(realmaster(*export, "merge", "--model-dir", tmp_path / "nowhere"), "nowhere")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "from realmaster.cli.main import main\nimport sys\n"
        "for name in ('inspect', 'export', 'import'): main(['adapter', name, '--help'])\n"
        "print(*{'torch', 'diffusers', 'peft', 'numpy', 'safetensors'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == ""
