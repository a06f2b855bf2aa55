"""The analyzers, one per module or folder, discovered automatically. ``import actors`` loads none of them.

The module ``cut_analysis`` is an analyzer since its class ``CutAnalysis`` is one; a large one is a folder
whose ``__init__`` has the class. A worker's process imports the one that it runs, and what that leads to.
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
    """Modules and folders here with a class of their own name, without importing any."""
    here = Path(__file__).parent
    files = {file.stem: file for file in here.glob("[a-z]*.py")}
    files |= {file.parent.name: file for file in here.glob("[a-z]*/__init__.py")}
    return tuple(sorted(name for name, file in files.items() if _has_class(name, file)))


def _has_class(name: str, file: Path) -> bool:
    pattern = rf"^class {_class(name)}\("
    return re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE) is not None


def _class(module: str) -> str:
    return "".join(word.capitalize() for word in module.split("_"))
