"""The service as a process: it ends with its Ray, leaves nothing, and starts again."""

import os
import subprocess
import sys

import httpx
import psutil
import pytest

from tests.test_serve_ray import free_port, wait_until
from tiktok_ray.serve import service_home
from tiktok_ray.settings import Settings

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(280)]


def test_the_service_ends_with_its_ray_and_starts_again(tmp_path):
    home, port = tmp_path / "home", free_port()
    environment = os.environ | {
        "TIKTOK_RAY_HOME": str(home),
        "TIKTOK_RAY_MODELS": str(tmp_path / "models"),
        "TIKTOK_RAY_PORT": str(port),
        "TIKTOK_RAY_DASHBOARD_PORT": str(free_port()),
        "TIKTOK_RAY_OBJECT_STORE_GIB": "0.2",
        "TIKTOK_RAY_PRELOAD": "false",
    }
    settings = Settings(home=home, port=port)
    command = [sys.executable, "-m", "tiktok_ray.cli", "serve"]
    said = tmp_path / "said"
    for vital in ("raylet", "gcs_server"):
        with (
            said.open("w") as log,
            subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
        ):
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                wait_until(lambda client=client: client.get("/health").json()["ready"])
            [ray_of] = [p for p in psutil.Process(process.pid).children() if p.name() == vital]
            ray_of.kill()
            assert process.wait(30) != 0, "it ends, and not as if it had been told to"
        assert [p for p, _ in service_home.marked(settings)] == []
