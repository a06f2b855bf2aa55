"""AuroraCap: a video captioner of LLaVA's kind, from its published xtuner layout. Experimental.

Chai et al. 2025. A folder holds Vicuna at its root, CLIP ViT-bigG/14 in ``visual_encoder/`` and two
linear layers in ``projector/``. Picture tokens are merged in every layer of the eyes (ToMe, Bolya
et al. 2023). None of it could be tried on the published weights where this was written.
"""

from __future__ import annotations

import json
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
from tiktok_ray.weights import Hub, UnsafeCheckpoint, refuse_code

#: Side of the pictures, share of their tokens that is kept: the published settings.
SIDE, KEPT = 378, 0.2
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
PROJECTOR = ("model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias")
FILES = (
    "config.json",
    "*.safetensors",
    "tokenizer_config.json",
    "visual_encoder/config.json",
    "visual_encoder/*.safetensors",
    "projector/*.safetensors",
)


class NotAuroraCap(ValueError):
    """A folder is not in the published layout; the message names all that was not found."""


class AuroraCap:
    """An AuroraCap checkpoint. Raises ``NotAuroraCap`` for a folder in another layout."""

    follows = True

    def __init__(
        self, folder: Path, device: str, bits: Bits | None = None, *, side: int = SIDE
    ) -> None:
        import torch
        from transformers import AutoTokenizer

        check(folder)
        self.side = side
        self.eyes = load_model("CLIPVisionModel", folder / "visual_encoder", device)
        self.model = load_model(
            "LlamaForCausalLM", folder, device, bits, keep=("lm_head",), checked=True
        )
        width = (self.eyes.config.hidden_size, self.model.config.hidden_size)
        weights = projector_weights(folder, *width)
        self.projector = torch.nn.Sequential(
            torch.nn.Linear(*width), torch.nn.GELU(), torch.nn.Linear(width[1], width[1])
        ).to(device, torch.bfloat16)
        self.projector.load_state_dict({k.removeprefix("model."): w for k, w in weights.items()})
        self.tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )

    def inputs(self, prompt: Prompt) -> Mapping[str, Any]:
        """What goes into the language model: words, with the picture tokens where they stand."""
        import torch

        device, words = self.model.device, self.model.get_input_embeddings()

        def embedded(text: str, first: bool = False) -> Any:
            ids = self.tokenizer(text, add_special_tokens=first).input_ids
            return words(torch.tensor([ids], dtype=torch.long, device=device))

        with torch.inference_mode():
            parts = [embedded("USER: ", first=True)]
            if prompt.pictures:
                pixels = normalised(prompt.pictures, self.side).to(device, torch.bfloat16)
                seen = self.projector(merged_tokens(self.eyes, pixels, KEPT))
                space = embedded(" ")
                for k in range(len(seen)):
                    parts += [seen[k : k + 1], *([space] if k + 1 < len(seen) else [])]
                parts.append(embedded("\n"))
            parts.append(embedded(f"{prompt.text} ASSISTANT:"))
            joined = torch.cat([p for p in parts if p.shape[1]], dim=1)
        mask = torch.ones(joined.shape[:2], dtype=torch.long, device=device)
        return {"inputs_embeds": joined, "attention_mask": mask}

    def answer(self, prompts: Sequence[Prompt], *, tokens: int, seconds: float) -> list[Answer]:
        """One prompt after the other: their lengths differ by their pictures."""
        import time

        until = time.monotonic() + seconds
        return [
            generated(
                self.model,
                self.tokenizer,
                self.inputs(prompt),
                tokens=tokens,
                seconds=until - time.monotonic(),
            )[0]
            for prompt in prompts
        ]


def check(folder: Path) -> None:
    """Raise ``NotAuroraCap`` with all that is absent, ``UnsafeCheckpoint`` for code to be run.

    The projector's configuration names code of xtuner's; that is refused nowhere because it is
    never read by a library: its tensors are.
    """
    absent = [pattern for pattern in FILES if not any(folder.glob(pattern))]
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        absent.append("tokenizer.json or tokenizer.model")
    if absent:
        raise NotAuroraCap(f"{folder.name} lacks {', '.join(absent)}")
    refuse_code(folder / "visual_encoder")
    code = [path.name for path in folder.glob("*.py")]
    if code:
        raise UnsafeCheckpoint(f"{folder.name} contains code: {', '.join(code)}")
    wrong = []
    for name, kind in (("", "llama"), ("visual_encoder/", "clip_vision_model")):
        config = json.loads((folder / f"{name}config.json").read_text(encoding="utf-8"))
        if "auto_map" in config:
            raise UnsafeCheckpoint(f"{folder.name} names code of its own (auto_map): {name}")
        if config.get("model_type") != kind:
            wrong.append(f"{name}config.json: model_type {config.get('model_type')}, not {kind}")
    path = folder / "projector" / "config.json"
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        for key, value in (("depth", 2), ("hidden_act", "gelu"), ("bias", True)):
            if config.get(key, value) != value:
                wrong.append(f"projector/config.json: {key} {config[key]}, not {value}")
    if wrong:
        raise NotAuroraCap(f"{folder.name}: {'; '.join(wrong)}")


def projector_weights(folder: Path, eyes: int, words: int) -> dict[str, Any]:
    """The four tensors of the projector, shapes checked."""
    from safetensors.torch import load_file

    found: dict[str, Any] = {}
    for path in sorted((folder / "projector").glob("*.safetensors")):
        found |= load_file(path)
    shapes = dict(zip(PROJECTOR, ((words, eyes), (words,), (words, words), (words,)), strict=True))
    absent = [name for name in PROJECTOR if name not in found]
    unknown = sorted(set(found) - set(PROJECTOR))
    if absent or unknown:
        said = [f"lacks {', '.join(absent)}"] * bool(absent)
        said += [f"contains {', '.join(unknown)}, which are unknown"] * bool(unknown)
        raise NotAuroraCap(f"{folder.name}/projector {' and '.join(said)}")
    for name, shape in shapes.items():
        if tuple(found[name].shape) != shape:
            had = tuple(found[name].shape)
            raise NotAuroraCap(f"{folder.name}/projector: {name} has shape {had}, not {shape}")
    return found


def normalised(pictures: Sequence[Picture], side: int) -> Any:
    """Pixels as CLIP takes them, float32 [n, 3, side, side]: the short side scaled, the middle cut
    out."""
    import cv2
    import numpy as np
    import torch

    height, width = pictures[0].shape[:2]
    scale = side / min(height, width)
    size = max(side, round(width * scale)), max(side, round(height * scale))
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    made = [cv2.resize(p, size, interpolation=how) for p in pictures]
    cut = np.stack([p[top : top + side, left : left + side] for p in made])
    pixels = (cut.astype(np.float32) / 255 - MEAN) / DEVIATION
    return torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)


def merged_tokens(eyes: Any, pixels: Any, kept: float) -> Any:
    """Hidden states before the last layer without the class token, [n, tokens, channels], about
    ``kept`` of them: in every layer the r most alike are merged, between attention and MLP, by
    their keys' means over the heads."""
    import torch

    model = getattr(eyes, "vision_model", eyes)
    layers = model.encoder.layers
    hidden = model.pre_layrnorm(model.embeddings(pixels, interpolate_pos_encoding=True))
    r = int((hidden.shape[1] - 1) * (1 - kept) / len(layers))
    size = torch.ones_like(hidden[..., :1])
    for layer in layers[:-1]:
        normed = layer.layer_norm1(hidden)
        attention = layer.self_attn
        keys = attention.k_proj(normed).unflatten(-1, (attention.num_heads, -1)).mean(-2)
        hidden = hidden + attention(hidden_states=normed, attention_mask=None)[0]
        hidden, size = merge(hidden, size, keys, r)
        hidden = hidden + layer.mlp(layer.layer_norm2(hidden))
    return hidden[:, 1:]


def merge(hidden: Any, size: Any, keys: Any, r: int) -> tuple[Any, Any]:
    """Merge r of every second token into the token most like it among the others (ToMe).

    ``hidden`` [n, tokens, channels], ``size`` [n, tokens, 1]: how many tokens each stands for,
    ``keys`` [n, tokens, k]. The first token, of the class, is never merged.
    """
    import torch

    r = min(r, (hidden.shape[1] - 1) // 2)
    if r <= 0:
        return hidden, size
    keys = torch.nn.functional.normalize(keys.float(), dim=-1)
    alike = keys[:, ::2] @ keys[:, 1::2].transpose(1, 2)
    alike[:, 0] = -torch.inf
    best, target = alike.max(-1)
    order = best.argsort(-1, descending=True)
    going, staying = order[:, :r, None], order[:, r:, None].sort(1).values
    target = target[..., None].gather(1, going)

    def joined(x: Any) -> Any:
        a, b = x[:, ::2], x[:, 1::2]
        wide = x.shape[-1]
        moved = a.gather(1, going.expand(-1, -1, wide))
        b = b.scatter_add(1, target.expand(-1, -1, wide), moved)
        return torch.cat([a.gather(1, staying.expand(-1, -1, wide)), b], dim=1)

    total = joined(size)
    return joined(hidden * size) / total, total


def load(variant: Variant, device: str, folder: Path, _pixels: int) -> AuroraCap:
    return AuroraCap(folder, device, bits_of(variant))


AURORACAP = Family(
    (
        Variant(
            "auroracap-7b-nf4",
            {
                "describer": Hub(
                    "wchai/AuroraCap-7B-VID-xtuner",
                    "Apache-2.0; Vicuna inside: Llama 2 Community License",
                    16.0,
                    files=(
                        "*.json",
                        "*.safetensors",
                        "*.model",
                        "visual_encoder/*.json",
                        "visual_encoder/*.safetensors",
                        "projector/*.json",
                        "projector/*.safetensors",
                    ),
                    needs=FILES,
                )
            },
            ram_gib=8.9,
            vram=Vram(7.1, 1.2),
        ),
    ),
    load,
)
