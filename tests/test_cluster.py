"""Clusters: what is copied where, nodes that are lost, and the files that make clusters."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests import fakes
from tests.test_batch import make_clips
from tests.test_dataset import read
from tiktok_ray.analyzer import Variant, Vram
from tiktok_ray.run.placement import Assignment, Card, Plan

ROOT = Path(__file__).parent.parent


def planned(cards=1, **places):
    """A plan: a number is a share of card 0, None the CPU."""
    assignments = {
        name: Assignment(
            name,
            Variant("v", vram=Vram(1, 1) if share else None),
            "cuda" if share else "cpu",
            {},
            gpu_share=share or 0.0,
            card=0 if share else None,
        )
        for name, share in places.items()
    }
    return Plan(assignments, {}, tuple(Card(k, 16.0) for k in range(cards)))


@pytest.fixture(scope="module")
def cluster_module():
    pytest.importorskip("ray")
    from tiktok_ray.batch import cluster

    return cluster


@pytest.mark.parametrize(
    ("plan", "seconds", "cores", "expected"),
    [
        (planned(a=0.3, b=0.2), {"a": 4, "b": 1}, 4, {"a": 2, "b": 1}),
        (planned(a=0.3, b=0.6), {"a": 4, "b": 1}, 4, {"a": 1, "b": 1}),
        (planned(2, a=0.3, b=0.2), {"a": 4, "b": 3}, 4, {"a": 4, "b": 4}),
        (planned(2, a=0.3, b=0.7), {"a": 2, "b": 4}, 4, {"a": 1, "b": 2}),
        (planned(a=None, b=None), {"a": 4, "b": 1}, 4, {"a": 4, "b": 1}),
        (planned(a=None, b=None), {"a": 4, "b": 4}, 2, {"a": 1, "b": 1}),
        (planned(a=0.1), {}, 4, {"a": 1}),
        (planned(), {}, 4, {}),
    ],
)
def test_the_slowest_is_copied_first_and_only_while_it_helps(
    cluster_module, plan, seconds, cores, expected
):
    made = cluster_module.replicas(seconds, plan, cores=cores)
    assert made == expected
    shares = sum(plan.assignments[n].gpu_share * k for n, k in made.items())
    assert shares <= len(plan.cards) + 1e-9


def test_copies_of_a_plan_hold_the_copied_alone(cluster_module):
    plan = planned(a=0.3, b=0.1, c=0.1)
    copies = {"a": 3, "b": 2, "c": 1}
    names = [set(cluster_module.only_those(plan, copies, k).assignments) for k in (1, 2)]
    assert names == [{"a", "b"}, {"a"}]


class StandIn:
    """Stands for a fleet: keeps what it was asked, and takes a moment."""

    def __init__(self, plan):
        self.plan, self.asked = plan, []

    async def start(self, names):
        self.asked.append(("start", *sorted(names)))

    async def run(self, name, *_):
        self.asked.append(("run", name))
        await asyncio.sleep(0.01)

    async def decode(self, *_):
        self.asked.append(("decode",))
        await asyncio.sleep(0.01)


async def test_copies_share_the_work(cluster_module):
    plan = planned(a=0.3, b=0.1)
    first, second = StandIn(plan), StandIn(cluster_module.only_those(plan, {"a": 2, "b": 1}, 1))
    spread = cluster_module.Spread(first, [second])
    await spread.start(["a", "b"])
    await asyncio.gather(*(spread.run(name, {}, 1) for name in "aaaabb"))
    await asyncio.gather(*(spread.decode(None, []) for _ in range(2)))
    assert first.asked[0] == ("start", "a", "b")
    assert second.asked[0] == ("start", "a")
    for fleet in (first, second):
        assert fleet.asked.count(("run", "a")) == 2
        assert fleet.asked.count(("decode",)) == 1
    assert first.asked.count(("run", "b")) == 2


# Real raylets


def free_ports(count):
    import socket

    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture
def raylets():
    """A cluster of a head without cores and two nodes with one each."""
    import ray
    from ray.cluster_utils import Cluster

    more = {"object_store_memory": 150 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **more})
    nodes = [made.add_node(num_cpus=1, object_store_memory=150 * 2**20) for _ in range(2)]
    yield made, nodes
    ray.shutdown()
    made.shutdown()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_raylet_is_killed_and_every_video_ends_once(
    raylets, tmp_path, settings, monkeypatch, cluster_module
):
    import ray

    from tiktok_ray.batch.dataset import Destination
    from tiktok_ray.batch.manifest import entries
    from tiktok_ray.batch.runner import Batch
    from tiktok_ray.graph import Graph

    made, nodes = raylets
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    clips = make_clips(tmp_path / "clips", 12)
    settings = settings.model_copy(
        update={"in_flight": 2, "options": {"plain": {"how": "slow"}}, "timeout_factor": 20.0}
    )
    graph = Graph([fakes.Behaved, fakes.Softly, fakes.Listener])
    runner = cluster_module.Cluster(graph, settings, [], [], nodes=2)
    out = Destination(tmp_path / "out")
    batch = Batch(list(entries(str(clips))), out, runner, settings)
    killed = []

    async def kill_one():
        while batch.tally.done < 3 or len(runner.cells) < 2:
            await asyncio.sleep(0.05)
        placed = {a: c.busy for a, c in runner.cells.items()}
        victim = nodes[0]
        killed.append((victim.node_id, placed.get(victim.node_id)))
        made.remove_node(victim, allow_graceful=False)

    killing = asyncio.create_task(kill_one())
    await batch.run()
    await killing
    cells = dict(runner.cells)
    await runner.close()
    print(f"killed {killed}, lost {runner.lost}, left {list(cells)}")
    assert runner.lost == [nodes[0].node_id]
    assert set(cells) == {nodes[1].node_id}
    videos = [row["source"] for row in read(out, "videos")]
    assert sorted(videos) == [str(p) for p in sorted(clips.iterdir())]
    assert {row["status"] for row in read(out, "analyzers")} == {"ok"}
    assert read(out, "failures") == []
    assert ray.is_initialized() is False


# Files


def test_the_cluster_file_is_what_ray_takes():
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    prepared = util.prepare_config(config)
    util.validate_config(prepared)
    kinds = prepared["available_node_types"]
    assert kinds["gpu_worker"]["min_workers"] == 0 < kinds["gpu_worker"]["max_workers"]
    assert kinds["gpu_worker"]["resources"]["GPU"] == 1
    assert kinds["head"]["resources"] == {"CPU": 0}
    [start] = [c for c in prepared["head_start_ray_commands"] if "ray start" in c]
    assert "--dashboard-host=127.0.0.1" in start
    assert "~/.ray/auth_token" in config["file_mounts"]
    setup = " ".join(config["setup_commands"])
    assert "RAY_AUTH_MODE=token" in setup
    assert "TIKTOK_RAY_EXTRA=gpu deploy/run" in setup
    assert "lock-gpu.txt" in (ROOT / "deploy/run").read_text().replace("$extra", "gpu")
    assert any("models pull" in c for c in prepared["worker_setup_commands"])


@pytest.mark.slow
def test_the_commands_of_the_cluster_file_are_shell():
    config = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    commands = [c for key, value in config.items() if key.endswith("commands") for c in value]
    assert len(commands) > 6
    for command in commands:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_the_image_has_no_rights_and_holds_what_it_needs():
    lines = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", " ").splitlines()
    said = [line.split(maxsplit=1) for line in lines if line and not line.startswith(("#", " "))]
    steps = [(word, rest) for word, rest in said]
    users = [rest for word, rest in steps if word == "USER"]
    assert users == ["tiktok"]
    assert [word for word, _ in steps].index("USER") < [word for word, _ in steps].index("COPY")
    ignored = (ROOT / "deploy/Dockerfile.dockerignore").read_text().splitlines()
    for _, rest in [s for s in steps if s[0] == "COPY"]:
        *sources, _target = [w for w in rest.split() if not w.startswith("--")]
        for source in sources:
            assert (ROOT / source).exists(), source
            assert any(source == k[1:] or source.startswith(f"{k[1:]}/") for k in ignored), source
    assert "--shm-size" in (ROOT / "deploy/Dockerfile").read_text()
    assert any(word == "HEALTHCHECK" for word, _ in steps)


# The real thing


RAY = str(Path(sys.executable).with_name("ray"))


class Jobs:
    """The jobs of a Ray of its own, through its command line."""

    def __init__(self, address, env):
        self.address, self.env = address, env

    def __call__(self, verb, *words):
        command = [RAY, "job", verb, "--address", self.address, *map(str, words)]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=400)
        return done.returncode, done.stdout + done.stderr

    def submit(self, manifest, out, *options, only="cut_analysis,audio_analysis"):
        excluded = json.dumps({"excludes": [".venv", ".git", "uv.lock", "docs"]})
        return self(
            "submit", "--working-dir", ROOT, "--runtime-env-json", excluded, *options,
            "--", sys.executable, "-m", "tiktok_ray.batch", manifest, "--out", out,
            "--only", only,
        )  # fmt: skip


@pytest.fixture
def jobs(tmp_path):
    """A Ray of its own, on its own ports and in its own folder, that takes jobs."""
    port, dashboard, agent, client, metrics = free_ports(5)
    env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env |= {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        "TIKTOK_RAY_HOME": str(tmp_path / "home"),
        "TIKTOK_RAY_CACHE_GIB": "0",
        "RAY_AUTH_MODE": "disabled",
    }
    temp = Path(f"/tmp/tr-{os.getpid()}")
    head = subprocess.Popen(
        [RAY, "start", "--head", "--block", f"--port={port}", f"--dashboard-port={dashboard}",
         "--dashboard-host=127.0.0.1", f"--dashboard-agent-listen-port={agent}",
         f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}",
         "--num-cpus=2", "--object-store-memory=200000000", f"--temp-dir={temp}",
         "--node-ip-address=127.0.0.1"],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        made = Jobs(f"http://127.0.0.1:{dashboard}", env)
        end = time.monotonic() + 90
        while made("list")[0]:
            assert time.monotonic() < end, "Ray takes no jobs"
            time.sleep(2)
        yield made
    finally:
        ours = [psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]
        session = [
            p for p in psutil.process_iter(["cmdline"])
            if str(temp) in " ".join(p.info["cmdline"] or ())
        ]  # fmt: skip
        for process in {*ours, *session} - {psutil.Process()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        head.wait()
        shutil.rmtree(temp, ignore_errors=True)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_ray_job_submit(tmp_path, jobs):
    """A batch as a job: what is not there is a failure, and the same command again mends it."""
    clips = sorted(make_clips(tmp_path / "clips", 4).iterdir())
    manifest, out = tmp_path / "m.txt", tmp_path / "out"
    manifest.write_text("\n".join(map(str, clips)) + "\nnowhere.mp4\n")
    code, told = jobs.submit(manifest, out)
    assert code != 0, told
    assert "failed: nowhere.mp4: not_found" in told
    assert re.search(r"ended: 5 of 5, 4 reports, 1 failed", told), told
    assert "exit code 3" in told, told
    from tiktok_ray.batch.dataset import Destination

    assert {r["source"] for r in read(Destination(out), "videos")} == {str(p) for p in clips}
    manifest.write_text("\n".join(map(str, clips)) + "\n")
    code, told = jobs.submit(manifest, out)
    assert code == 0, told
    assert "ended: 4 of 4, 4 reports" in told


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_ray_job_stop(tmp_path, jobs):
    """A stopped job leaves what was done and nothing half done; the same command goes on."""
    clips, out = make_clips(tmp_path / "clips", 40, seconds=4.0), tmp_path / "out"
    # Enough work that the command which stops it has long begun when the last video comes.
    only = "cut_analysis,camera_analysis,color_analysis,audio_analysis,text_overlay"
    code, told = jobs.submit(clips, out, "--submission-id", "stopped", "--no-wait", only=only)
    assert code == 0, told
    end = time.monotonic() + 200
    while len(done := list((out / "reports").glob("*.json"))) < 3:
        assert time.monotonic() < end, jobs("logs", "stopped")
        time.sleep(0.05)
    code, told = jobs("stop", "stopped")
    assert code == 0, told
    assert "was stopped" in jobs("status", "stopped")[1]
    before = {path.name: path.stat().st_mtime_ns for path in (out / "reports").glob("*.json")}
    assert len(done) <= len(before) < 40
    code, told = jobs.submit(clips, out, only=only)
    assert code == 0, told
    assert "40 reports" in told, told
    after = {path.name: path.stat().st_mtime_ns for path in (out / "reports").glob("*.json")}
    assert len(after) == 40
    assert before.items() <= after.items(), "what was done was done again"
    from tiktok_ray.batch.dataset import Destination

    sources = sorted(row["source"] for row in read(Destination(out), "videos"))
    assert sources == sorted(map(str, clips.iterdir()))
    left = {path.name for path in (out / "state").rglob("*") if path.is_file()}
    assert left == {"lock", "progress.json"}
    assert not any((tmp_path / "home/batch").iterdir())
