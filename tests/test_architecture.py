"""How the modules hang together: read from their sources, imports inside functions included."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def modules(root: Path) -> dict[str, Path]:
    """Every module of ours by its name."""
    files = [*root.glob("tiktok_ray/**/*.py"), *root.glob("actors/**/*.py"), *root.glob("*.py")]
    return {_name(file.relative_to(root)): file for file in files}


def _name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below but those that only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _code(child)


@cache
def code(file: Path) -> tuple[ast.AST, ...]:
    """All nodes of a module that Python runs."""
    return tuple(_code(ast.parse(file.read_text(encoding="utf-8"))))


def imports(name: str, file: Path, known: dict[str, Path]) -> set[str]:
    """Modules of ours that a module imports, at its top or inside functions."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in code(file):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return (found & set(known)) - {name}


#: What may import what: each line knows those above it, and itself. Modules at the top of the package
#: stand by their own names, folders for all that they hold.
LAYERS = (
    ("settings", "files", "logs", "first_imports", "json_text"),
    ("report", "weights", "analyzer"),
    ("media",),
    ("net",),
    ("methods",),
    ("graph",),
    ("actors",),
    ("catalog",),
    ("reporting",),
    ("exports", "viewer"),
    ("run",),
    ("serve",),
    ("compose", "console", "demo"),
    ("library", "commands"),
    ("batch", "ops"),
    ("cli",),
)


def layer(name: str) -> int:
    """Where a module stands in ``LAYERS``. Raises ``StopIteration`` for one without a place."""
    parts = name.split(".")
    folder = {"actors": "actors", "serve_app": "ops"}.get(parts[0]) or parts[1]
    return next(level for level, names in enumerate(LAYERS) if folder in names)


def circle(root: Path) -> list[str]:
    """Modules that import each other in a circle; none where there is none."""
    known = modules(root)
    try:
        TopologicalSorter({n: imports(n, file, known) for n, file in known.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle():
    assert len(modules(ROOT)) > 100
    assert circle(ROOT) == []


def test_no_module_imports_upward():
    known = modules(ROOT)
    known.pop("tiktok_ray")  # the version, and the Python API when it is asked for
    upward = {
        (name, other)
        for name, file in known.items()
        for other in imports(name, file, known)
        if layer(other) > layer(name)
    }
    assert upward == set()


def test_actors_holds_the_analyzers_and_nothing_else():
    from actors import NAMES

    home = ROOT / "actors"
    modules = {file.stem for file in home.glob("*.py")} - {"__init__"}
    folders = {file.parent.name for file in home.glob("*/*.py")}
    assert modules | folders == set(NAMES)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("from tiktok_ray import b", "from tiktok_ray.c import x", False),
        ("from tiktok_ray import b", "def f():\n    from tiktok_ray.a import x", True),
        ("from . import b", "from .a import x", True),
        ("import tiktok_ray.b", "if TYPE_CHECKING:\n    from tiktok_ray.a import x", False),
    ],
)
def test_a_circle_is_found(tmp_path, first, second, found):
    (tmp_path / "tiktok_ray").mkdir()
    for name, text in {"__init__": "", "a": first, "b": second, "c": "x = 1"}.items():
        (tmp_path / "tiktok_ray" / f"{name}.py").write_text(text)
    assert bool(circle(tmp_path)) == found


def test_whoever_wants_workers_or_a_service_gets_them_from_one_place():
    """Only ``compose`` makes fleets and engines; ``cluster`` makes one for each node of its own."""
    made = ("Engine", "Fleet", "ProcessWorkers", "Service", "DiskCache")
    makers = {
        name
        for name, file in modules(ROOT).items()
        for node in code(file)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in made
    }
    assert makers - {"tiktok_ray.compose"} == {
        "tiktok_ray.run.cache",  # which opens itself
        "tiktok_ray.batch.cluster",
        "tiktok_ray.serve.service",  # its engine, over the workers that it is given
        "tiktok_ray.ops.maintenance",  # empties a cache
    }


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("tiktok_ray", ["torch", "ray", "numpy", "av", "pydantic", "typer", "actors"]),
        (
            "tiktok_ray.cli",
            ["torch", "ray", "cv2", "httpx", "prometheus_client", "yt_dlp", "actors"],
        ),
    ],
)
def test_the_package_and_its_command_are_light_to_import(module, heavy):
    code = f"import sys, {module}; print(sorted(m for m in sys.modules if m in sys.argv[1:]))"
    words = [sys.executable, "-c", code, *heavy]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "[]\n"
