"""A tiny CLIP with random weights, saved as transformers saves real ones."""

from __future__ import annotations

from pathlib import Path

from tests.tiny_describers import byte_tokenizer

MARKS = ("<|startoftext|>", "<|endoftext|>")


def clip(folder: Path, seed: int = 0) -> Path:
    """A checkpoint that reads pictures of 32 x 32 pixels and texts of single bytes."""
    import torch
    import transformers as t

    tokenizer = byte_tokenizer(MARKS, "<|endoftext|>", "<|endoftext|>")
    tokenizer.model_max_length = 77
    size = len(tokenizer)
    sides = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "projection_dim": 24,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = t.CLIPConfig(
        text_config={
            **sides, "vocab_size": size, "max_position_embeddings": 77,
            "bos_token_id": size - 2, "eos_token_id": size - 1, "pad_token_id": size - 1,
        },
        vision_config={**sides, "image_size": 32, "patch_size": 8},
        projection_dim=24,
    )  # fmt: skip
    t.CLIPModel(config).save_pretrained(folder)
    side = {"shortest_edge": 32}
    pictures = t.CLIPImageProcessor(size=side, crop_size={"height": 32, "width": 32})
    t.CLIPProcessor(pictures, tokenizer).save_pretrained(folder)
    return folder
