"""The one way networks run on the CPU: sessions for ONNX files.

ONNX Runtime runs them, or OpenVINO where it is chosen. On a Xeon with AVX-512 as on an AMD EPYC both
take the same (``docs/speed.md``), and ONNX Runtime is ready in a quarter of the time and holds less
memory. Both compute in 32 bits, on as many threads as they are told, count denormal numbers as zero,
and give the same numbers to 1e-5 of their range. What is no ONNX file is made one by
``onnx_export``.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.first_imports import import_first
from tiktok_ray.methods.denormals import denormals_as_zero

Array = NDArray[Any]
Runtime = Literal["onnxruntime", "openvino"]

#: Libraries that run networks, as reports name them; which of them an analyzer imports tells what
#: it runs on where it does not open a session here.
RUNTIMES = ("torch", "ctranslate2", "mediapipe")
DEFAULT: Runtime = "onnxruntime"

_choice: Runtime = DEFAULT
_noted: ContextVar[dict[str, None] | None] = ContextVar("runtimes", default=None)


class Node(NamedTuple):
    """An input or output of a network; unknown sides are None."""

    name: str
    shape: tuple[int | None, ...]


class Session(Protocol):
    """A network ready to run, in the manner of ONNX Runtime's ``InferenceSession``.

    ``metadata`` is what the file says of itself. One call at a time.
    """

    metadata: Mapping[str, str]

    def get_inputs(self) -> Sequence[Any]:
        """The inputs, each with ``name`` and ``shape``."""

    def get_outputs(self) -> Sequence[Any]:
        """The outputs, likewise."""

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names (None: all, in their order) for inputs by name."""

    def __call__(self, *inputs: Array) -> list[Array]:
        """All outputs for all inputs, in their orders."""


class RuntimeMissing(Exception):
    """The requested runtime is not installed."""


def choose(choice: Runtime) -> None:
    """Choose the runtime for networks opened by this process from now on."""
    global _choice
    _choice = choice


def runtime() -> Runtime:
    """The runtime for networks in this process. Raises ``RuntimeMissing``."""
    if not _installed(_choice):
        raise RuntimeMissing(f"{_choice} is not installed: uv sync, or unset TIKTOK_RAY_RUNTIME")
    return _choice


def decisive(choice: Runtime, libraries: Collection[str]) -> list[str]:
    """All that decides what networks run on here, opened in this way or by these libraries: for
    who must know before any is opened whether another would have run them."""
    able = [name for name in RUNTIMES if name in libraries]
    return [*map(named, (*able, choice))]


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def open_session(path: Path, *, threads: int = 1) -> Session:
    """Open the network of an ONNX file with so many CPU threads.

    Raises ``FileNotFoundError``, and what the runtime raises for a file that is not a network.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no model file at {path}")
    chosen = runtime()
    import_first((chosen,))
    session: Session = (
        _OpenVino(path, threads) if chosen == "openvino" else _OnnxRuntime(path, threads)
    )
    note(chosen)
    return session


@contextmanager
def noted() -> Iterator[dict[str, None]]:
    """Runtimes, with versions, of what is opened inside the block: the keys of what is given."""
    found: dict[str, None] = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)


def note(library: str) -> None:
    """A network has been opened in this library."""
    found = _noted.get()
    if found is not None:
        found[named(library)] = None


@functools.cache
def named(library: str) -> str:
    """A library with its version."""
    try:
        return f"{library} {importlib.metadata.version(library)}"
    except importlib.metadata.PackageNotFoundError:
        return library


class _OnnxRuntime:
    def __init__(self, path: Path, threads: int) -> None:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        with denormals_as_zero():
            self._session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.metadata: Mapping[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.get_inputs = self._session.get_inputs
        self.get_outputs = self._session.get_outputs
        self._names = [node.name for node in self.get_inputs()]

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Array]) -> list[Array]:
        with denormals_as_zero():
            found: list[Array] = self._session.run(names, feed)
        return found

    def __call__(self, *inputs: Array) -> list[Array]:
        return self.run(None, dict(zip(self._names, inputs, strict=True)))


class _OpenVino:
    def __init__(self, path: Path, threads: int) -> None:
        core = _core()
        model = core.read_model(str(path))
        self.metadata: Mapping[str, str] = _metadata(model)
        # Processors with 16 bit units would be given them, and other numbers.
        how = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(model, "CPU", how)
        self._request = compiled.create_infer_request()
        self._inputs = [_node(port) for port in compiled.inputs]
        self._outputs = [_node(port) for port in compiled.outputs]
        self._ports = {name: port for port in compiled.outputs for name in port.get_names()}

    def get_inputs(self) -> Sequence[Node]:
        return self._inputs

    def get_outputs(self) -> Sequence[Node]:
        return self._outputs

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Array]) -> list[Array]:
        given = {name: np.ascontiguousarray(value) for name, value in feed.items()}
        found = self._request.infer(given, share_inputs=True)
        wanted = [node.name for node in self._outputs] if names is None else names
        return [found[self._ports[name]] for name in wanted]

    def __call__(self, *inputs: Array) -> list[Array]:
        names = [node.name for node in self._inputs]
        return self.run(None, dict(zip(names, inputs, strict=True)))


@functools.cache
def _core() -> Any:
    import openvino

    return openvino.Core()


def _metadata(model: Any) -> dict[str, str]:
    """An ONNX file's own words, which OpenVINO keeps under ``framework``."""
    place = ["framework"]
    if not model.has_rt_info(place):
        return {}
    return {key: value.astype(str) for key, value in model.get_rt_info(place).astype(dict).items()}


def _node(port: Any) -> Node:
    sides = (None if side.is_dynamic else side.get_length() for side in port.get_partial_shape())
    return Node(port.get_any_name(), tuple(sides))
