"""Nothing calls out: watched from outside the process, by the packets that leave a namespace."""

import os
import shutil
import subprocess
import sys

import pytest

SET_UP = """
set -e
mount -t sysfs sysfs /sys
ip link set lo up
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 2>/dev/null || true
ip link add out type veth peer name far
ip link set out arp off
ip addr add 10.231.1.2/24 dev out
ip link set far up
ip link set out up
sleep 0.2
before=$(cat /sys/class/net/out/statistics/tx_packets)
ip route add default dev out
code=0
"$@" >&2 || code=$?
echo sent $(($(cat /sys/class/net/out/statistics/tx_packets) - before))
exit $code
"""


def watched(*command, env=None):
    """Run a command where every packet to anywhere is counted; returns the count."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs root, unshare and ip to make a network namespace")
    trial = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    if trial.returncode:
        pytest.skip("this machine gives no network namespace")
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", SET_UP, "sh", *command],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split("sent")[1].split()[0])


def test_the_watch_sees_a_name_lookup():
    code = "import socket\ntry: socket.create_connection(('198.51.100.7', 80), 0.2)\nexcept OSError: print('refused')"
    assert watched(sys.executable, "-c", code) > 0


def test_native_code_meets_a_closed_door_and_python_keeps_its_proxy():
    code = """
import ctypes, os
from tiktok_ray.net.telemetry_block import block_native_telemetry
block_native_telemetry()
native = ctypes.CDLL(None).getenv
native.restype = ctypes.c_char_p
print(os.environ["https_proxy"], native(b"https_proxy").decode(), native(b"no_proxy").decode())
"""
    env = {**os.environ, "https_proxy": "http://proxy.example:1", "no_proxy": "*"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    kept, closed, local = done.stdout.split()
    assert (kept, closed) == ("http://proxy.example:1", "http://127.0.0.1:9")
    assert local == "localhost,127.0.0.1,::1"


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["threads", "ray"])
def test_a_whole_analysis_sends_nothing(clip, tmp_path, workers):
    command = [sys.executable, "-m", "tiktok_ray.cli", "analyze", str(clip)]
    env = {"TIKTOK_RAY_HOME": str(tmp_path), "TIKTOK_RAY_WORKERS": workers}
    assert watched(*command, "--out", str(tmp_path), env=env) == 0
