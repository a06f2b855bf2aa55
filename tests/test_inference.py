"""Running networks: both runtimes give the same, single-threaded, and say who they are."""

import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tiktok_ray.methods import inference
from tiktok_ray.methods.denormals import denormals_as_zero
from tiktok_ray.methods.inference import DEFAULT, Runtime, choose, noted, open_session


@pytest.fixture(autouse=True)
def _by_default():
    yield
    choose(DEFAULT)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Two outputs, sum and product of two inputs of any length; it says what it is."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "abcd"]
    nodes = [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Mul", ["a", "b"], ["d"])]
    graph = helper.make_graph(nodes, "sums", values[:2], values[2:])
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    helper.set_model_props(model, {"character": "a\nß\n字", "kind": "sums"})
    onnx.save(model, tmp_path / "sums.onnx")
    return tmp_path / "sums.onnx"


@pytest.mark.parametrize("choice", ["onnxruntime", "openvino"])
def test_sessions_answer_alike_in_every_runtime(network: Path, choice: Runtime):
    choose(choice)
    session = open_session(network)
    a, b = np.array([1, 2, 3], np.float32), np.array([4, 5, 6], np.float32)
    total, product = session(a, b)
    assert total.tolist() == [5, 7, 9]
    assert product.tolist() == [4, 10, 18]
    assert [x.tolist() for x in session.run(["d"], {"b": b[:1], "a": a[:1]})] == [[4]]
    assert [node.name for node in session.get_inputs()] == ["a", "b"]
    assert [node.name for node in session.get_outputs()] == ["c", "d"]
    assert session.metadata == {"character": "a\nß\n字", "kind": "sums"}


@pytest.mark.parametrize("choice", ["onnxruntime", "openvino"])
def test_pictures_turned_about_are_read_as_they_stand(network: Path, choice: Runtime):
    choose(choice)
    session = open_session(network)
    a = np.arange(6, dtype=np.float32)
    a.flags.writeable = False
    assert session(a[::-2], a[:3])[0].tolist() == [5, 4, 3]
    assert a.tolist() == list(range(6))


@pytest.mark.parametrize("choice", ["onnxruntime", "openvino"])
def test_an_answer_stays_what_it_was(network: Path, choice: Runtime):
    choose(choice)
    session = open_session(network)
    first = session(np.ones(2, np.float32), np.ones(2, np.float32))[0]
    session(np.zeros(2, np.float32), np.zeros(2, np.float32))
    assert first.tolist() == [2, 2]


def test_what_was_opened_is_noted_with_its_version(network: Path):
    import onnxruntime

    choose("onnxruntime")
    with noted() as opened:
        open_session(network)
        open_session(network)
    assert list(opened) == [f"onnxruntime {onnxruntime.__version__}"]
    open_session(network)
    assert len(opened) == 1


def test_a_runtime_that_is_not_there_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inference, "_installed", lambda _: False)
    choose("openvino")
    with pytest.raises(inference.RuntimeMissing, match="openvino is not installed"):
        inference.runtime()


@pytest.mark.parametrize("choice", ["onnxruntime", "openvino"])
def test_what_is_no_network_is_an_error(tmp_path: Path, choice: Runtime):
    choose(choice)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_session(tmp_path / "nowhere.onnx")
    (tmp_path / "not.onnx").write_bytes(b"not a network")
    with pytest.raises(Exception, match="not"):
        open_session(tmp_path / "not.onnx")


def _survives(value: float) -> bool:
    return bool((np.full(64, value, np.float32) * np.ones(64, np.float32)).any())


@pytest.mark.skipif(platform.machine() != "x86_64", reason="set on x86-64 only")
def test_denormals_count_as_zero_inside_and_nowhere_else():
    assert _survives(1e-40)
    with denormals_as_zero():
        assert not _survives(1e-40)
        assert _survives(1.2e-38)
    assert _survives(1e-40)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="set on x86-64 only")
def test_every_session_counts_denormals_as_zero_in_every_thread(network: Path):
    small, one = np.full(64, 1e-40, np.float32), np.ones(64, np.float32)
    sessions = [open_session(network), open_session(network)]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(_survives, 1e-40).result()
        for session in sessions:
            assert not pool.submit(session.run, ["d"], {"a": small, "b": one}).result()[0].any()
            assert not session(small, one)[1].any()
        assert pool.submit(_survives, 1e-40).result()
