"""A tiny Whisper that says what it is told, converted for CTranslate2 as the real ones are.

Every layer of its decoder passes its input through, and each position points at the next token of
a script: it detects the language, reads the script in every window, and stops. Its ears, the
encoder and the attention from which word times come, are random.
"""

import json
from collections.abc import Sequence
from pathlib import Path

TEXT_TOKENS, LANGUAGES_COUNT = 50_257, 99


def tiny_whisper(folder: Path, script: Sequence[str], language: str = "de") -> Path:
    """Write the model; ``script`` are its tokens as text, with the space before each word."""
    import ctranslate2.converters
    import torch
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    languages = list(LANGUAGES)[:LANGUAGES_COUNT]
    encode = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for text in script:
        vocabulary.setdefault(encode(text)[0][0], len(vocabulary))
    vocabulary |= {f"¤{i}": i for i in range(len(vocabulary), TEXT_TOKENS - 1)}
    vocabulary[""] = TEXT_TOKENS - 1
    special = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in languages),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    stamps = [f"<|{k * 0.02:.2f}|>" for k in range(1501)]
    tokenizer.add_tokens([AddedToken(s, special=False, normalized=False) for s in stamps])
    ids = {name: tokenizer.token_to_id(name) for name in special}

    torch.manual_seed(0)
    width = 64
    model = transformers.WhisperForConditionalGeneration(
        transformers.WhisperConfig(
            vocab_size=tokenizer.get_vocab_size(),
            d_model=width,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=width,
            decoder_ffn_dim=width,
            bos_token_id=ids["<|endoftext|>"],
            eos_token_id=ids["<|endoftext|>"],
            pad_token_id=ids["<|endoftext|>"],
            decoder_start_token_id=ids["<|startoftranscript|>"],
        )
    )
    spoken = [vocabulary[encode(text)[0][0]] for text in script]
    said = [
        ids[f"<|{language}|>"],
        ids["<|transcribe|>"],
        ids["<|notimestamps|>"],
        *spoken,
    ]
    decoder = model.model.decoder
    with torch.no_grad():
        rows = torch.randn(tokenizer.get_vocab_size(), width) / width**0.5
        decoder.embed_tokens.weight.copy_(rows)
        following = said + [ids["<|endoftext|>"]] * (448 - len(said))
        decoder.embed_positions.weight.copy_(8.0 * rows[following])
        decoder.layer_norm.weight.fill_(6.0)
        for layer in decoder.layers:
            for part in (layer.self_attn.out_proj, layer.encoder_attn.out_proj, layer.fc2):
                part.weight.zero_()
                part.bias.zero_()

    source = folder / "transformers"
    model.save_pretrained(source)
    transformers.WhisperTokenizerFast(
        tokenizer_object=tokenizer,
        **dict.fromkeys(("unk_token", "eos_token", "bos_token", "pad_token"), "<|endoftext|>"),
    ).save_pretrained(source)
    transformers.WhisperFeatureExtractor().save_pretrained(source)
    tokenizer.save(str(source / "tokenizer.json"))
    converted = folder / "whisper"
    ctranslate2.converters.TransformersConverter(
        str(source), copy_files=["tokenizer.json", "preprocessor_config.json"]
    ).convert(str(converted), quantization="int8", force=True)
    config = json.loads((converted / "config.json").read_text())
    config["lang_ids"] = [ids[f"<|{code}|>"] for code in languages]
    (converted / "config.json").write_text(json.dumps(config))
    return converted
