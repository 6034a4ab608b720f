"""The names that LoRA tensors of Wan have in diffusers, ComfyUI and Kohya's trainers, and how one turns into another.

Separate because these are facts about other programs and hold no tensors. Sources: diffusers'
`loaders/lora_conversion_utils.py` (Wan), ComfyUI's `comfy/lora.py` (any weight's own name under `diffusion_model.`, or
under `lora_unet_` with underscores), musubi-tuner's `networks/lora.py` and `convert_lora.py`.

    diffusers  transformer.blocks.0.attn1.to_q.lora_A.weight         alpha in the file's header, absent is the rank
    comfyui    diffusion_model.blocks.0.self_attn.q.lora_A.weight    .alpha beside it, absent is the rank
    kohya      lora_unet_blocks_0_self_attn_q.lora_down.weight       .alpha always
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

Format = Literal["diffusers", "comfyui", "kohya"]
FORMATS: tuple[Format, ...] = ("diffusers", "comfyui", "kohya")
Part = Literal["down", "up", "alpha"]
DIFFUSERS_PREFIX = "transformer."

_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}
_IN_BLOCK = {
    **{f"attn1.{theirs}": f"self_attn.{original}" for theirs, original in _ATTENTION.items()},
    **{f"attn2.{theirs}": f"cross_attn.{original}" for theirs, original in _ATTENTION.items()},
    "attn2.add_k_proj": "cross_attn.k_img",
    "attn2.add_v_proj": "cross_attn.v_img",
    "ffn.net.0.proj": "ffn.0",
    "ffn.net.2": "ffn.2",
}
_OUTSIDE = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "proj_out": "head.head",
}
_BLOCK_TO_DIFFUSERS = {original: theirs for theirs, original in _IN_BLOCK.items()}
_OUTSIDE_TO_DIFFUSERS = {original: theirs for theirs, original in _OUTSIDE.items()}
_PARTS: dict[str, Part] = {"lora_A": "down", "lora_down": "down", "lora_B": "up", "lora_up": "up"}

_DOTTED = re.compile(
    r"(?:transformer\.|diffusion_model\.|base_model\.model\.|pipe\.dit\.)?(?P<module>[\w.]+?)"
    r"\.(?:(?P<part>lora_A|lora_B|lora_down|lora_up)(?:\.default)?\.weight|alpha)"
)
_UNDERSCORED = re.compile(r"lora_unet_(?P<module>\w+)\.(?:(?P<part>lora_down|lora_up)\.weight|alpha)")
_BLOCK = re.compile(r"blocks\.(?P<number>\d+)\.(?P<rest>.+)")
_BLOCK_UNDERSCORED = re.compile(r"blocks_(?P<number>\d+)_(?P<rest>.+)")


class LoraKey(NamedTuple):
    """One tensor of a LoRA: the module of the diffusers transformer that it changes, and which tensor it is."""

    module: str
    part: Part


def read_key(key: str) -> tuple[LoraKey, Format] | None:
    """Read a tensor's name in any of the formats; None for a name that is no LoRA of a Wan transformer.

    Prefixes that other trainers leave out or write differently (none, `base_model.model.`, `pipe.dit.`, `.default`)
    are read too: what tells the formats apart is how the modules are called.
    """
    if match := _UNDERSCORED.fullmatch(key):
        module = _from_underscored(match["module"])
        return None if module is None else (LoraKey(module, _part(match["part"])), "kohya")
    if match := _DOTTED.fullmatch(key):
        if to_original(match["module"]) is not None:
            return LoraKey(match["module"], _part(match["part"])), "diffusers"
        module = from_original(match["module"])
        return None if module is None else (LoraKey(module, _part(match["part"])), "comfyui")
    return None


def write_key(key: LoraKey, form: Format) -> str:
    """Name a tensor in a format; diffusers has no name for an alpha and keeps it in the header."""
    if form == "diffusers":
        assert key.part != "alpha", "diffusers keeps alpha in the header"
        return f"{DIFFUSERS_PREFIX}{key.module}.{'lora_A' if key.part == 'down' else 'lora_B'}.weight"
    original = to_original(key.module)
    assert original is not None, f"{key.module} was read by read_key and has an original name"
    if form == "comfyui":
        end = {"down": "lora_A.weight", "up": "lora_B.weight", "alpha": "alpha"}[key.part]
        return f"diffusion_model.{original}.{end}"
    end = {"down": "lora_down.weight", "up": "lora_up.weight", "alpha": "alpha"}[key.part]
    return f"lora_unet_{original.replace('.', '_')}.{end}"


def to_original(module: str) -> str | None:
    """Give the name that a module of diffusers has in Wan's own code; None where there is none."""
    if match := _BLOCK.fullmatch(module):
        inner = _IN_BLOCK.get(match["rest"])
        return None if inner is None else f"blocks.{match['number']}.{inner}"
    return _OUTSIDE.get(module)


def from_original(name: str) -> str | None:
    """Give the module of diffusers for a name in Wan's own code; None where there is none."""
    if match := _BLOCK.fullmatch(name):
        inner = _BLOCK_TO_DIFFUSERS.get(match["rest"])
        return None if inner is None else f"blocks.{match['number']}.{inner}"
    return _OUTSIDE_TO_DIFFUSERS.get(name)


def _from_underscored(name: str) -> str | None:
    if match := _BLOCK_UNDERSCORED.fullmatch(name):
        for original, inner in _BLOCK_TO_DIFFUSERS.items():
            if original.replace(".", "_") == match["rest"]:
                return f"blocks.{match['number']}.{inner}"
        return None
    return next(
        (theirs for original, theirs in _OUTSIDE_TO_DIFFUSERS.items() if original.replace(".", "_") == name), None
    )


def _part(word: str | None) -> Part:
    return "alpha" if word is None else _PARTS[word]
