"""SmolVLM2: a small video-language model that a CPU can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actors.qwen2_vl_temporal.describers import (
    Answer,
    Bits,
    Family,
    Prompt,
    bits_of,
    generated,
    load_model,
)
from tiktok_ray.analyzer import Variant, Vram
from tiktok_ray.weights import Hub

KEEP = ("model.vision_model", "model.connector", "lm_head")
#: Each picture costs as much as the prompt (64 or 81 tokens) and much more time in the eyes.
PICTURES = 4
COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
NEEDS = ("config.json", "tokenizer_config.json", "*processor_config.json", "*.safetensors")


class SmolVlm:
    """A SmolVLM2 checkpoint.

    Its processor in transformers needs one more package just to spell numbers; the same prompt is
    written here (the text is part of what the model was trained on).
    """

    follows = True

    def __init__(self, folder: Path, device: str, bits: Bits | None = None) -> None:
        from transformers import AutoImageProcessor, AutoTokenizer

        self.model = load_model("AutoModelForImageTextToText", folder, device, bits, keep=KEEP)
        safe = {"local_files_only": True, "trust_remote_code": False}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **safe)
        self.pictures = AutoImageProcessor.from_pretrained(folder, **safe)
        config = self.model.config
        self.side = int(config.vision_config.image_size)
        self.length = (self.side // config.vision_config.patch_size // config.scale_factor) ** 2
        if config.image_token_id != self.tokenizer.convert_tokens_to_ids("<image>"):
            raise ValueError(f"{folder}: the token <image> is not the one its model expects")

    def inputs(self, prompts: Sequence[Prompt]) -> Mapping[str, Any]:
        """What goes into the model for a batch of prompts."""
        chosen = [evenly(len(prompt.pictures), PICTURES) for prompt in prompts]
        texts = [
            conversation(prompt, [prompt.times[k] for k in kept], self.length)
            for prompt, kept in zip(prompts, chosen, strict=True)
        ]
        made = dict(
            self.tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
        )
        if any(chosen):
            nested = [
                [prompt.pictures[k] for k in kept]
                for prompt, kept in zip(prompts, chosen, strict=True)
            ]
            side = {"longest_edge": self.side}
            made |= self.pictures(
                nested,
                do_image_splitting=False,
                size=side,
                max_image_size=side,
                return_row_col_info=False,
                return_tensors="pt",
            )
            made["pixel_values"] = made["pixel_values"].to(self.model.dtype)
        return {name: value.to(self.model.device) for name, value in made.items()}

    def answer(self, prompts: Sequence[Prompt], *, tokens: int, seconds: float) -> list[Answer]:
        return generated(
            self.model, self.tokenizer, self.inputs(prompts), tokens=tokens, seconds=seconds
        )


def evenly(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` indices, spread evenly."""
    if count <= most:
        return list(range(count))
    return [int((k + 0.5) * count / most) for k in range(most)]


def conversation(prompt: Prompt, times: Sequence[float], length: int) -> str:
    """The prompt in the model's own form for videos; each picture is ``length`` tokens."""
    shown = ""
    if times:
        seconds = int(times[-1])
        span = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        shown = (
            f"You are provided the following series of {COUNTS[len(times)]} frames "
            f"from a {span} [H:MM:SS] video.\n"
        )
        for t in times:
            shown += f"\nFrame from {int(t // 60):02d}:{int(t % 60):02d}:"
            shown += f"<fake_token_around_image><global-img>{'<image>' * length}"
            shown += "<fake_token_around_image>"
        shown += "\n\n"
    return f"<|im_start|>User: {shown}{prompt.text}<end_of_utterance>\nAssistant:"


def load(variant: Variant, device: str, folder: Path, _pixels: int) -> SmolVlm:
    return SmolVlm(folder, device, bits_of(variant))


SMALL = Family(
    (
        Variant(
            "smolvlm2-2.2b",
            {
                "describer": Hub(
                    "HuggingFaceTB/SmolVLM2-2.2B-Instruct", "Apache-2.0", 4.19, needs=NEEDS
                )
            },
            ram_gib=1.5,
            vram=Vram(4.2, 0.7),
            cpu=False,
        ),
        Variant(
            "smolvlm2-500m",
            {
                "describer": Hub(
                    "HuggingFaceTB/SmolVLM2-500M-Video-Instruct", "Apache-2.0", 1.9, needs=NEEDS
                )
            },
            ram_gib=2.0,
            vram=Vram(0.95, 0.5),
        ),
    ),
    load,
)
