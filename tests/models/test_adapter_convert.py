"""Round trips through the formats of the field, foreign LoRAs brought in, and what is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from realmaster.errors import AdapterError, ConfigError, NumericalError, OutputError
from realmaster.models.adapter_convert import Facts, export_adapter, import_adapter
from realmaster.models.adapter_files import read_lora, write_lora
from realmaster.models.adapter_metadata import find_adapter, read_header, read_metadata
from realmaster.models.adapter_names import FORMATS
from realmaster.models.profiles import Profile, load_profile
from tiny_adapters import write_pair, write_single
from wan_layout import write_wan21

WAN21 = load_profile("wan2.1-1.3b")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """The profile, with a tiny base in the published layout."""
    return WAN21.at(write_wan21(tmp_path_factory.mktemp("wan")))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("alpha", [4.0, 3.0, 22.627416997969522], ids=["rank", "3/4", "no float32"])
def test_a_round_trip_gives_the_same_bits_and_the_same_words(tmp_path: Path, form: str, alpha: float) -> None:
    files = write_pair(tmp_path / "adapter", alpha=alpha)
    assert [file.name for file in files] == ["adapter_high_noise.safetensors", "adapter_low_noise.safetensors"]
    exported = export_adapter(tmp_path / "adapter", tmp_path / "theirs", form)
    back = import_adapter(find_adapter(exported[1]), tmp_path / "back", Facts())
    assert [file.name for file in back] == ["back_high_noise.safetensors", "back_low_noise.safetensors"]
    for file, again in zip(files, back, strict=True):
        ours, returned = load_file(file), load_file(again)
        assert ours.keys() == returned.keys()
        assert all(torch.equal(tensor, returned[name]) and tensor.dtype == returned[name].dtype
                   for name, tensor in ours.items())  # fmt: skip
        assert read_header(file) == read_header(again), "metadata and alpha too"
        assert read_lora(again).alpha == alpha


@pytest.mark.parametrize("form", FORMATS)
def test_a_foreign_lora_comes_in_with_the_facts_it_lacks(tmp_path: Path, form: str, tiny: Profile, caplog) -> None:
    adapter = write_single(tmp_path / "adapter.safetensors", alpha=2.0)
    (exported,) = export_adapter(adapter, tmp_path / "theirs.safetensors", form)
    save_file(load_file(exported), exported)  # what another trainer would have left: tensors alone
    facts = Facts(profile=tiny, reference="joint", alpha=None if form != "diffusers" else 2.0)
    with caplog.at_level(logging.WARNING):
        (back,) = import_adapter(find_adapter(exported), tmp_path / "back.safetensors", facts)
    assert not caplog.records, "nothing was guessed"
    told = read_metadata(back)
    assert (told.profile, told.base_model, told.base_revision) == (
        "wan2.1-1.3b", WAN21.checkpoint.hub, WAN21.checkpoint.revision,
    )  # fmt: skip
    assert (told.reference, told.alpha, told.rank, told.frame_rate) == ("joint", 2.0, 4, 16)
    ours, returned = load_file(adapter), load_file(back)
    assert all(torch.equal(ours[name], returned[name]) for name in ours)


def test_an_alpha_that_is_nowhere_said_is_taken_as_the_rank_with_a_warning(
    tmp_path: Path, tiny: Profile, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = write_single(tmp_path / "adapter.safetensors")
    save_file(load_file(adapter), tmp_path / "bare.safetensors")
    facts = Facts(profile=tiny, reference="cached")
    with caplog.at_level(logging.WARNING):
        (back,) = import_adapter(find_adapter(tmp_path / "bare.safetensors"), tmp_path / "back", facts)
    assert "taken as its rank, 4" in caplog.text
    assert read_metadata(back).alpha == 4


def test_missing_facts_are_named_and_contradicting_ones_refused(tmp_path: Path) -> None:
    adapter = write_single(tmp_path / "adapter.safetensors", alpha=2.0)
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(adapter), bare)
    output = tmp_path / "back.safetensors"
    with pytest.raises(AdapterError, match="--profile and --reference cached or joint"):
        import_adapter(find_adapter(bare), output, Facts())
    with pytest.raises(AdapterError, match="with --reference cached or joint"):
        import_adapter(find_adapter(bare), output, Facts(profile=WAN21))
    with pytest.raises(AdapterError, match="--reference joint"):
        import_adapter(find_adapter(adapter), output, Facts(reference="cached"))
    with pytest.raises(AdapterError, match="--alpha 2 as the file says, got 4"):
        import_adapter(find_adapter(adapter), output, Facts(alpha=4.0))
    with pytest.raises(AdapterError, match="low-noise expert: leave --expert"):
        import_adapter({"transformer_2": bare}, output, Facts(profile=WAN21, reference="cached"))
    with pytest.raises(AdapterError, match="base 'nano'"):
        import_adapter(find_adapter(adapter), output, Facts(profile=load_profile("nano")))
    assert not output.exists()


def test_sizes_are_checked_against_the_base_here_or_the_published_one(tmp_path: Path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_file(load_file(write_single(tmp_path / "adapter.safetensors")), bare)
    for profile in (load_profile("nano"), WAN21):
        with pytest.raises(AdapterError, match="does not fit"):
            import_adapter(find_adapter(bare), tmp_path / "o", Facts(profile=profile, reference="cached"))


def test_unknown_tensors_are_named_and_counted(tmp_path: Path) -> None:
    state = load_file(write_single(tmp_path / "adapter.safetensors"))
    path = tmp_path / "odd.safetensors"
    save_file({**state, "lora_te_a.alpha": torch.zeros(1), "lora_te_b.alpha": torch.zeros(1)}, path)
    with pytest.raises(AdapterError, match=r"odd\.safetensors: .*'lora_te_a\.alpha' and 1 more"):
        read_lora(path)
    save_file({"weight": torch.zeros(2, 2)}, path)
    with pytest.raises(AdapterError, match="got 'weight'"):
        read_lora(path)


def test_half_pairs_mixed_ranks_mixed_alphas_mixed_names_and_nan_are_refused(tmp_path: Path) -> None:
    path, q = tmp_path / "odd.safetensors", "blocks.0.attn1.to_q"
    down, up = torch.ones(4, 8), torch.ones(8, 4)
    good = {"transformer.blocks.0.attn1.to_k.lora_A.weight": down, "transformer.blocks.0.attn1.to_k.lora_B.weight": up}
    comfy = "diffusion_model.blocks.0.self_attn"
    cases = {
        "without lora_B does not fit": {f"transformer.{q}.lora_A.weight": down},
        "one rank in all modules": {
            f"transformer.{q}.lora_A.weight": torch.ones(2, 8), f"transformer.{q}.lora_B.weight": torch.ones(8, 2),
        },
        r"\[rank, in\] and \[out, rank\]": {
            f"transformer.{q}.lora_A.weight": down, f"transformer.{q}.lora_B.weight": torch.ones(8, 3),
        },
        "NaN or infinity": {
            f"transformer.{q}.lora_A.weight": down * torch.nan, f"transformer.{q}.lora_B.weight": up,
        },
        "under two names": {"blocks.0.attn1.to_k.lora_A.default.weight": down},
        "comfyui and diffusers": {f"{comfy}.q.lora_A.weight": down, f"{comfy}.q.lora_B.weight": up},
    }  # fmt: skip
    for said, more in cases.items():
        save_file({name: tensor.clone() for name, tensor in {**good, **more}.items()}, path)
        with pytest.raises(AdapterError, match=said):
            read_lora(path)
    alphas = {f"{comfy}.q.alpha": torch.tensor(2.0), f"{comfy}.k.alpha": torch.tensor(4.0)}
    pairs = {f"{comfy}.{m}.{p}.weight": t for m in "qk" for p, t in (("lora_down", down), ("lora_up", up))}
    save_file({name: tensor.clone() for name, tensor in {**pairs, **alphas}.items()}, path)
    with pytest.raises(AdapterError, match="one alpha in all modules"):
        read_lora(path)


def test_an_alpha_that_is_no_positive_number_is_refused(tmp_path: Path, tiny: Profile) -> None:
    (exported,) = export_adapter(write_single(tmp_path / "adapter"), tmp_path / "theirs", "kohya")
    state = load_file(exported)
    for alpha, said in ((0.0, "alpha: input should be greater than 0"), (torch.nan, "NaN or infinity"),
                        ((1.0, 2.0), "one number as the alpha")):  # fmt: skip
        alphas = {name: torch.tensor(alpha) for name in state if name.endswith(".alpha")}
        save_file({**state, **alphas}, exported)
        with pytest.raises((AdapterError, ConfigError), match=said):
            import_adapter(find_adapter(exported), tmp_path / "back", Facts(profile=tiny, reference="cached"))


def test_words_that_contradict_the_tensors_are_refused(tmp_path: Path) -> None:
    adapter = write_single(tmp_path / "adapter.safetensors")
    header, state = read_header(adapter), load_file(adapter)
    words = json.loads(header["realmaster"])
    save_file(state, adapter, metadata={**header, "realmaster": json.dumps({**words, "rank": 8})})
    with pytest.raises(AdapterError, match=r"rank 8 .* the tensors have 4"):
        read_lora(adapter)
    save_file(state, adapter, metadata={**header, "realmaster": json.dumps({**words, "colour": "red"})})
    with pytest.raises(AdapterError, match=r"metadata that this version reads: .*colour"):
        read_lora(adapter)


def test_outputs_are_whole_and_replace_nothing_unasked(tmp_path: Path) -> None:
    adapter = write_single(tmp_path / "adapter.safetensors")
    with pytest.raises(OutputError, match="other than the input"):
        export_adapter(adapter, adapter, "diffusers", overwrite=True)
    export_adapter(adapter, tmp_path / "out", "kohya")
    before = (tmp_path / "out.safetensors").read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        export_adapter(adapter, tmp_path / "out", "comfyui")
    assert (tmp_path / "out.safetensors").read_bytes() == before
    lora = read_lora(adapter)
    next(iter(lora.pairs.values()))[0][0, 0] = torch.inf
    with pytest.raises(NumericalError, match="NaN or infinity"):
        write_lora(lora, tmp_path / "broken.safetensors", "diffusers")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter.safetensors", "out.safetensors"}


def test_an_adapter_is_found_by_either_file_by_its_name_and_by_its_folder(tmp_path: Path) -> None:
    high, low = write_pair(tmp_path / "run" / "adapter.safetensors")
    both = {"transformer": high, "transformer_2": low}
    for path in (high, low, tmp_path / "run", tmp_path / "run" / "adapter", tmp_path / "run" / "adapter.safetensors"):
        assert find_adapter(path) == both
    low.unlink()
    with pytest.raises(AdapterError, match=r"adapter_low_noise\.safetensors, found none"):
        find_adapter(low)
    write_single(tmp_path / "run" / "other")
    with pytest.raises(AdapterError, match="expected one adapter in the folder"):
        find_adapter(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AdapterError, match="found none"):
        find_adapter(tmp_path / "empty")


def test_a_name_that_speaks_of_noise_does_not_make_an_adapter_one_of_two(tmp_path: Path) -> None:
    scene = write_single(tmp_path / "adapter").rename(tmp_path / "my_low_noise_scene.safetensors")
    assert find_adapter(scene) == {"transformer": scene}
    high, low = write_pair(tmp_path / "pair")
    high.unlink()
    assert find_adapter(low) == {"transformer_2": low}
    renamed = write_pair(tmp_path / "other")[0].rename(tmp_path / "third_low_noise.safetensors")
    assert find_adapter(renamed) == {"transformer_2": renamed}, "which the loader refuses by its metadata"
