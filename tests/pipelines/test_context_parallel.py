"""Two processes share one clip's tokens: the reference's cache is a half in each, and the latents are the same."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from realmaster.errors import ConfigError
from realmaster.models.context_parallel import check_context_parallel, check_shares, join_processes
from realmaster.models.memory_settings import MemorySettings
from realmaster.models.profiles import load_profile
from wan_layout import write_wan21

# diffusers counts accelerators before it shares; here it is told that each process has one, and gloo does the exchange
SHARED = """
import os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
from torch import distributed
from realmaster.models.context_parallel import is_first, share_tokens
from realmaster.models.loading import load_profile_models
from realmaster.models.memory_settings import MemorySettings
from realmaster.models.profiles import load_profile
from realmaster.pipelines.denoise import Denoiser, Prompt
from realmaster.pipelines.stopwatch import Stopwatch

torch.accelerator.device_count = lambda: 1
distributed.init_process_group("gloo", init_method=sys.argv[2], rank=int(sys.argv[3]), world_size=2)
changes = {
    "size.height": 64, "size.width": 96, "size.buckets": [], "sampling.num_inference_steps": 3,
    "memory.dtype": "float32", "memory.reference_cache.dtype": "computed",
}
profile = load_profile("wan2.1-1.3b", model_dir=Path(sys.argv[1]), changes=changes)
models, mode = load_profile_models(profile)
generator = torch.Generator().manual_seed(0)
reference = torch.randn(1, 16, 2, 8, 12, generator=generator)
prompt = Prompt(*[torch.randn(1, 512, 32, generator=generator) for _ in range(3)])

def sample(memory):
    denoiser = Denoiser(models, mode=mode, sampling=profile.sampling, memory=memory, seed=4)
    with torch.inference_mode():
        cache = denoiser.attentions["transformer"].encode(reference, prompt.reference)
    assert cache.layers[0][0].data.shape[1] == cache.grid.num_tokens // memory.context_parallel
    latents = denoiser.sample(denoiser.draw_noise((1, 16, 2, 8, 12)), reference, prompt, Stopwatch(), held=None)
    denoiser.remove()
    return latents

alone = sample(MemorySettings())
memory = MemorySettings(context_parallel=2)
share_tokens(models.transformer, memory)
shared = sample(memory)
torch.testing.assert_close(shared, alone, rtol=0, atol=1e-4)
assert (shared - reference).abs().max() > 0.1
assert is_first() == (sys.argv[3] == "0")
print("same", flush=True)
distributed.barrier()
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives_and_each_caches_half_of_the_reference(tmp_path: Path) -> None:
    folder = write_wan21(tmp_path / "wan2.1-1.3b")
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    pair = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder), meeting, str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = []
    for process in pair:
        try:
            said.append(process.communicate(timeout=240)[0])
        finally:
            process.kill()
    assert [process.returncode for process in pair] == [0, 0], said[0][-2000:] + said[1][-2000:]
    assert all("same" in words for words in said)


@pytest.mark.parametrize(
    ("settings", "device", "processes", "message"),
    [
        ({"context_parallel": 4}, "cpu", 4, "expected 4 CUDA devices .* got the CPU"),
        ({"context_parallel": 4}, "cuda", 1, "expected 4 processes .* got 1: run `torchrun --nproc-per-node 4"),
        ({"context_parallel": 2, "context_parallel_kind": "ring"}, "cuda", 2, "_native_cudnn.*ulysses"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    settings: dict, device: str, processes: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(ConfigError, match=message):
        check_context_parallel(MemorySettings(**settings), torch.device(device))


def test_several_processes_that_would_make_the_same_clip_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"all make the same clip; add --set memory\.context_parallel=2"):
        join_processes(MemorySettings(), "cpu")


@pytest.mark.parametrize("shape", [(1080, 1920), (540, 960), (1600, 1200), (800, 1920), (480, 832), (64, 2000)])
@pytest.mark.parametrize("degree", [2, 3, 4, 5, 8])
def test_a_clip_of_any_aspect_gets_a_size_whose_tokens_divide(shape: tuple[int, int], degree: int) -> None:
    size = load_profile("wan2.2-a14b").size
    alone = size.fit(*shape, stride=16)
    height, width = size.fit(*shape, stride=16, shares=degree)
    assert (height // 16) * (width // 16) % degree == 0
    assert height == alone[0]
    assert abs(width - alone[1]) <= 16 * degree // 2
    check_shares(MemorySettings(context_parallel=degree), num_tokens=21 * height * width // 256, num_heads=120)


def test_tokens_and_heads_have_to_divide() -> None:
    eight = MemorySettings(context_parallel=8)
    check_shares(eight, num_tokens=32_760, num_heads=40)
    with pytest.raises(ConfigError, match="divide among 8 processes, got 32761"):
        check_shares(eight, num_tokens=32_761, num_heads=40)
    with pytest.raises(ConfigError, match="heads that divide among 8 processes, got 12"):
        check_shares(eight, num_tokens=32_760, num_heads=12)
