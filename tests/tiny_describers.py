"""Tiny describers with random weights, saved as the libraries save real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QWEN_MARKS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL_MARKS = (
    "<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>",
    "<global-img>", "<image>",
)  # fmt: skip


def letters(marks: tuple[str, ...]) -> dict[str, int]:
    """A vocabulary of bytes and marks."""
    from tokenizers import pre_tokenizers

    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *marks]
    return {name: k for k, name in enumerate(names)}


def byte_tokenizer(marks: tuple[str, ...], end: str, pad: str) -> Any:
    """A tokenizer of single bytes that knows some marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE(vocab=letters(marks), merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=end, pad_token=pad, additional_special_tokens=list(marks)
    )


def qwen(folder: Path, kind: str = "qwen2") -> Path:
    """Qwen2-VL, Qwen2.5-VL (``qwen2.5``), Qwen3-VL (``qwen3``) or Qwen3.5 (``qwen3.5``)."""
    import torch
    import transformers as t

    vocabulary = letters(QWEN_MARKS)
    tokenizer = t.Qwen2TokenizerFast(
        vocab=vocabulary,
        merges=[],
        unk_token=None,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(QWEN_MARKS),
    )
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e6}
    text = {
        "vocab_size": len(vocabulary) + 8, "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 4096, "rope_parameters": rope,
        "bos_token_id": vocabulary["<|endoftext|>"], "eos_token_id": vocabulary["<|im_end|>"],
        "pad_token_id": vocabulary["<|endoftext|>"],
    }  # fmt: skip
    marks = {
        "image_token_id": vocabulary["<|image_pad|>"],
        "video_token_id": vocabulary["<|video_pad|>"],
        "vision_start_token_id": vocabulary["<|vision_start|>"],
        "vision_end_token_id": vocabulary["<|vision_end|>"],
    }
    torch.manual_seed(0)
    pictures: dict[str, Any] = {"patch_size": 14, "min_pixels": 3136, "max_pixels": 12544}
    if kind == "qwen2":
        vision: dict[str, Any] = {
            "depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        }  # fmt: skip
        config: Any = t.Qwen2VLConfig(text_config=text, vision_config=vision, **marks)
        model: Any = t.Qwen2VLForConditionalGeneration(config)
        processor: Any = t.Qwen2VLProcessor
        videos: Any = t.Qwen2VLVideoProcessor
    elif kind == "qwen2.5":
        vision = {
            "depth": 2, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2,
            "intermediate_size": 64, "fullatt_block_indexes": [1],
        }  # fmt: skip
        config = t.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **marks)
        model = t.Qwen2_5_VLForConditionalGeneration(config)
        processor, videos = t.Qwen2_5_VLProcessor, t.Qwen2VLVideoProcessor
    elif kind == "qwen3.5":
        vision = {
            "depth": 2, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2,
            "intermediate_size": 64, "num_position_embeddings": 64,
        }  # fmt: skip
        text |= {
            "head_dim": 16, "num_hidden_layers": 4, "linear_num_key_heads": 2,
            "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16,
            "rope_parameters": {
                "rope_type": "default", "rope_theta": 1e6, "mrope_section": [1, 1, 0],
                "partial_rotary_factor": 0.25,
            },
        }  # fmt: skip
        config = t.Qwen3_5Config(text_config=text, vision_config=vision, **marks)
        model = t.Qwen3_5ForConditionalGeneration(config)
        processor, videos = t.Qwen3VLProcessor, t.Qwen3VLVideoProcessor
        pictures = {"patch_size": 16}
    else:
        vision = {
            "depth": 3, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2,
            "intermediate_size": 64, "deepstack_visual_indexes": [0],
            "num_position_embeddings": 64,
        }  # fmt: skip
        text |= {"head_dim": 16, "rope_parameters": {**rope, "mrope_interleaved": True}}
        config = t.Qwen3VLConfig(text_config=text, vision_config=vision, **marks)
        model = t.Qwen3VLForConditionalGeneration(config)
        processor, videos = t.Qwen3VLProcessor, t.Qwen3VLVideoProcessor
        pictures = {"patch_size": 16}
    model.generation_config.eos_token_id = vocabulary["<|im_end|>"]
    model.save_pretrained(folder)
    processor(
        image_processor=t.Qwen2VLImageProcessor(**pictures),
        video_processor=videos(**pictures),
        tokenizer=tokenizer,
        chat_template=QWEN_CHAT,
    ).save_pretrained(folder)
    return folder


def smol(folder: Path) -> Path:
    """SmolVLM2, without the processor class that needs a further package."""
    import torch
    import transformers as t

    tokenizer = byte_tokenizer(SMOL_MARKS, "<end_of_utterance>", "<|endoftext|>")
    size = len(tokenizer)
    torch.manual_seed(0)
    config = t.SmolVLMConfig(
        text_config={
            "model_type": "llama", "vocab_size": size, "hidden_size": 64,
            "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 4096,
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
        },
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    model = t.SmolVLMForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    side = {"longest_edge": 32}
    t.SmolVLMImageProcessor(size=side, max_image_size=side).save_pretrained(folder)
    return folder


def blip2(folder: Path) -> Path:
    """BLIP-2 with OPT."""
    import torch
    import transformers as t
    from tokenizers import pre_tokenizers

    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2}
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[letter] = len(vocabulary)
    while len(vocabulary) < 299:
        vocabulary[f"<x{len(vocabulary)}>"] = len(vocabulary)
    vocabulary["<image>"] = 299
    tokenizer = t.GPT2TokenizerFast(
        vocab=vocabulary, merges=[], bos_token="</s>", eos_token="</s>", pad_token="<pad>",
        unk_token="</s>", additional_special_tokens=["<image>"],
    )  # fmt: skip
    torch.manual_seed(0)
    config = t.Blip2Config(
        vision_config={
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
        },
        qformer_config={
            "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 128, "encoder_hidden_size": 64, "vocab_size": 100,
        },
        text_config={
            "model_type": "opt", "vocab_size": 300, "hidden_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2, "ffn_dim": 128, "word_embed_proj_dim": 64,
            "max_position_embeddings": 256, "bos_token_id": 2, "eos_token_id": 2,
            "pad_token_id": 1,
        },
        num_query_tokens=4,
        image_token_index=299,
    )  # fmt: skip
    t.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    pictures = t.BlipImageProcessor(size={"height": 28, "width": 28})
    t.Blip2Processor(pictures, tokenizer, num_query_tokens=4).save_pretrained(folder)
    return folder


def auroracap(folder: Path) -> Path:
    """AuroraCap in xtuner's layout, with the configuration that xtuner writes for its projector."""
    import torch
    import transformers as t
    from safetensors.torch import save_file

    tokenizer = byte_tokenizer(("<s>", "</s>", "<unk>"), "</s>", "<unk>")
    torch.manual_seed(0)
    t.LlamaForCausalLM(
        t.LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=2, bos_token_id=256, eos_token_id=257, pad_token_id=258,
        )
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    t.CLIPVisionModel(
        t.CLIPVisionConfig(
            hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
            image_size=28, patch_size=14,
        )
    ).save_pretrained(folder / "visual_encoder")  # fmt: skip
    (folder / "projector").mkdir()
    shapes = {"model.0.weight": (64, 48), "model.0.bias": (64,),
              "model.2.weight": (64, 64), "model.2.bias": (64,)}  # fmt: skip
    save_file(
        {name: torch.randn(shape) / 6 for name, shape in shapes.items()},
        folder / "projector" / "model.safetensors",
    )
    facts = {
        "auto_map": {"AutoModel": "modeling_projector.ProjectorModel"},
        "depth": 2, "hidden_act": "gelu", "bias": True,
    }  # fmt: skip
    (folder / "projector" / "config.json").write_text(json.dumps(facts))
    return folder
