"""How large nano is, and its untrained parts: the classes of the large models at toy size.

Separate because only training builds models from sizes; everyone else loads a folder through a profile.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from realmaster.config import Settings


class AutoencoderSizes(Settings):
    """Sizes of the video autoencoder (diffusers `AutoencoderKLWan` in Wan2.2's layout: patches, residual stages)."""

    base_dim: int = Field(16, ge=8, description="channels of the first stage")
    z_dim: int = Field(32, ge=4, description="latent channels")
    dim_mult: tuple[int, ...] = Field((1, 2, 2), description="channels of each stage, in base_dim")
    patch_size: int = Field(2, ge=1, description="pixels folded into channels before the first stage")

    def build(self) -> Any:
        """Make the untrained autoencoder: stride 4 in time, patch_size * 4 in space."""
        from diffusers import AutoencoderKLWan

        folded = 3 * self.patch_size**2
        return AutoencoderKLWan(
            base_dim=self.base_dim,
            z_dim=self.z_dim,
            dim_mult=list(self.dim_mult),
            num_res_blocks=1,
            temperal_downsample=[True] * (len(self.dim_mult) - 1),
            patch_size=self.patch_size,
            in_channels=folded,
            out_channels=folded,
            latents_mean=[0.0] * self.z_dim,
            latents_std=[1.0] * self.z_dim,
            is_residual=True,
            scale_factor_spatial=self.patch_size * 2 ** (len(self.dim_mult) - 1),
            scale_factor_temporal=4,
        )


class TextEncoderSizes(Settings):
    """Sizes of the text encoder (transformers `UMT5EncoderModel`) and its tokenizer."""

    d_model: int = Field(128, ge=16, description="width")
    num_layers: int = Field(2, ge=1, description="layers")
    num_heads: int = Field(4, ge=1, description="attention heads")
    vocab_size: int = Field(1024, ge=260, description="entries of the tokenizer, bytes included")
    max_length: int = Field(48, ge=8, description="tokens of a prompt; the rest is cut, with a warning")

    def build(self) -> Any:
        """Make the untrained encoder."""
        from transformers import UMT5Config, UMT5EncoderModel

        return UMT5EncoderModel(
            UMT5Config(
                vocab_size=self.vocab_size,
                d_model=self.d_model,
                d_kv=self.d_model // self.num_heads,
                d_ff=2 * self.d_model,
                num_layers=self.num_layers,
                num_heads=self.num_heads,
                dropout_rate=0.0,
                pad_token_id=0,
                eos_token_id=1,
                is_encoder_decoder=False,
            )
        )


class TransformerSizes(Settings):
    """Sizes of the text-to-video transformer (diffusers `WanTransformer3DModel`)."""

    num_heads: int = Field(6, ge=1, description="attention heads")
    head_dim: int = Field(32, ge=12, description="width of a head")
    num_layers: int = Field(6, ge=1, description="blocks")
    ffn_dim: int = Field(576, ge=16, description="width of the feed-forward layers")
    patch: tuple[int, int, int] = Field((1, 1, 1), description="latent frames, rows and columns a token covers")

    def build(self, *, z_dim: int, text_dim: int) -> Any:
        """Make the untrained transformer."""
        from diffusers import WanTransformer3DModel

        return WanTransformer3DModel(
            patch_size=self.patch,
            num_attention_heads=self.num_heads,
            attention_head_dim=self.head_dim,
            in_channels=z_dim,
            out_channels=z_dim,
            text_dim=text_dim,
            freq_dim=128,
            ffn_dim=self.ffn_dim,
            num_layers=self.num_layers,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=256,
        )


class NanoSizes(Settings):
    """Sizes of all parts of nano."""

    autoencoder: AutoencoderSizes = AutoencoderSizes()
    text_encoder: TextEncoderSizes = TextEncoderSizes()
    transformer: TransformerSizes = TransformerSizes()
