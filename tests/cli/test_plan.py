from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realmaster.models.profiles import load_profile


def test_a_plan_is_printed_before_anything_is_loaded(realmaster: Any, clip: Path) -> None:
    said = realmaster("plan", clip, "--memory", "8", "--tflops", "1")
    assert (said.code, said.err) == (0, "")
    for words in (
        "nano on cuda",
        "9 frames of 64x48",
        "tokens",
        "PFLOP",
        "weights",
        "reference",
        "peak",
        "estimate",
        "transfer",
    ):
        assert words in said.out
    assert "cannot run" not in said.out


def test_json_holds_the_same_for_this_machine(realmaster: Any, clip: Path) -> None:
    said = realmaster("plan", clip, "--device", "cpu", "--json", "--set", "sampling.num_inference_steps=3")
    values = json.loads(said.out)
    assert said.code == 0
    assert (values["device"], values["num_steps"], values["fits"]) == ("cpu", 3, True)
    assert values["seconds_total"] > 0


def test_not_enough_memory_is_one_line_with_the_plan_s_numbers(realmaster: Any, clip: Path) -> None:
    said = realmaster("plan", clip, "--memory", "0.1", "--tflops", "1")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert "expected 0.7 GB on cuda" in said.err
    assert "it has 0.1" in said.err
    assert said.out.startswith("nano cannot run so on cuda: it takes 0.7 GB of memory, there are 0.1 GB.\n")
    assert "windows" in said.out


def test_sizes_that_do_not_divide_are_refused_with_the_nearest(realmaster: Any, clip: Path, tmp_path: Path) -> None:
    for change, nearest in (("window.num_frames=8", "5 and 9"), ("size.width=130", "128 and 136")):
        said = realmaster("plan", clip, "--memory", "8", "--tflops", "1", "--set", change)
        assert said.code == 2
        assert said.err.count("\n") == 1
        assert f"the nearest are {nearest}" in said.err
    config = tmp_path / "train.yaml"
    for bucket, nearest in (("128x72x6", "5 or 9"), ("130x72x5", "128 or 136")):
        config.write_text(
            f"profile: nano\noutput: run\ndata: {{manifest: pairs, encode: {{buckets: [{bucket}]}}}}\n"
            "experts: {transformer: {num_steps: 100}}\n"
        )
        said = realmaster("plan", "--training", config, "--memory", "8", "--tflops", "1")
        assert said.code == 2
        assert f"choose {nearest}" in said.err


@pytest.mark.parametrize("profile", ["nano/vace", "wan2.1-1.3b/vace"])
def test_models_that_read_no_reference_have_no_plan(
    realmaster: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str
) -> None:
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(tmp_path))  # as published
    said = realmaster("plan", clip, "--profile", profile, "--memory", "80", "--tflops", "800")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "got WanVACETransformer3DModel: the reference is read by Wan text-to-video transformers only" in said.err


def test_what_translate_would_refuse_on_any_machine_is_not_planned(realmaster: Any, clip: Path) -> None:
    words = ("--memory", "80", "--tflops", "800", "--set", "memory.offload=experts")
    said = realmaster("plan", clip, *words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "expected memory.offload none or group for nano" in said.err


def test_an_empty_name_is_not_the_current_folder(realmaster: Any) -> None:
    said = realmaster("plan", "")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert "expected the name of a clip, got an empty one" in said.err


def test_input_or_training_is_asked_for(realmaster: Any, clip: Path) -> None:
    assert "give one of them" in realmaster("plan").err
    assert realmaster("plan", clip, "--training", "x.yaml").code == 2
    assert "no-such.mp4" in realmaster("plan", "no-such.mp4").err


def test_a_training_run_is_planned_from_its_config(realmaster: Any, tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(
        "profile: nano\noutput: run\ndata: {manifest: pairs, encode: {buckets: [128x72x5, 64x64x5]}}\n"
        "experts: {transformer: {num_steps: 100}}\n"
    )
    said = realmaster("plan", "--training", config, "--memory", "8", "--tflops", "1")
    assert said.code == 0, said.err
    for words in ("frozen base", "adapter and optimizer", "activations", "5 frames of 128x72", "100 steps"):
        assert words in said.out


def test_a_training_plan_is_of_the_settings_as_changed(realmaster: Any, tmp_path: Path) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(
        "profile: wan2.1-1.3b\noutput: run\ndata: {manifest: pairs, encode: {buckets: [128x64x5]}}\n"
        "experts: {transformer: {num_steps: 100}}\nadapter: {rank: 8}\n"
    )

    def plan(*words: str) -> dict[str, Any]:
        said = realmaster("plan", "--training", config, "--memory", "80", "--tflops", "800", "--json", *words)
        assert said.code == 0, said.err
        return json.loads(said.out)

    plain = plan()
    assert plan("--set", "experts.transformer.num_steps=7")["num_steps"] == 7
    assert plan("--set", "data.encode.buckets=[128x128x5]")["num_tokens"] == 2 * plain["num_tokens"]
    assert plan("--profile", "wan2.2-a14b")["profile"] == "wan2.2-a14b"
    half = "{memory.dtype: bfloat16}", "{memory.dtype: float32}"
    two, four = (plan("--set", f"profile_changes={changes}")["memory_gb"]["frozen base"] for changes in half)
    assert four > 1.9 * two
    nano = plan("--profile", "nano", "--model-dir", str(load_profile("nano").folder))
    assert nano["profile"] == "nano"
    for word, message in (
        ("seeed=3", "did you mean seed?"),
        ("profile_changes={memry.dtype: 1}", "did you mean memory?"),
    ):
        said = realmaster("plan", "--training", config, "--memory", "80", "--tflops", "800", "--set", word)
        assert (said.code, said.err.count("\n")) == (2, 1)
        assert message in said.err
