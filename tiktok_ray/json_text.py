"""Compact yet readable JSON text: the one format this project writes for people.

Whatever fits is on one line, so that an event, a word or a row is a line; lists of numbers fill
lines. That takes about half the bytes of one value per line.
"""

from __future__ import annotations

import json
import math
from typing import Any

#: Longest line, where what stands in it can be parted at all.
WIDTH = 140
_SCALAR = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def json_text(value: Any) -> str:
    """The value as JSON text, without a line end. Raises ``TypeError`` for what is not a JSON value,
    and ``ValueError`` for NaN and infinity.
    """
    return _text(value, 0, 0)


def _text(value: Any, depth: int, before: int) -> str:
    """A value, whose lines after the first are indented by ``depth`` and a space.

    ``before``: characters that stand before it on its first line.
    """
    if type(value) is float and math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        items = [
            (name := _SCALAR.encode(str(key)) + ": ")
            + _text(inner, depth + 1, depth + 1 + len(name))
            for key, inner in value.items()
        ]
        return _joined(items, "{}", depth, before, False)
    if isinstance(value, list | tuple):
        items = [_text(inner, depth + 1, depth + 1) for inner in value]
        fill = not any(isinstance(inner, dict | str) for inner in value)
        return _joined(items, "[]", depth, before, fill)
    return _SCALAR.encode(value)


def _joined(items: list[str], marks: str, depth: int, before: int, fill: bool) -> str:
    """Items on one line where they fit, else each on its own; ``fill``: as many a line as fit."""
    long = any("\n" in item for item in items)
    size = sum(map(len, items)) + 2 * len(items) + before
    if not long and size < WIDTH:
        return f"{marks[0]}{', '.join(items)}{marks[1]}"
    indent = "\n" + " " * (depth + 1)
    if not fill or long:
        return f"{marks[0]}{indent}{f',{indent}'.join(items)}\n{' ' * depth}{marks[1]}"
    lines, room = [[items[0]]], WIDTH - depth - len(items[0])
    for item in items[1:]:
        room -= len(item) + 2
        if room < 0:
            lines.append([])
            room = WIDTH - depth - len(item)
        lines[-1].append(item)
    body = f",{indent}".join(", ".join(line) for line in lines)
    return f"{marks[0]}{indent}{body}\n{' ' * depth}{marks[1]}"
