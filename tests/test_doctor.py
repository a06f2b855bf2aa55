"""The doctor: what is ill is called so, with what to do."""

import socket

import pytest

from tiktok_ray import doctor
from tiktok_ray.cli import make_graph


def found(check, iterator):
    [finding] = [f for f in iterator if f.check == check]
    return finding


def test_every_part_is_examined(settings, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    findings = doctor.examine(make_graph(), settings)
    checks = {f.check for f in findings}
    assert checks >= {
        "python", "packages", "OpenCV", "ONNX Runtime", "memory", "shared memory", "results",
        "models", "card", "weights", "Ray", "service port", "dashboard port", "service",
        "open files", "network", "silence",
    }  # fmt: skip
    assert all(f.advice for f in findings if f.state == "bad")


def test_a_port_in_use_is_told(settings):
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken = settings.model_copy(update={"port": door.getsockname()[1]})
        assert found("service port", doctor._ports(taken)).state == "note"
    assert found("service port", doctor._ports(taken)).state == "ok"


def test_a_ray_that_does_not_answer_is_ill(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as door:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{door.getsockname()[1]}")
        assert found("Ray", doctor._ray()).state == "ok"
    assert found("Ray", doctor._ray()).state == "bad"
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert found("Ray", doctor._ray()).state == "bad"
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:6379")
    assert found("Ray", doctor._ray()).state == "ok"


@pytest.mark.parametrize(("length", "state"), [(10, "ok"), (60, "bad")])
def test_a_folder_too_deep_for_sockets_is_ill(monkeypatch, length, state):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", "/" + "x" * length)
    assert found("Ray", doctor._ray()).state == state


def test_disk_and_shared_memory_are_measured_against_the_settings(settings):
    greedy = settings.model_copy(update={"object_store_gib": 1e6})
    assert found("shared memory", doctor._shared_memory(greedy)).state in ("bad", "note")
    modest = settings.model_copy(update={"object_store_gib": 0.001})
    assert found("shared memory", doctor._shared_memory(modest)).state in ("ok", "note")


def test_proxies_are_named_but_not_their_passwords(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:hunter2@proxy.example:3128")
    finding = found("network", doctor._network())
    assert "https_proxy" in finding.found
    assert "hunter2" not in finding.found
