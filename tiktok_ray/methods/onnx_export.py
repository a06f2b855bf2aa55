"""One-time export of torch checkpoints to ONNX, so that nothing on the CPU has to import torch.

An export lies beside its checkpoint, or in the cache folder where that cannot be written (or is
inside a package). Its name says how it was made (the recipe and the versions of the exporting
libraries), of what (SHA-256 of the checkpoint) and what it is (SHA-256 of itself): one that is stale is not found,
one that is damaged is not believed, and both are made again. What another recipe made of the same
checkpoint stays: revisions that share a folder of models take turns. It appears whole, by one renaming; two
processes that export at once make two equally good ones, of which one stays.

``python -m tiktok_ray.methods.onnx_export MODULE:FUNCTION CHECKPOINT FOLDER NAME`` is the process that does it.
"""

from __future__ import annotations

import glob
import hashlib
import importlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from tiktok_ray.files import sha256_of
from tiktok_ray.methods.inference import named
from tiktok_ray.report import said

log = logging.getLogger("tiktok_ray.methods.onnx_export")

STAGING = ".exporting-"
#: Opset of the files: the oldest that holds everything these networks are made of.
OPSET = 17
#: Digits of a SHA-256 in a file's name.
DIGITS = 16
#: What transformers calls the weights in a checkpoint's folder, in its own order.
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
#: Age of what an export that was killed left behind.
LEFT_S = 3600.0


class ExportFailed(Exception):
    """A checkpoint could not be exported; the message says why, and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How one kind of checkpoint becomes ONNX.

    ``function`` is ``module:name`` of a function of two paths, checkpoint (a file, or a folder as
    transformers makes them) and ONNX file;
    ``packages`` are what it uses. ``revision`` goes up whenever it makes something else.
    ``beside``: exports may lie beside their checkpoint, which is in no package.
    """

    function: str
    revision: int
    packages: tuple[str, ...] = ("torch",)
    beside: bool = True

    @property
    def version(self) -> str:
        """What made an export: the function with its revision, and the packages with theirs."""
        return ", ".join((f"{self.function} {self.revision}", *map(named, self.packages)))


def exported(checkpoint: Path, recipe: Recipe) -> Path:
    """The ONNX file of a checkpoint, exported now if needed.

    Raises ``FileNotFoundError`` and ``ExportFailed``.
    """
    name = _name(checkpoint, recipe)
    folders = _folders(checkpoint, recipe)
    return _whole(folders, name) or _make(checkpoint, recipe, folders, name)


def at_hand(checkpoint: Path, recipe: Recipe) -> bool:
    """Whether the export already exists."""
    return _whole(_folders(checkpoint, recipe), _name(checkpoint, recipe)) is not None


def _name(checkpoint: Path, recipe: Recipe) -> str:
    weights = _weights(checkpoint)
    made_by = hashlib.sha256(recipe.version.encode()).hexdigest()
    return f"{weights.stem}-{made_by[:DIGITS]}-{sha256_of(weights)[:DIGITS]}"


def _weights(checkpoint: Path) -> Path:
    """The file that has a checkpoint's weights."""
    names = WEIGHTS if checkpoint.is_dir() else ("",)
    found = next((file for name in names if (file := checkpoint / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"no checkpoint at {checkpoint}")
    return found


def _folders(checkpoint: Path, recipe: Recipe) -> list[Path]:
    cache = Path(platformdirs.user_cache_dir("tiktok_ray")) / "exports"
    return [_weights(checkpoint).parent, cache] if recipe.beside else [cache]


def _whole(folders: Iterable[Path], name: str) -> Path | None:
    """The export of that name whose content is what its name says."""
    for folder in folders:
        for path in folder.glob(f"{glob.escape(name)}-*.onnx"):
            if _undamaged(path):
                return path
            log.warning("%s is damaged and will be exported again", path)
    return None


def _undamaged(path: Path) -> bool:
    return path.stem.rpartition("-")[2] == sha256_of(path)[:DIGITS]


def _make(checkpoint: Path, recipe: Recipe, folders: Iterable[Path], name: str) -> Path:
    refused = []
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=folder))
        except OSError as error:
            refused.append(f"{folder}: {error.strerror}")
            continue
        log.info("exporting %s to %s (only once)", checkpoint.name, folder)
        try:
            return _run(checkpoint, recipe, staging, name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    raise ExportFailed(
        f"no writable folder for the export of {checkpoint.name} ({'; '.join(refused)}): "
        "make one of them writable"
    )


def _run(checkpoint: Path, recipe: Recipe, staging: Path, name: str) -> Path:
    """Export in a process of its own, which takes torch along when it ends."""
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)
    words = [sys.executable, "-m", "tiktok_ray.methods.onnx_export", recipe.function]
    done = subprocess.run(
        [*words, str(checkpoint), str(staging), name],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        log.error("exporting %s failed: %s", checkpoint, done.stderr[-4000:])
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ExportFailed(f"{checkpoint.name} cannot be exported: {last[:500]}")
    return Path(done.stdout.splitlines()[-1])


def write(
    function: Callable[..., Any],
    target: Path,
    inputs: Mapping[str, Any],
    output: str,
    dynamic: Mapping[str, Mapping[int, str]],
    properties: Mapping[str, str] = {},
) -> None:
    """Write a function of tensors as ONNX. ``inputs``: an example of each; ``dynamic``: which sides of
    which input or output vary; ``properties``: what the file is to say of itself.

    Weights that the function closes over must ask for no gradients; those of a module may.
    """
    import onnx
    import torch

    class Whole(torch.nn.Module):  # type: ignore[misc]
        forward = staticmethod(function)

    torch.onnx.export(
        (function if isinstance(function, torch.nn.Module) else Whole()).eval(),
        tuple(inputs.values()),
        str(target),
        dynamo=False,
        opset_version=OPSET,
        input_names=list(inputs),
        output_names=[output],
        dynamic_axes={name: dict(sides) for name, sides in dynamic.items()},
    )
    if properties:
        made = onnx.load(target)
        onnx.helper.set_model_props(made, dict(properties))
        onnx.save(made, target)


def main() -> None:
    """Export one checkpoint, and print the path of the file."""
    from tiktok_ray.net.telemetry_block import block_telemetry

    block_telemetry()
    function, checkpoint, staging, name = sys.argv[1], *map(Path, sys.argv[2:4]), sys.argv[4]
    module, _, attribute = function.partition(":")
    made = staging / "network.onnx"
    try:
        getattr(importlib.import_module(module), attribute)(checkpoint, made)
    except Exception as error:
        log.error("the export raised", exc_info=error)
        sys.exit(said(error).splitlines()[0])
    place = staging.parent / f"{name}-{sha256_of(made)[:DIGITS]}.onnx"
    os.replace(made, place)
    for path in _outdated(staging.parent, name):
        with suppress(OSError):
            path.unlink() if path.is_file() else shutil.rmtree(path)
    print(place)


def _outdated(folder: Path, name: str) -> Iterator[Path]:
    """Exports that the same recipe made of a former checkpoint of that name, damaged ones, and what
    killed exports left. Not those that another process has just made as well."""
    recipe = re.escape(name.rpartition("-")[0])
    ours = re.compile(rf"{recipe}(-[0-9a-f]{{{DIGITS}}}){{2}}\.onnx")
    for path in folder.iterdir():
        if ours.fullmatch(path.name):
            if not (path.name.startswith(f"{name}-") and _undamaged(path)):
                yield path
        elif path.name.startswith(STAGING) and time.time() - path.stat().st_mtime > LEFT_S:
            yield path


if __name__ == "__main__":
    main()
