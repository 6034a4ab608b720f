"""Prompts to text embeddings, as the Wan pipelines make them: cut to a length, zero beyond the last token.

Letters: B prompts, L tokens, D width.
"""

from __future__ import annotations

import html
import logging
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


def encode_prompts(
    tokenizer: Any, text_encoder: Any, prompts: Sequence[str], *, max_length: int, told: Collection[str] = ()
) -> Tensor:
    """Encode prompts to [B, L, D]; embeddings beyond a prompt's end are zero (diffusers `WanPipeline`).

    White space is reduced to single blanks first, as the official code does. A prompt longer than `max_length` tokens
    is cut; the log says so of those that are not in `told`.
    """
    untold = [prompt for prompt in prompts if prompt not in told]
    if cuts := describe_cuts(tokenizer, untold, max_length=max_length):
        logger.warning("%s%s", cuts[0], f" ({len(cuts) - 1} more were cut)" if cuts[1:] else "")
    tokens = tokenizer(
        _tidy(prompts),
        padding="max_length",
        max_length=max_length,
        truncation=True,
        add_special_tokens=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    ids, mask = tokens["input_ids"].to(text_encoder.device), tokens["attention_mask"].to(text_encoder.device)
    embeddings: Tensor = text_encoder(ids, attention_mask=mask).last_hidden_state
    return embeddings * mask[..., None].to(embeddings.dtype)


def describe_cuts(tokenizer: Any, prompts: Sequence[str], *, max_length: int) -> list[str]:
    """Say of each prompt that is longer than `max_length` tokens how long it is, and what to do."""
    if not prompts:
        return []
    tidy = _tidy(prompts)
    lengths = [len(ids) for ids in tokenizer(tidy, truncation=False, verbose=False)["input_ids"]]
    return [
        f"prompt {textwrap.shorten(prompt, 40, placeholder=' ...')!r}: it has {length} tokens, the text encoder reads "
        f"the first {max_length}: shorten it, what comes first counts"
        for prompt, length in zip(tidy, lengths, strict=True)
        if length > max_length
    ]


def build_tokenizer(captions: Sequence[str], *, vocab_size: int, max_length: int) -> Any:
    """Train a byte-level BPE tokenizer on captions; any text can be encoded, words it has seen in few tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=max_length,
    )


def _tidy(prompts: Sequence[str]) -> list[str]:
    return [" ".join(html.unescape(prompt).split()) for prompt in prompts]


@torch.no_grad()
def null_embedding(tokenizer: Any, text_encoder: Any, *, max_length: int) -> Tensor:
    """Encode the empty prompt: [1, L, D]. The reference stream reads it, so that one cache serves every prompt."""
    return encode_prompts(tokenizer, text_encoder, [""], max_length=max_length)
