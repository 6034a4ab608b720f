"""Editors of other people, on tiny checkpoints of their real layout: the stock pipeline runs, and is told the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import WanVideoToVideoPipeline
from diffusers.models.controlnets import controlnet_cosmos
from diffusers.models.transformers import transformer_cosmos
from PIL import Image

from baseline_layouts import write_cosmos, write_ditto, write_lucy
from realmaster.errors import AdapterError, ConfigError, MediaError, MissingWeightsError
from realmaster.evaluation.baselines import cosmos_transfer
from realmaster.evaluation.baselines.baseline import RenderedClip
from realmaster.evaluation.baselines.ditto import add_lora, even_steps, read_vace_lora
from realmaster.evaluation.baselines.registry import make_baseline
from realmaster.evaluation.baselines.stock import as_frames, as_images, embeddings_of, generator_of
from realmaster.models.loading import load_profile_models
from realmaster.models.profiles import load_profile
from realmaster.pipelines.sampling import Stopwatch, WindowSampler
from realmaster.pipelines.schedule import build_scheduler
from sample_clips import scene
from vace_layout import write_vace
from wan_layout import write_wan21, write_wan22

# diffusers' UniPC with the published Cosmos settings turns a tensor into an array in numpy's old way
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
Frames = npt.NDArray[np.uint8]
FRAMES = scene(5, 96, 64)
SMALL = {"height": 64, "width": 96, "dtype": "float32", "vae_tiling": False, "num_inference_steps": 2}


def clip_of(frames: Frames = FRAMES, **values: Any) -> RenderedClip:
    return RenderedClip(
        **{"name": "c0", "frames": frames, "rate": Fraction(16), "prompt": "a street", "seed": 7} | values
    )


@pytest.fixture(scope="module")
def lucy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lucy(tmp_path_factory.mktemp("lucy") / "checkpoint")


@pytest.fixture(scope="module")
def vace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_vace(tmp_path_factory.mktemp("vace") / "checkpoint")


@pytest.fixture(scope="module")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cosmos")
    write_cosmos(folder / "base", folder / "edge")
    return folder / "base", folder / "edge"


def test_lucy_edit_is_the_stock_pipeline_with_its_authors_settings(lucy: Path) -> None:
    baseline = make_baseline("lucy-edit", {"model_dir": lucy, **SMALL}, device="cpu")
    edited = baseline.translate(clip_of())
    stock = baseline._pipeline
    expected = stock(
        video=as_images(FRAMES), height=64, width=96, num_frames=5, num_inference_steps=2, guidance_scale=5.0,
        generator=torch.Generator("cpu").manual_seed(7),
        **embeddings_of(stock, "a street", "", guided=True),
    ).frames[0]  # fmt: skip
    assert np.array_equal(edited, as_frames(expected))
    assert type(stock).__name__ == "LucyEditPipeline"
    assert stock.config.expand_timesteps
    assert stock.scheduler.config.flow_shift == 5.0
    assert not np.array_equal(edited, baseline.translate(clip_of(seed=8)))
    assert baseline.lacking() is None
    assert len(baseline.describe()["weights"]) == 16


def test_the_settings_are_those_of_the_authors() -> None:
    lucy, ditto = make_baseline("lucy-edit").settings, make_baseline("ditto-global").settings
    cosmos = make_baseline("cosmos-transfer2.5").settings
    assert (lucy.width, lucy.height, lucy.num_frames, lucy.num_inference_steps) == (832, 480, 81, 50)
    assert (lucy.guidance_scale, lucy.negative_prompt) == (5.0, "")
    assert (ditto.num_frames, ditto.num_inference_steps, ditto.guidance_scale, ditto.shift) == (73, 50, 5.0, 5.0)
    assert (cosmos.frames_per_chunk, cosmos.height, cosmos.width, cosmos.control) == (93, 704, 1280, "edge")
    assert (cosmos.num_inference_steps, cosmos.guidance_scale) == (36, 3.0)


def test_a_clip_of_another_size_and_length_comes_back_as_it_went_in(lucy: Path) -> None:
    small = SMALL | {"num_frames": 5, "num_inference_steps": 1}
    frames = scene(7, 50, 70)  # upright, not in whole tokens, longer than a part
    edited = make_baseline("lucy-edit", {"model_dir": lucy, **small}, device="cpu").translate(clip_of(frames))
    assert edited.shape == frames.shape


def test_a_folder_of_another_pipeline_or_cut_short_is_refused(lucy: Path, vace: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a checkpoint of LucyEditPipeline, found one of WanVACEPipeline"):
        make_baseline("lucy-edit", {"model_dir": vace, **SMALL}, device="cpu").translate(clip_of())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model_index.json").write_text((lucy / "model_index.json").read_text())
    with pytest.raises(MissingWeightsError, match="expected whole weights"):
        make_baseline("lucy-edit", {"model_dir": broken, **SMALL}, device="cpu").translate(clip_of())
    with pytest.raises(ConfigError, match="expected offload none on cpu"):
        make_baseline("lucy-edit", {"model_dir": lucy, "offload": "model"}, device="cpu").translate(clip_of())


def test_ditto_gives_the_render_to_vace_and_its_lora_to_the_control_branch(vace: Path, tmp_path: Path) -> None:
    write_ditto(tmp_path / "ditto_sim2real.safetensors")
    values = {"model_dir": vace, "lora": tmp_path / "ditto_sim2real.safetensors", **SMALL}
    baseline = make_baseline("ditto-sim2real", values, device="cpu")
    assert baseline.ask("anything") == "Turn it into the real domain"
    edited = baseline.translate(clip_of())
    stock = baseline._pipeline
    negative = load_profile("wan2.1-1.3b").sampling.negative_prompt
    expected = stock(
        video=as_images(FRAMES), mask=[Image.new("L", (96, 64), 255)] * 5, height=64, width=96, num_frames=5,
        num_inference_steps=2, guidance_scale=5.0, generator=generator_of(7),
        **embeddings_of(stock, "a street", negative, guided=True),
    ).frames[0]  # fmt: skip
    assert np.array_equal(edited, as_frames(expected))  # no mask means: redraw all of it
    without = make_baseline("ditto-sim2real", values | {"lora_weight": 0.0}, device="cpu").translate(clip_of())
    assert not np.array_equal(edited, without)


def test_dittos_lora_adds_b_a_to_the_weights_of_the_same_places(vace: Path, tmp_path: Path) -> None:
    from diffusers import WanVACETransformer3DModel

    tensors = write_ditto(tmp_path / "lora.safetensors")
    plain = WanVACETransformer3DModel.from_pretrained(vace / "transformer")
    places = {
        "vace_blocks.1.attn1.to_out.0": "vace_blocks.1.self_attn.o",
        "vace_blocks.0.attn2.to_k": "vace_blocks.0.cross_attn.k",
        "vace_blocks.0.ffn.net.2": "vace_blocks.0.ffn.2",
    }
    for module, key in places.items():
        model = WanVACETransformer3DModel.from_pretrained(vace / "transformer")
        add_lora(model, tmp_path / "lora.safetensors", 1.0)
        before, after = plain.get_submodule(module), model.get_submodule(module)
        x = torch.randn(4, before.in_features, generator=torch.Generator().manual_seed(0))
        down, up = (tensors[f"{key}.lora_{side}.default.weight"] for side in "AB")
        torch.testing.assert_close(after(x), before(x) + x @ down.T @ up.T)


def test_a_lora_of_something_else_is_refused(vace: Path, tmp_path: Path) -> None:
    from diffusers import WanVACETransformer3DModel
    from safetensors.torch import save_file

    save_file({"blocks.0.self_attn.q.lora_A.weight": torch.zeros(2, 48)}, tmp_path / "plain.safetensors")
    with pytest.raises(AdapterError, match="expected a LoRA on VACE's blocks"):
        read_vace_lora(tmp_path / "plain.safetensors")
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    with pytest.raises(AdapterError, match="could not read it"):
        read_vace_lora(tmp_path / "noise.safetensors")
    save_file(
        {f"vace_blocks.0.self_attn.q.lora_{side}.weight": torch.zeros(2, 2) for side in "AB"},
        tmp_path / "w.safetensors",
    )
    with pytest.raises(AdapterError, match="it does not fit"):
        add_lora(WanVACETransformer3DModel.from_pretrained(vace / "transformer"), tmp_path / "w.safetensors", 1.0)


def test_dittos_steps_are_even_before_the_shift() -> None:
    scheduler = even_steps(5.0)
    scheduler.set_timesteps(4)
    expected = [5 * sigma / (1 + 4 * sigma) for sigma in (1.0, 0.75, 0.5, 0.25)]
    assert scheduler.sigmas.tolist() == pytest.approx([*expected, 0.0])


class Guardrail(torch.nn.Module):
    """Lets pass what the test wants; counts what it saw."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, *, text: bool = True, video: bool = True) -> None:
        super().__init__()
        self.text, self.video, self.prompts = text, video, []
        self.num_videos = 0

    def check_text_safety(self, prompt: str) -> bool:
        self.prompts.append(prompt)
        return self.text

    def check_video_safety(self, frames: Frames) -> Frames | None:
        self.num_videos += 1
        return frames if self.video else None


class Transforms:
    """torchvision's resize, where that package is absent: diffusers' Cosmos resizes an empty mask with it."""

    class functional:  # noqa: N801 - torchvision's name
        @staticmethod
        def resize(tensor: torch.Tensor, size: Any, **settings: Any) -> torch.Tensor:
            return torch.nn.functional.interpolate(tensor, tuple(size), mode="nearest")

    class InterpolationMode:
        NEAREST = "nearest"


def cosmos_of(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, guardrail: Guardrail, **more: Any) -> Any:
    monkeypatch.setattr(cosmos_transfer.CosmosTransfer, "_guardrail", lambda self: guardrail)
    for module in (controlnet_cosmos, transformer_cosmos):
        if not hasattr(module, "transforms"):
            monkeypatch.setattr(module, "transforms", Transforms, raising=False)
    values = {"model_dir": folders[0], "controlnet_dir": folders[1], **SMALL, "frames_per_chunk": 9, **more}
    return make_baseline("cosmos-transfer2.5", values, device="cpu")


def test_cosmos_draws_along_the_edges_of_the_render(cosmos: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    guardrail = Guardrail()
    baseline = cosmos_of(cosmos, monkeypatch, guardrail)
    drawn = baseline.translate(clip_of())
    assert drawn.shape == FRAMES.shape
    assert guardrail.prompts[0] == "a street"
    assert guardrail.num_videos == 1
    assert baseline.ask("rain") == "A realistic video filmed by a camera: rain"
    edges = cosmos_transfer.edges_of(FRAMES, 100, 200)
    assert set(np.unique(edges)) == {0, 255}
    assert edges.mean() < 64  # light lines on dark
    stock = baseline._pipeline(
        controls=as_images(edges), prompt="a street", height=64, width=96, num_frames=5, num_frames_per_chunk=9,
        num_inference_steps=2, generator=generator_of(7), output_type="np",
    ).frames[0]  # fmt: skip
    assert np.array_equal(drawn, as_frames(stock))


def test_cosmos_takes_controls_of_ones_own(
    cosmos: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, save: Any, tmp_path: Path
) -> None:
    edges = cosmos_transfer.edges_of(FRAMES, 100, 200)
    save("controls/c0.mkv", edges)
    own = {"control": "own", "controls": f"{tmp_path}/controls/{{clip}}.mkv"}
    same = cosmos_of(cosmos, monkeypatch, Guardrail(), **own).translate(clip_of())
    assert np.array_equal(same, cosmos_of(cosmos, monkeypatch, Guardrail()).translate(clip_of()))
    (tmp_path / "controls" / "c0.mkv").unlink()
    save("controls/c0.mkv", edges[:2])
    with pytest.raises(MediaError, match="expected 5 frames of controls, got 2"):
        cosmos_of(cosmos, monkeypatch, Guardrail(), **own).translate(clip_of())


def test_what_the_guardrail_refuses_is_said_and_not_passed_off_as_a_black_clip(
    cosmos: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="a prompt that the guardrail lets pass"):
        cosmos_of(cosmos, monkeypatch, Guardrail(text=False)).translate(clip_of())
    with pytest.raises(MediaError, match="a video that the guardrail lets pass"):
        cosmos_of(cosmos, monkeypatch, Guardrail(video=False)).translate(clip_of())


def test_cosmos_asks_for_nvidias_guardrail(cosmos: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosmos_transfer, "find_spec", lambda name: None)
    baseline = make_baseline("cosmos-transfer2.5", {"model_dir": cosmos[0], "controlnet_dir": cosmos[1]})
    assert "pip install 'realmaster[cosmos]'" in str(baseline.lacking())


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_sdedit_on_one_transformer_is_the_stock_video_to_video_pipeline(tmp_path: Path, strength: float) -> None:
    folder = write_wan21(tmp_path / "wan2.1-1.3b")
    changes = {"size.height": 64, "size.width": 96, "size.buckets": [], "window.num_frames": 9, "window.overlap": 5,
               "memory.dtype": "float32"}  # fmt: skip
    values = {"profile": "wan2.1-1.3b", "model_dir": folder, "changes": changes, "num_inference_steps": 4,
              "strength": strength}  # fmt: skip
    baseline = make_baseline("sdedit", values, device="cpu")
    edited = baseline.translate(clip_of())
    profile = baseline._profile
    stock = WanVideoToVideoPipeline.from_pretrained(folder, dtype=torch.float32)
    stock.vae = baseline._models.autoencoder
    stock.scheduler = build_scheduler(profile.sampling.model_copy(update={"num_inference_steps": 4}))
    stock.set_progress_bar_config(disable=True)
    texts = embeddings_of(stock, "a street", profile.sampling.negative_prompt, guided=True)
    expected = stock(
        video=as_images(FRAMES), height=64, width=96, num_inference_steps=4, strength=strength,
        guidance_scale=profile.sampling.guidance_scale, generator=generator_of(7), **texts,
    ).frames[0]  # fmt: skip
    assert np.abs(edited.astype(int) - as_frames(expected)).max() <= 1  # rounding of pixels
    assert np.abs(edited.astype(int) - FRAMES).mean() > 2


def test_beginning_at_a_step_is_going_on_from_there_whichever_expert_it_is(tmp_path: Path) -> None:
    changes = {"size.height": 64, "size.width": 96, "size.buckets": [], "window.num_frames": 9, "window.overlap": 5,
               "memory.dtype": "float32", "memory.offload": "none", "sampling.scheduler": "euler",
               "sampling.num_inference_steps": 6}  # fmt: skip
    profile = load_profile("wan2.2-a14b", model_dir=write_wan22(tmp_path / "wan"), changes=changes)
    models = load_profile_models(profile)[0]
    sampler = WindowSampler(models, mode="off", spatial_scale=1, sampling=profile.sampling, seed=1)
    denoiser, prompt = sampler.denoiser, sampler.encode_prompt("a street", "")
    seen = []
    velocity = denoiser._velocity

    def watched(name: str, latents: torch.Tensor, *others: Any) -> torch.Tensor:
        if not seen or not torch.equal(seen[-1][1], latents):
            seen.append((name, latents.clone()))
        return velocity(name, latents, *others)

    denoiser._velocity = watched
    whole = denoiser.sample(denoiser.draw_noise((1, 16, 2, 8, 12)), None, prompt, Stopwatch(), held=None)
    denoiser._velocity = velocity
    assert len(seen) == 6
    assert [name for name, _ in seen] == ["transformer"] * 4 + ["transformer_2"] * 2
    for step in (1, 4, 5):
        again = denoiser.sample(seen[step][1], None, prompt, Stopwatch(), held=None, first_step=step)
        assert torch.equal(again, whole)


def test_the_further_sdedit_noises_the_more_it_changes() -> None:
    near = make_baseline("sdedit", {"strength": 0.2, "num_inference_steps": 5}, device="cpu").translate(clip_of())
    far = make_baseline("sdedit", {"strength": 1.0, "num_inference_steps": 5}, device="cpu").translate(clip_of())
    change = [np.abs(frames.astype(int) - FRAMES).mean() for frames in (near, far)]
    assert change[0] < change[1]
