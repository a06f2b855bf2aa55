"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen3.5: follow instructions and see several pictures as a video."""

from __future__ import annotations

import math
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

#: Modules that stay in bfloat16: the eyes, the last layer, and Qwen3.5's gates, which are narrower
#: than a block of NF4 may be.
KEEP = ("model.visual", "lm_head", "in_proj_a", "in_proj_b")


def _hub(name: str, size_gib: float, licence: str = "Apache-2.0") -> dict[str, Hub]:
    needs = ("config.json", "tokenizer_config.json", "*processor_config.json", "*.safetensors")
    return {"describer": Hub(f"Qwen/{name}", licence, size_gib, needs=needs)}


class QwenVl:
    """A Qwen-VL checkpoint. ``pixels`` is the most that one picture keeps."""

    follows = True

    def __init__(
        self, folder: Path, device: str, bits: Bits | None = None, *, pixels: int = 200_704
    ) -> None:
        from transformers import AutoProcessor

        self.pixels = pixels
        self.model = load_model("AutoModelForImageTextToText", folder, device, bits, keep=KEEP)
        self.processor = AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self.processor.tokenizer.padding_side = "left"

    def inputs(self, prompts: Sequence[Prompt]) -> Mapping[str, Any]:
        """What goes into the model for a batch of prompts."""
        texts, videos, facts = [], [], []
        unit = self.processor.video_processor.patch_size * self.processor.video_processor.merge_size
        for prompt in prompts:
            content: list[dict[str, str]] = [{"type": "text", "text": prompt.text}]
            if prompt.pictures:
                content.insert(0, {"type": "video"})
                videos.append(fitted(prompt.pictures, self.pixels, unit))
                facts.append(clock(prompt.times))
            texts.append(
                self.processor.apply_chat_template(
                    [{"role": "user", "content": content}],
                    tokenize=False,
                    add_generation_prompt=True,
                    enable_thinking=False,  # Qwen3.5 would think aloud; others do not read it
                )
            )
        extra: dict[str, Any] = {}
        if videos:
            extra = {
                "videos": videos,
                "video_metadata": facts,
                "do_resize": False,
                "do_sample_frames": False,
                "cap_pixels_per_frame": False,
            }
        made: Mapping[str, Any] = self.processor(
            text=texts, padding=True, return_tensors="pt", **extra
        ).to(self.model.device)
        return made

    def answer(self, prompts: Sequence[Prompt], *, tokens: int, seconds: float) -> list[Answer]:
        return generated(
            self.model,
            self.processor.tokenizer,
            self.inputs(prompts),
            tokens=tokens,
            seconds=seconds,
        )


def size_within(height: int, width: int, pixels: int, unit: int) -> tuple[int, int]:
    """Height and width in multiples of ``unit``, at most ``pixels`` together (two units at
    least), of about the same shape and never larger than the picture by more than one unit."""
    scale = min(1.0, math.sqrt(pixels / (height * width))) / unit
    high, wide = max(1, round(height * scale)), max(1, round(width * scale))
    if high * wide * unit * unit > pixels:
        high, wide = max(1, math.floor(height * scale)), max(1, math.floor(width * scale))
    while high * wide * unit * unit > pixels and high * wide > 2:
        high, wide = (high - 1, wide) if high >= wide else (high, wide - 1)
    return high * unit, wide * unit


def fitted(pictures: Sequence[Picture], pixels: int, unit: int) -> Any:
    """The pictures in the size the model takes, uint8 [n, height, width, 3]."""
    import cv2
    import numpy as np

    high, wide = pictures[0].shape[:2]
    height, width = size_within(high, wide, pixels, unit)
    return np.stack(
        [cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in pictures]
    )


def clock(times: Sequence[float]) -> dict[str, Any]:
    """When the pictures were taken, in the form that processors read: frame numbers at 1000/s."""
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 0.5
    length = times[-1] - times[0] + step
    return {
        "fps": 1000.0,
        "total_num_frames": max(1, round(1000 * length)),
        "duration": length,
        "frames_indices": [round(1000 * t) for t in times],
    }


def load(variant: Variant, device: str, folder: Path, pixels: int) -> QwenVl:
    return QwenVl(folder, device, bits_of(variant), pixels=pixels)


_7B, _2B = _hub("Qwen2-VL-7B-Instruct", 15.44), _hub("Qwen2-VL-2B-Instruct", 4.12)
_RESEARCH = "Qwen Research License (non-commercial)"

QWEN2 = Family(
    (
        Variant("qwen2-vl-7b", _7B, ram_gib=2.0, vram=Vram(15.5, 1.1), cpu=False),
        Variant("qwen2-vl-7b-nf4", _7B, ram_gib=2.0, vram=Vram(6.4, 1.1), cpu=False),
        Variant("qwen2-vl-2b", _2B, ram_gib=1.5, vram=Vram(4.1, 0.8), cpu=False),
        Variant("qwen2-vl-2b-nf4", _2B, ram_gib=1.5, vram=Vram(2.3, 0.8), cpu=False),
        # On a CPU, quantising takes a minute at every start: about what it saves on a clip.
        Variant("qwen2-vl-2b-cpu", _2B, ram_gib=5.3),
    ),
    load,
)
QWEN25 = Family(
    (
        Variant(
            "qwen2.5-vl-7b-nf4",
            _hub("Qwen2.5-VL-7B-Instruct", 15.44),
            ram_gib=2.0,
            vram=Vram(6.4, 1.1),
            cpu=False,
        ),
        Variant(
            "qwen2.5-vl-3b-nf4",
            _hub("Qwen2.5-VL-3B-Instruct", 6.99, _RESEARCH),
            ram_gib=4.8,
            vram=Vram(3.2, 0.9),
        ),
    ),
    load,
)
QWEN3 = Family(
    (
        Variant(
            "qwen3-vl-8b-nf4",
            _hub("Qwen3-VL-8B-Instruct", 16.33),
            ram_gib=2.0,
            vram=Vram(6.7, 1.2),
            cpu=False,
        ),
        Variant(
            "qwen3-vl-4b-nf4",
            _hub("Qwen3-VL-4B-Instruct", 8.27),
            ram_gib=2.0,
            vram=Vram(3.2, 1.0),
            cpu=False,
        ),
        Variant(
            "qwen3-vl-2b-nf4",
            _hub("Qwen3-VL-2B-Instruct", 3.96),
            ram_gib=3.6,
            vram=Vram(2.0, 0.8),
        ),
    ),
    load,
)
QWEN35 = Family(
    (
        Variant(
            "qwen3.5-9b-nf4",
            _hub("Qwen3.5-9B", 17.52),
            ram_gib=2.0,
            vram=Vram(8.0, 1.2),
            cpu=False,
        ),
        Variant(
            "qwen3.5-4b-nf4",
            _hub("Qwen3.5-4B", 8.46),
            ram_gib=5.5,
            vram=Vram(3.6, 1.0),
        ),
    ),
    load,
)
