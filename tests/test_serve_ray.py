"""The service on Ray Serve, for real: over HTTP, and with its processes killed."""

import json
import os
import signal
import socket
import threading
import time

import httpx
import psutil
import pytest

ray = pytest.importorskip("ray")

from tests import fakes  # noqa: E402
from tiktok_ray.run.ray_actors import open_ray, remove_actors  # noqa: E402
from tiktok_ray.settings import Settings  # noqa: E402

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(280)]


def make_service(settings):
    from tiktok_ray.graph import Graph
    from tiktok_ray.run.placement import plan
    from tiktok_ray.run.ray_actors import Fleet
    from tiktok_ray.serve.service import Service

    graph = Graph([fakes.Plain, fakes.Tracked])
    made = plan(graph.analyzers.values(), settings)
    return Service(graph, Fleet(graph, made, settings, detached=True), settings)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("log") / "tracked"


@pytest.fixture(scope="module")
def service(tmp_path_factory, log):
    """A client of a service that runs on a Ray of its own."""
    from ray import serve

    from serve_app import application

    home = tmp_path_factory.mktemp("home")
    settings = Settings(
        home=home,
        models=home / "models",
        cores=2,
        object_store_gib=0.3,
        port=free_port(),
        in_flight=3,
        options={"tracked": {"log": str(log), "seconds": 2.0}},
    )
    open_ray(settings)
    serve.start(proxy_location="Disabled")
    serve.run(application(settings, make_service), name="tiktok_ray", route_prefix="/")
    with httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", timeout=60) as client:
        wait_until(lambda: client.get("/health").json()["fleet"]["loaded"] == ["plain", "tracked"])
        yield client
    serve.shutdown()
    remove_actors()
    ray.shutdown()


def wait_until(holds, patience=120.0):
    begin = time.monotonic()
    while time.monotonic() - begin < patience:
        try:
            if holds():
                return
        except (httpx.HTTPError, ValueError, KeyError):
            pass
        time.sleep(0.2)
    raise AssertionError("it did not come true in time")


def own_mib(pid):
    """Memory that is a process's alone, in MiB."""
    return psutil.Process(pid).memory_full_info().uss / 2**20


def upload(client, clip):
    answer = client.post("/analyze", files={"file": ("clip.mp4", clip.read_bytes())})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def replica():
    for process in psutil.Process().children(recursive=True):
        if (
            process.is_running()
            and process.cmdline()[:1]
            and "ServeReplica" in process.cmdline()[0]
        ):
            return process.pid
    raise AssertionError("there is no replica")


def lines_of(log, since=0):
    return [line.split() for line in log.read_text().splitlines()[since:]]


def test_a_round_trip(service, clip):
    begin = time.time()
    id = upload(service, clip)
    events, times = [], []
    with service.stream("GET", f"/jobs/{id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                times.append(time.time())
                events.append(json.loads(line.removeprefix("data: ")))
    assert times[0] - begin < 1.0, "the first event comes within a second"
    assert times[-1] - times[0] > 1.5, "events come while it works"
    assert events[-1]["state"] == "done"
    report = service.get(f"/results/{id}").json()
    assert report["analyzers"]["plain"]["output"] == {"n": 60}
    assert report["analyzers"]["tracked"]["status"] == "ok"


def test_a_killed_replica_loses_nothing(service, clip, log):
    """Three jobs are under way: all end, once each, the models stay warm, nothing overlaps."""
    before = len(log.read_text().splitlines())
    results = len(service.get("/results").json()["results"])
    # Other bytes each time: what is known already would come from the cache.
    ids = []
    for number in range(3):
        files = {"file": ("clip.mp4", clip.read_bytes() + bytes(number + 1))}
        ids.append(service.post("/analyze", files=files).json()["id"])
    wait_until(lambda: any(what == "begin" for what, _, _ in lines_of(log, before)))
    os.kill(replica(), signal.SIGKILL)
    wait_until(lambda: all(service.get(f"/jobs/{id}").json()["state"] == "done" for id in ids), 150)
    jobs = [service.get(f"/jobs/{id}").json() for id in ids]
    assert max(job["deaths"] for job in jobs) == 1
    assert len(service.get("/results").json()["results"]) == results + 3
    lines = lines_of(log, before)
    assert "load" not in [what for what, _, _ in lines], "the model stayed warm"
    assert len({pid for _, pid, _ in lines}) == 1
    kinds = [what for what, _, _ in lines]
    assert kinds == ["begin", "end"] * (len(kinds) // 2), "one at a time"


def test_cancelling_frees_the_actor_in_time(service, clip, log):
    before = len(log.read_text().splitlines())
    files = {"file": ("clip.mp4", clip.read_bytes() + bytes(9))}
    id = service.post("/analyze", files=files).json()["id"]
    wait_until(lambda: any(what == "begin" for what, _, _ in lines_of(log, before)))
    pid = int(next(pid for what, pid, _ in lines_of(log, before) if what == "begin"))
    begin = time.monotonic()
    assert service.delete(f"/jobs/{id}").json()["state"] == "cancelled"
    while psutil.pid_exists(pid) and time.monotonic() - begin < 10:
        time.sleep(0.05)
    assert time.monotonic() - begin < 5
    files = {"file": ("clip.mp4", clip.read_bytes() + bytes(10))}
    report = service.post("/analyze?wait=true", files=files).json()
    assert report["analyzers"]["tracked"]["status"] == "ok", "the next one runs clean"


def test_a_killed_analyzer_is_made_again(service, clip, log):
    before = len(log.read_text().splitlines())
    files = {"file": ("clip.mp4", clip.read_bytes() + bytes(11))}
    id = service.post("/analyze", files=files).json()["id"]
    wait_until(lambda: any(what == "begin" for what, _, _ in lines_of(log, before)))
    os.kill(int(lines_of(log, before)[-1][1]), signal.SIGKILL)
    wait_until(lambda: service.get(f"/jobs/{id}").json()["state"] == "done")
    report = service.get(f"/results/{id}").json()
    assert report["analyzers"]["tracked"]["status"] == "ok"


def test_large_uploads_leave_the_memory_as_it_is(service):
    """Four of 300 MiB at once; the service answers meanwhile."""

    def large():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        for _ in range(300):
            yield bytes(2**20)
        yield b"\r\n--x--\r\n"

    def send():
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        with httpx.Client(base_url=service.base_url, timeout=120) as client:
            answers.append(client.post("/analyze", content=large(), headers=headers).status_code)

    pid, answers, peak = replica(), [], 0.0
    before = own_mib(pid)
    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders):
        peak = max(peak, own_mib(pid))
        assert service.get("/health").status_code == 200
    assert answers == [202] * 4
    assert peak - before < 150
