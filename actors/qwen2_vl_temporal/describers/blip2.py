"""BLIP-2: answers plain questions about one picture, dependably; follows no instructions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.qwen2_vl_temporal.describers import (
    Answer,
    Bits,
    Family,
    Picture,
    Prompt,
    bits_of,
    generated,
    load_model,
)
from tiktok_ray.analyzer import Variant, Vram
from tiktok_ray.weights import Hub

#: Quantised are the linear layers of eyes, Q-Former and language model, not what joins them.
KEEP = ("language_projection", "lm_head", "language_model.lm_head")
#: An answer to one question is a phrase.
TOKENS = 24


class Blip2:
    """A BLIP-2 checkpoint. Each question is asked about the middle picture of a window."""

    follows = False

    def __init__(self, folder: Path, device: str, bits: Bits | None = None) -> None:
        from transformers import AutoProcessor

        self.model = load_model("Blip2ForConditionalGeneration", folder, device, bits, keep=KEEP)
        self.processor = AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self.processor.tokenizer.padding_side = "left"
        self.processor.num_query_tokens = self.model.config.num_query_tokens

    def inputs(self, pictures: Sequence[Picture], questions: Sequence[str]) -> Mapping[str, Any]:
        """What goes into the model: one question about each picture."""
        made = self.processor(
            images=list(pictures),
            text=[f"Question: {question} Answer:" for question in questions],
            padding=True,
            return_tensors="pt",
        )
        made["pixel_values"] = made["pixel_values"].to(self.model.dtype)
        return {name: value.to(self.model.device) for name, value in made.items()}

    def answer(self, prompts: Sequence[Prompt], *, tokens: int, seconds: float) -> list[Answer]:
        """The answers to all questions of a prompt as lines ``field: answer``."""
        asked = [
            (prompt.pictures[len(prompt.pictures) // 2], question)
            for prompt in prompts
            for question in prompt.questions.values()
        ]
        pictures, questions = zip(*asked, strict=True)
        found = generated(
            self.model,
            self.processor.tokenizer,
            self.inputs(pictures, questions),
            tokens=min(tokens, TOKENS),
            seconds=seconds,
        )
        replies = iter(found)
        return [
            joined({field: next(replies) for field in prompt.questions}, min(tokens, TOKENS))
            for prompt in prompts
        ]


def joined(replies: Mapping[str, Answer], limit: int) -> Answer:
    """Answers to single questions as one. Only what a reply says before a line break counts: the
    model goes on with further questions of its own. A reply that took all its tokens without a
    break is a run of words cut off: it has no value."""
    lines = []
    for field, reply in replies.items():
        first, broken, _ = reply.text.partition("\n")
        whole = reply.ended or bool(broken) or (reply.tokens or 0) < limit
        lines.append(f"{field}: {first.strip() if whole else ''}")
    return Answer("\n".join(lines), sum(reply.tokens or 0 for reply in replies.values()), True)


def load(variant: Variant, device: str, folder: Path, _pixels: int) -> Blip2:
    return Blip2(folder, device, bits_of(variant))


_WEIGHTS = {
    "describer": Hub(
        "Salesforce/blip2-opt-2.7b",
        "MIT; the OPT inside: OPT-175B licence (non-commercial)",
        13.95,
        needs=("config.json", "tokenizer_config.json", "*processor_config.json", "*.safetensors"),
    )
}
BLIP2 = Family(
    (
        Variant("blip2-opt-2.7b-int8", _WEIGHTS, ram_gib=2.0, vram=Vram(3.6, 0.6), cpu=False),
        Variant("blip2-opt-2.7b-nf4", _WEIGHTS, ram_gib=3.4, vram=Vram(2.0, 0.6)),
    ),
    load,
)
