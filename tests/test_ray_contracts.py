"""What Ray and Ray Serve do where one would guess otherwise. See docs/library_notes.md."""

from __future__ import annotations

import gc
import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
import ray

pytestmark = [pytest.mark.slow, pytest.mark.ray]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20
    )
    yield
    ray.shutdown()


class Worker:
    slept = False

    def ready(self) -> bool:
        return True

    def work(self, most_s: float) -> str:
        """Works until it is done or told to stop."""
        end = time.monotonic() + most_s
        while time.monotonic() < end:
            if ray.get_runtime_context().is_canceled():
                return "stopped"
            time.sleep(0.01)
        return "done"

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self.slept = True

    def has_slept(self) -> bool:
        return self.slept


def started(**options: Any) -> Any:
    made = ray.remote(num_cpus=0)(Worker).options(**options).remote()
    assert ray.get(made.ready.remote(), timeout=60)
    return made


@pytest.mark.usefixtures("cluster")
def test_a_handle_by_name_does_not_keep_an_actor_alive():
    """Only the creator's handle counts. Ours are detached: nothing but `down` ends them."""
    made = started(name="named")
    by_name = ray.get_actor("named")
    assert ray.get(by_name.ready.remote())
    del made
    gc.collect()

    def ask_until_it_is_gone() -> None:
        while True:
            assert ray.get(by_name.ready.remote())
            time.sleep(0.05)

    with pytest.raises(ray.exceptions.RayActorError):
        ask_until_it_is_gone()


@pytest.mark.usefixtures("cluster")
def test_a_synchronous_call_that_asks_can_be_cancelled_and_its_actor_is_free_at_once():
    actor = started()
    call = actor.work.remote(60)
    time.sleep(0.5)  # it is at work by then, or never was: both end in the same error
    ray.cancel(call)
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(call, timeout=30)
    assert ray.get(actor.ready.remote(), timeout=30)


@pytest.mark.usefixtures("cluster")
def test_a_synchronous_call_that_does_not_ask_runs_to_its_end():
    """Hence a call past its limit costs us the actor."""
    actor = started()
    call = actor.sleep.remote(3)
    ray.wait([call], timeout=1)
    ray.cancel(call)
    assert ray.get(actor.has_slept.remote(), timeout=30)


@pytest.mark.usefixtures("cluster")
def test_serve_answers_what_is_no_number_with_200_and_invalid_json():
    """A bare deployment's answer goes through Python's json. Our models refuse NaN by type."""
    from ray import serve

    class Answer:
        async def __call__(self, _request: Any) -> dict[str, float]:
            return {"loudness": float("nan")}

    deployment: Any = serve.deployment(ray_actor_options={"num_cpus": 0})(Answer)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        serve.run(deployment.bind(), route_prefix="/")
        with urlopen(f"http://127.0.0.1:{port}/", timeout=60) as reply:
            status, body = reply.status, reply.read()
    finally:
        serve.shutdown()
    assert (status, body) == (200, b'{"loudness":NaN}')

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    with pytest.raises(ValueError, match="NaN"):
        json.loads(body, parse_constant=refuse)


def test_a_jobs_environment_and_an_equal_one_of_its_driver_conflict(monkeypatch):
    """Two that differ are merged, two that say the same are refused. We give none in the driver."""
    ray.shutdown()
    same = {"env_vars": {"A": "1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": same}))
    try:
        with pytest.raises(ValueError, match="Failed to merge the Job's runtime env"):
            ray.init(num_cpus=1, include_dashboard=False, runtime_env=same)
    finally:
        ray.shutdown()
