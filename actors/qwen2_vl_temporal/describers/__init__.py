"""Describers: models that put pictures into words. One file a family, all behind ``Describer``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.analyzer import Variant
from tiktok_ray.weights import refuse_code

Picture = NDArray[np.uint8]
Bits = Literal["nf4", "int8"]


class Prompt(NamedTuple):
    """What a describer is asked.

    ``pictures``: RGB, uint8 [height, width, 3] each, all of one size, shown in order of ``times``
    (seconds). ``questions``: the same by field, for models that answer questions but follow no
    instructions.
    """

    text: str
    pictures: tuple[Picture, ...] = ()
    times: tuple[float, ...] = ()
    questions: Mapping[str, str] = {}


class Answer(NamedTuple):
    """What came back: the text, how many tokens it took, and whether it ended by itself.

    ``tokens`` None: a server did not say. ``model``: what a server says that answered.
    """

    text: str
    tokens: int | None
    ended: bool
    model: str | None = None


class DescriberFailed(Exception):
    """A describer that runs elsewhere did not answer; the message says why."""


class Describer(Protocol):
    """A loaded model. ``follows``: whether it follows instructions, so that it can sum up too."""

    follows: bool

    def answer(self, prompts: Sequence[Prompt], *, tokens: int, seconds: float) -> list[Answer]:
        """One answer a prompt, all in one batch: at most ``tokens`` tokens each, ``seconds`` in
        all."""
        ...


class Family(NamedTuple):
    """The variants of one describer, best first, and how one is loaded."""

    variants: tuple[Variant, ...]
    load: Any


def bits_of(variant: Variant) -> Bits | None:
    """How the weights of a variant are quantised while they load; by the end of its name."""
    for bits in ("nf4", "int8"):
        if variant.name.endswith(f"-{bits}"):
            return bits  # type: ignore[return-value]
    return None


def load_model(
    kind: str,
    folder: Path,
    device: str,
    bits: Bits | None = None,
    *,
    keep: Sequence[str] = (),
    checked: bool = False,
) -> Any:
    """A transformers model of class ``kind`` from a local folder, in 16 bits, ready to generate.

    With ``bits`` its linear layers are quantised by bitsandbytes, except modules under the names
    in ``keep``. Raises ``UnsafeCheckpoint`` where loading could run code (the caller may have
    ``checked`` that itself), ``OSError`` where files are absent, ``ValueError`` where weights are.
    """
    import torch
    import transformers

    if not checked:
        refuse_code(folder)
    dtype = torch.float16 if bits == "int8" else torch.bfloat16  # int8 is multiplied in float16
    extra: dict[str, Any] = {"dtype": dtype, "device_map": {"": device}}
    if bits == "nf4":
        extra["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
            llm_int8_skip_modules=list(keep),
        )
    elif bits == "int8":
        extra["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_8bit=True, llm_int8_skip_modules=list(keep)
        )
    model, info = getattr(transformers, kind).from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
        **extra,
    )
    if info["missing_keys"]:  # else it would speak with weights made up at random
        raise ValueError(f"{folder} lacks {', '.join(sorted(info['missing_keys'])[:8])}")
    return model.eval()


def generated(
    model: Any, tokenizer: Any, inputs: Mapping[str, Any], *, tokens: int, seconds: float
) -> list[Answer]:
    """Let a model go on from its inputs, always choosing the likeliest token."""
    import torch

    given = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
    with torch.inference_mode():
        found = model.generate(
            **inputs,
            max_new_tokens=tokens,
            max_time=max(0.01, seconds),
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            use_cache=True,
        )
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list | tuple) else [ends])
    return [answer_of(row, ends, tokenizer) for row in found[:, given:].tolist()]


def answer_of(row: Sequence[int], ends: set[int], tokenizer: Any) -> Answer:
    """The answer in one row of token numbers, up to the first that ends it."""
    length = next((k for k, token in enumerate(row) if token in ends), None)
    kept = list(row if length is None else row[:length])
    return Answer(
        tokenizer.decode(kept, skip_special_tokens=True).strip(), len(kept), length is not None
    )
