"""A tiny sentence encoder with random weights, of the architecture of multilingual E5 small."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_describers import byte_tokenizer


def encoder(folder: Path, seed: int = 0) -> Path:
    """A checkpoint that reads texts of single bytes, up to 512 of them."""
    import torch
    import transformers as t

    tokenizer = byte_tokenizer(("<s>", "<pad>", "</s>"), "</s>", "<pad>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = t.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=512,
    )  # fmt: skip
    t.BertModel(config).save_pretrained(folder)
    return folder
