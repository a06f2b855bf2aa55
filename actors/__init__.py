"""The analyzers, one a module, found by being here. ``import actors`` loads none of them.

The module ``cut_analysis`` is an analyzer since its class ``CutAnalysis`` is one; modules without such
a class are parts of analyzers. A worker's process imports the one that it runs, and what that leads to.
"""

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiktok_ray.analyzer import Analyzer

    #: The class of each; the graph is read from their signatures.
    ANALYZERS: tuple[type[Analyzer], ...]
    #: Their names, which are those of their modules too.
    NAMES: tuple[str, ...]


def __getattr__(name: str) -> Any:
    if name == "NAMES":
        return _names()
    if name == "ANALYZERS":
        return tuple(getattr(import_module(f"actors.{one}"), _class(one)) for one in _names())
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _names() -> tuple[str, ...]:
    """Modules here with a class of their own name, without importing any."""
    return tuple(
        file.stem
        for file in sorted(Path(__file__).parent.glob("[a-z]*.py"))
        if re.search(
            rf"^class {_class(file.stem)}\(", file.read_text(encoding="utf-8"), re.MULTILINE
        )
    )


def _class(module: str) -> str:
    return "".join(word.capitalize() for word in module.split("_"))
