"""Prompts to text embeddings, as the Wan pipelines make them: cut to a length, zero beyond the last token.

Letters: B prompts, L tokens, D width.
"""

from __future__ import annotations

import html
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


def encode_prompts(tokenizer: Any, text_encoder: Any, prompts: Sequence[str], *, max_length: int) -> Tensor:
    """Encode prompts to [B, L, D]; embeddings beyond a prompt's end are zero (diffusers `WanPipeline`).

    White space is reduced to single blanks first, as the official code does. A prompt longer than `max_length` tokens
    is cut, with a warning that says how much was lost.
    """
    prompts = [" ".join(html.unescape(prompt).split()) for prompt in prompts]
    lengths = [len(ids) for ids in tokenizer(list(prompts), truncation=False)["input_ids"]]
    if max(lengths) > max_length:
        logger.warning("prompt cut: it has %d tokens, the text encoder reads %d", max(lengths), max_length)
    tokens = tokenizer(
        list(prompts),
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


@torch.no_grad()
def null_embedding(tokenizer: Any, text_encoder: Any, *, max_length: int) -> Tensor:
    """Encode the empty prompt: [1, L, D]. The reference stream reads it, so that one cache serves every prompt."""
    return encode_prompts(tokenizer, text_encoder, [""], max_length=max_length)
