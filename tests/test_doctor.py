"""The doctor: what is ill is called so, with what to do."""

import socket

import pytest

from tiktok_ray.compose import make_graph
from tiktok_ray.methods import inference, onnx_export
from tiktok_ray.net.telemetry_block import tighten_token
from tiktok_ray.ops import doctor
from tiktok_ray.run import placement
from tiktok_ray.serve.jobs import Ledger
from tiktok_ray.serve.store import Store


def found(check, iterator):
    [finding] = [f for f in iterator if f.check == check]
    return finding


def test_every_part_is_examined(settings, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    findings = doctor.examine(make_graph(), settings)
    checks = {f.check for f in findings}
    assert checks >= {
        "python", "packages", "OpenCV", "ONNX Runtime", "memory", "shared memory", "results",
        "models", "card", "weights", "networks", "Ray", "service port", "dashboard port", "service",
        "open files", "network", "silence",
    }  # fmt: skip
    assert all(f.advice for f in findings if f.state == "bad")


def test_a_port_in_use_is_told(settings):
    with socket.create_server(("127.0.0.1", 0)) as socket_:
        taken = settings.model_copy(update={"port": socket_.getsockname()[1]})
        assert found("service port", doctor._ports(taken)).state == "note"
    assert found("service port", doctor._ports(taken)).state == "ok"


def test_a_ray_that_does_not_answer_is_ill(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as socket_:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{socket_.getsockname()[1]}")
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


def test_checkpoints_that_wait_for_their_export_are_named(settings, monkeypatch):
    place = settings.models / "ultralytics" / "yolov8n.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"weights")
    monkeypatch.setattr(placement, "cards_here", lambda _: ())
    graph = make_graph()
    waits = found("networks", doctor._networks(graph, settings))
    assert waits.state == "note"
    assert "once, at first use: ultralytics/yolov8n.pt" in waits.found
    assert "models pull" in waits.advice
    monkeypatch.setattr(onnx_export, "at_hand", lambda *_: True)
    assert found("networks", doctor._networks(graph, settings)).state == "ok"
    monkeypatch.setattr(inference, "_installed", lambda _: False)
    asked = settings.model_copy(update={"runtime": "openvino"})
    assert found("networks", doctor._networks(graph, asked)).state == "bad"
    inference.choose(inference.DEFAULT)


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


def test_a_home_that_cannot_be_read_is_ill_and_stays_as_it_is(settings):
    assert list(doctor._home(settings)) == []
    broken = settings.home / "results" / f"{1:024x}"
    broken.mkdir(parents=True)
    (broken / "report.json").write_text("{ broken")
    (settings.home / "jobs.sqlite").write_text("no database" * 500)
    (settings.home / "results" / "index.sqlite").write_text("no database" * 500)
    settings.home.chmod(0o755)
    told = list(doctor._home(settings))
    assert [f.state for f in told] == ["bad", "note"]
    for words in ("jobs.sqlite", "index.sqlite", broken.name):
        assert words in told[0].found
    assert broken.is_dir()
    settings.home.chmod(0o700)
    Ledger(settings.home / "jobs.sqlite").close()
    Store(settings.home / "results").close()
    [aside] = doctor._home(settings)
    assert aside.state == "note"
    assert all(words in aside.found for words in ("jobs.sqlite", "index.sqlite", broken.name))


def test_a_check_that_cannot_be_made_is_a_finding(settings, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor, "_weights", lambda *_: refuse(0))
    monkeypatch.setattr(doctor, "_home", refuse)
    told = {f.check: f for f in doctor.examine(make_graph(), settings) if f.state == "bad"}
    assert "Permission denied" in told["weights"].found
    assert "Permission denied" in told["home"].found


def test_options_of_nobody_are_ill(settings):
    wrong = settings.model_copy(update={"options": {"cut_analysi": {}}})
    [finding] = doctor._options(make_graph(), wrong)
    assert finding.state == "bad"
    assert "did you mean cut_analysis" in finding.found


def test_a_token_that_others_read_is_ill(monkeypatch, tmp_path):
    token = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert list(doctor._token()) == []
    token.write_text("secret")
    token.chmod(0o644)
    assert found("token of Ray", doctor._token()).state == "bad"
    tighten_token()
    assert found("token of Ray", doctor._token()).state == "ok"
    assert token.stat().st_mode & 0o777 == 0o600
