"""Prompts to embeddings."""

import logging

import pytest
import torch

from realmaster.models.nano import TextEncoderSizes
from realmaster.models.text import build_tokenizer, describe_cuts, encode_prompts

SIZES = TextEncoderSizes(d_model=16, num_heads=2, vocab_size=400, max_length=12)


@pytest.fixture(scope="module")
def parts() -> tuple[object, object]:
    torch.manual_seed(0)
    tokenizer = build_tokenizer(["heavy rain on a street", "overcast day"], vocab_size=400, max_length=12)
    return tokenizer, SIZES.build().eval()


def test_embeddings_are_zero_beyond_the_end_of_a_prompt(parts: tuple[object, object]) -> None:
    with torch.no_grad():
        embeddings = encode_prompts(*parts, ["overcast day", ""], max_length=12)
    assert embeddings.shape == (2, 12, 16)
    assert embeddings[0, 0].abs().sum() > 0
    assert embeddings[:, -1].abs().sum() == 0


def test_a_prompt_reads_the_same_alone_and_in_a_batch(parts: tuple[object, object]) -> None:
    with torch.no_grad():
        alone = encode_prompts(*parts, ["overcast day"], max_length=12)
        batch = encode_prompts(*parts, ["heavy rain on a street", "overcast day"], max_length=12)
    torch.testing.assert_close(alone[0], batch[1], atol=1e-5, rtol=1e-4)


def test_case_does_not_matter_and_any_language_is_read(parts: tuple[object, object]) -> None:
    with torch.no_grad():
        upper, lower, other = encode_prompts(*parts, ["Overcast Day", "overcast day", "雨"], max_length=12)
    torch.testing.assert_close(upper, lower)
    assert not torch.allclose(other, lower)


def test_a_long_prompt_is_cut_with_a_warning_that_says_what_to_do(
    parts: tuple[object, object], caplog: pytest.LogCaptureFixture
) -> None:
    prompts = ["rain " * 50, "overcast day", "snow " * 50]
    with caplog.at_level(logging.WARNING), torch.no_grad():
        embeddings = encode_prompts(*parts, prompts, max_length=12)
        (record,) = caplog.records
        encode_prompts(*parts, prompts, max_length=12, told=set(prompts))
    assert caplog.records == [record]
    assert embeddings.shape == (3, 12, 16)
    assert "reads the first 12: shorten it, what comes first counts (1 more were cut)" in caplog.text
    assert "sequence-length-is-longer-than-the-specified-maximum" not in parts[0].deprecation_warnings
    rain, snow = describe_cuts(parts[0], prompts, max_length=12)
    assert rain.startswith("prompt 'rain rain rain rain rain rain rain ...': it has 51 tokens")
    assert "'snow" in snow
