"""Checkpoints of the real architectures at their real sizes, with random weights.

They lie in the same layout as published ones, so that the analyzers load them as they load those.
They say nothing of worth: they are here to weigh and to time. Tokenizers split at words, so that
a prompt is about as many tokens as with the real ones; their vocabularies are not the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def words(marks: Sequence[str], end: str, pad: str) -> Any:
    """A tokenizer of whole words (all unknown to it) and marks; the marks are tokens 0, 1, …"""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {name: k for k, name in enumerate((*marks, "<unknown>"))}
    made = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token="<unknown>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<unknown>",
        eos_token=end,
        pad_token=pad,
        additional_special_tokens=[mark for mark in marks if mark not in (end, pad)],
    )


def save(folder: Path, make: Callable[[], Any], half: bool = True) -> None:
    """Save a model without ever initialising it: its weights are one random block, repeated."""
    import torch

    with torch.device("meta"):
        model = make()
    model = model.to(torch.bfloat16 if half else torch.float32).to_empty(device="cpu")
    block = torch.empty(1 << 20, dtype=torch.bfloat16 if half else torch.float32)
    block.uniform_(-0.03, 0.03, generator=torch.Generator().manual_seed(0))
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            torch.arange(tensor.numel(), out=tensor.view(-1))
        elif tensor.dim() == 1 and name.endswith("weight"):
            tensor.fill_(1.0)
        else:
            flat = tensor.view(-1)
            for at in range(0, len(flat), len(block)):
                part = flat[at : at + len(block)]
                part.copy_(block[: len(part)])
    model.tie_weights()
    if model.can_generate() and "eos_token_id" in vars(model.config.get_text_config()):
        model.generation_config.eos_token_id = model.config.get_text_config().eos_token_id
    model.save_pretrained(folder)


def qwen2_vl(folder: Path, text: Mapping[str, Any]) -> None:
    import transformers as t

    tokenizer = words(QWEN_MARKS, "<|im_end|>", "<|endoftext|>")
    ids = dict(zip(QWEN_MARKS, tokenizer.convert_tokens_to_ids(list(QWEN_MARKS)), strict=True))
    config = t.Qwen2VLConfig(
        text_config={
            "num_hidden_layers": 28, "max_position_embeddings": 32_768,
            "rope_parameters": {
                "rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6,
            },
            "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"], **text,
        },
        vision_config={
            "depth": 32, "embed_dim": 1280, "hidden_size": text["hidden_size"], "num_heads": 16,
            "mlp_ratio": 4, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=text["tie_word_embeddings"],
    )  # fmt: skip
    save(folder, lambda: t.Qwen2VLForConditionalGeneration(config))
    t.Qwen2VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(),
        video_processor=t.Qwen2VLVideoProcessor(),
        tokenizer=tokenizer,
        chat_template=QWEN_CHAT,
    ).save_pretrained(folder)


QWEN2_2B = {
    "hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12,
    "num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True,
}  # fmt: skip
QWEN2_7B = {
    "hidden_size": 3584, "intermediate_size": 18_944, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152_064, "tie_word_embeddings": False,
}  # fmt: skip


def smolvlm2(folder: Path, text: Mapping[str, Any], vision: Mapping[str, Any], scale: int) -> None:
    import transformers as t

    tokenizer = words(SMOL_MARKS, "<end_of_utterance>", "<|endoftext|>")
    config = t.SmolVLMConfig(
        text_config={
            "model_type": "llama", "vocab_size": 49_280, "max_position_embeddings": 8192,
            "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, **text,
        },
        vision_config=dict(vision),
        scale_factor=scale,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )  # fmt: skip
    save(folder, lambda: t.SmolVLMForConditionalGeneration(config))
    tokenizer.save_pretrained(folder)
    side = {"longest_edge": vision["image_size"]}
    t.SmolVLMImageProcessor(size=side, max_image_size=side).save_pretrained(folder)


SMOL_500M: tuple[Any, ...] = (
    {"hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
     "num_attention_heads": 15, "num_key_value_heads": 5},
    {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
     "num_attention_heads": 12, "image_size": 512, "patch_size": 16},
    4,
)  # fmt: skip


def blip2_opt(folder: Path) -> None:
    import transformers as t

    tokenizer = words(("<s>", "<pad>", "</s>", "<image>"), "</s>", "<pad>")
    config = t.Blip2Config(
        vision_config={},
        qformer_config={},
        text_config={
            "model_type": "opt", "vocab_size": 50_304, "hidden_size": 2560,
            "num_hidden_layers": 32, "num_attention_heads": 32, "ffn_dim": 10_240,
            "word_embed_proj_dim": 2560, "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1,
        },
        num_query_tokens=32,
        image_token_index=3,
    )  # fmt: skip
    save(folder, lambda: t.Blip2ForConditionalGeneration(config))
    pictures = t.BlipImageProcessor(size={"height": 224, "width": 224})
    t.Blip2Processor(pictures, tokenizer, num_query_tokens=32).save_pretrained(folder)


def auroracap(folder: Path) -> None:
    import torch
    import transformers as t
    from safetensors.torch import save_file

    llama = t.LlamaConfig(bos_token_id=0, eos_token_id=1, pad_token_id=2)
    save(folder, lambda: t.LlamaForCausalLM(llama))
    words(("<s>", "</s>", "<pad>"), "</s>", "<pad>").save_pretrained(folder)
    eyes = t.CLIPVisionConfig(
        hidden_size=1664, intermediate_size=8192, num_hidden_layers=48, num_attention_heads=16,
        image_size=224, patch_size=14,
    )  # fmt: skip
    save(folder / "visual_encoder", lambda: t.CLIPVisionModel(eyes))
    (folder / "projector").mkdir()
    shapes = {"model.0.weight": (4096, 1664), "model.0.bias": (4096,),
              "model.2.weight": (4096, 4096), "model.2.bias": (4096,)}  # fmt: skip
    save_file(
        {name: torch.rand(shape).bfloat16() / 50 for name, shape in shapes.items()},
        folder / "projector" / "model.safetensors",
    )


def clip_b32(folder: Path) -> None:
    import transformers as t

    marks = ("<|startoftext|>", "<|endoftext|>")
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = t.CLIPConfig(text_config={"vocab_size": 49_408, **ends}, vision_config={})
    save(folder, lambda: t.CLIPModel(config), half=False)
    tokenizer = words(marks, "<|endoftext|>", "<|endoftext|>")
    t.CLIPProcessor(t.CLIPImageProcessor(), tokenizer).save_pretrained(folder)


def segformer(folder: Path, depths: Sequence[int], widths: Sequence[int], decoder: int) -> None:
    import transformers as t

    names = {k: f"class {k}" for k in range(150)} | {0: "wall", 2: "sky", 12: "person"}
    config = t.SegformerConfig(
        num_labels=150, depths=list(depths), hidden_sizes=list(widths),
        decoder_hidden_size=decoder, id2label=names, label2id={v: k for k, v in names.items()},
    )  # fmt: skip
    save(folder, lambda: t.SegformerForSemanticSegmentation(config), half=False)
    t.SegformerImageProcessor(do_reduce_labels=True).save_pretrained(folder)


def ast(folder: Path) -> None:
    import transformers as t

    config = t.ASTConfig(num_labels=527)
    save(folder, lambda: t.ASTForAudioClassification(config), half=False)
    t.ASTFeatureExtractor().save_pretrained(folder)


def wav2vec2_er(folder: Path) -> None:
    import transformers as t

    names = {0: "neu", 1: "hap", 2: "ang", 3: "sad"}
    config = t.Wav2Vec2Config(
        num_labels=4, id2label=names, label2id={v: k for k, v in names.items()},
        use_weighted_layer_sum=True,
    )  # fmt: skip
    save(folder, lambda: t.Wav2Vec2ForSequenceClassification(config), half=False)
    t.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


WHISPER_TURBO = {
    "d_model": 1280, "encoder_layers": 32, "decoder_layers": 4, "encoder_attention_heads": 20,
    "decoder_attention_heads": 20, "encoder_ffn_dim": 5120, "decoder_ffn_dim": 5120,
    "num_mel_bins": 128,
}  # fmt: skip


def whisper(folder: Path, sizes: Mapping[str, int], said: int) -> None:
    """A Whisper that says ``said`` words in every window, whatever it hears, and then stops.

    Its decoder passes its input through (what its layers compute is multiplied by zero, at full
    cost), and every position points at the next token. Converted for CTranslate2 as real ones are.
    """
    import json

    import ctranslate2.converters
    import torch
    import transformers as t
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    codes = list(LANGUAGES)[:100]
    names = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: k for k, name in enumerate(names)}
    heard = [
        f"Ġ{chr(97 + k % 26)}{chr(97 + k // 26 % 26)}{chr(97 + k * 7 % 26)}" for k in range(said)
    ]
    vocabulary |= {name: len(vocabulary) + k for k, name in enumerate(heard)}
    vocabulary |= {f"¤{k}": k for k in range(len(vocabulary), 50_256)} | {"": 50_256}
    special = [
        "<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in codes),
        "<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
        "<|notimestamps|>",
    ]  # fmt: skip
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(n, special=True, normalized=False) for n in special])
    tokenizer.add_tokens(
        [AddedToken(f"<|{k * 0.02:.2f}|>", special=False, normalized=False) for k in range(1501)]
    )
    ids = {name: tokenizer.token_to_id(name) for name in special}
    end = ids["<|endoftext|>"]
    config = t.WhisperConfig(
        vocab_size=tokenizer.get_vocab_size(), bos_token_id=end, eos_token_id=end,
        pad_token_id=end, decoder_start_token_id=ids["<|startoftranscript|>"], **sizes,
    )  # fmt: skip
    model = t.WhisperForConditionalGeneration(config)
    script = [ids["<|en|>"], ids["<|transcribe|>"], ids["<|notimestamps|>"]]
    script += [vocabulary[name] for name in heard]
    decoder, width = model.model.decoder, sizes["d_model"]
    with torch.no_grad():
        rows = torch.randn(tokenizer.get_vocab_size(), width) / width**0.5
        decoder.embed_tokens.weight.copy_(rows)
        decoder.embed_positions.weight.copy_(8 * rows[script + [end] * (448 - len(script))])
        decoder.layer_norm.weight.fill_(6.0)
        for layer in decoder.layers:
            for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
                part.weight.zero_()
                part.bias.zero_()
    source = folder.with_name(f"{folder.name}-source")
    model.save_pretrained(source)
    special_names = ("unk_token", "eos_token", "bos_token", "pad_token")
    t.WhisperTokenizerFast(
        tokenizer_object=tokenizer, **dict.fromkeys(special_names, "<|endoftext|>")
    ).save_pretrained(source)
    t.WhisperFeatureExtractor(feature_size=sizes["num_mel_bins"]).save_pretrained(source)
    tokenizer.save(str(source / "tokenizer.json"))
    ctranslate2.converters.TransformersConverter(
        str(source), copy_files=["tokenizer.json", "preprocessor_config.json"]
    ).convert(str(folder), quantization="int8", force=True)
    facts = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    facts["lang_ids"] = [ids[f"<|{code}|>"] for code in codes]
    (folder / "config.json").write_text(json.dumps(facts), encoding="utf-8")


def yolov8(path: Path, name: str) -> None:
    """``name``: ``yolov8m.yaml``, ``yolov8n-pose.yaml``, …"""
    import torch
    from ultralytics.nn.tasks import DetectionModel, PoseModel

    kind = PoseModel if "pose" in name else DetectionModel
    model = kind(name, verbose=False)
    model.names = {0: "person"} if "pose" in name else {k: f"class {k}" for k in range(80)}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.half(), "ema": None}, path)
