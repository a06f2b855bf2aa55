"""Bundles ES modules into one script, so that a page needs no server for its parts.

The modules keep to two forms: ``import { a, b } from "./name.js";`` and ``export`` before a
function, class or constant. Each becomes a function with its own scope.
"""

from __future__ import annotations

import re
from pathlib import Path

IMPORT = re.compile(r'^import \{([^}]+)\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:(?:async )?function\*?|class|const) (\w+))", re.MULTILINE)
LEFT = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def bundle(folder: Path, entry: str) -> str:
    """The module ``entry`` of ``folder`` with all it imports, as one classic script.

    Raises ``ValueError`` for a form of import or export that is not foreseen, and for a cycle.
    """
    made: dict[str, str] = {}
    _add(folder, entry, made, ())
    return "\n" + "\n".join(made.values())


def _add(folder: Path, name: str, made: dict[str, str], path: tuple[str, ...]) -> None:
    if name in path:
        raise ValueError(f"modules import each other: {' → '.join([*path, name])}")
    if name in made:
        return
    text = (folder / f"{name}.js").read_text("utf-8")
    for _, source in IMPORT.findall(text):
        _add(folder, source, made, (*path, name))
    exports = EXPORT.findall(text)
    body = IMPORT.sub(lambda m: f"const {{{m[1]}}} = ${m[2]};\n", EXPORT.sub("", text))
    if odd := LEFT.search(body):
        raise ValueError(f"{name}.js: unsupported syntax: {odd[0]}")
    if "</script" in body.lower() or "<!--" in body:
        raise ValueError(f"{name}.js: contains text that would close a script element")
    made[name] = (
        f'const ${name} = (() => {{ "use strict";\n{body}return {{ {", ".join(exports)} }};\n}})();'
    )
