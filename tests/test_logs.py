"""Structured logs."""

import asyncio
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from tiktok_ray import logs


@pytest.fixture
def path(tmp_path):
    """A log that this process writes to during the test."""
    path = logs.log_file(tmp_path)
    logger = logging.getLogger("tiktok_ray")
    before = (list(logger.handlers), logger.level)
    logs.write_to(path)
    yield path
    for handler in set(logger.handlers) - set(before[0]):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(before[1])


def test_a_line_is_json_with_the_identifier_and_what_was_given(path):
    log = logging.getLogger("tiktok_ray.serve.service")
    with logs.correlated("abc123"):
        log.info("took %s s", 3, extra={"analyzer": "cut_analysis", "seconds": 3.0})
    log.warning("alone")
    first, second = logs.read(path)
    assert first["message"] == "took 3 s"
    assert first["level"] == "info"
    assert first["id"] == "abc123"
    assert (first["analyzer"], first["seconds"]) == ("cut_analysis", 3.0)
    assert first["pid"] == os.getpid()
    assert "id" not in second
    assert [e["message"] for e in logs.read(path, "abc123")] == ["took 3 s"]


def test_a_traceback_and_a_message_of_many_lines_stay_one_line(path):
    try:
        raise ValueError("broken\ninside")
    except ValueError:
        logging.getLogger("tiktok_ray").exception("it\nfailed")
    [line] = path.read_text().splitlines()
    assert "ValueError: broken" in json.loads(line)["trace"]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2hunter2",
        "https://x.example/v.mp4?token=hunter2hunter2&n=1",
        "https://me:hunter2hunter2@x.example/v.mp4",
        "TIKTOK_RAY_TOKEN=hunter2hunter2",
        "{'webhook_secret': 'hunter2hunter2', 'port': 8000}",
        "Cookie: sessionid=hunter2hunter2",
        "https://cdn.example/v?x-signature=hunter2hunter2",
    ],
)
def test_secrets_are_struck_out(path, text):
    log = logging.getLogger("tiktok_ray")
    log.error(text, extra={"url": text})
    try:
        raise RuntimeError(text)
    except RuntimeError:
        log.exception("with a trace")
    assert "hunter2" not in path.read_text()
    assert len(list(logs.read(path))) == 2


def test_what_is_no_secret_stays():
    for text in (
        "job 12ab failed: KeyError: 'x'",
        "https://x.example/v.mp4?n=1",
        "3 keys, 4 tokens",
    ):
        assert logs.redact(text) == text


async def test_each_task_has_its_own_identifier(path):
    async def work(id):
        with logs.correlated(id):
            await asyncio.sleep(0.01)
            logging.getLogger("tiktok_ray").info(id)

    await asyncio.gather(*(work(f"job{n}") for n in range(5)))
    assert all(e["id"] == e["message"] for e in logs.read(path))
    assert len(list(logs.read(path))) == 5


def _write(path, who, count):
    logs.write_to(path)
    for n in range(count):
        logging.getLogger("tiktok_ray").info("%s %d %s", who, n, "x" * 300)


def test_nothing_is_lost_or_torn_when_others_write_and_one_rotates(tmp_path):
    path = logs.log_file(tmp_path)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, who, 400)) for who in "abc"]
    for writer in writers:
        writer.start()
    packed = []
    while any(writer.is_alive() for writer in writers):
        packed.append(logs.rotate(path))
        time.sleep(0.02)
    for writer in writers:
        writer.join()
    files = [path, *(p for p in packed if p)]
    found = [tuple(e["message"].split()[:2]) for file in files for e in logs.read(file)]
    assert sorted(found) == sorted((who, str(n)) for who in "abc" for n in range(400))
    assert len(files) > 1


def test_a_large_log_is_rotated_by_its_writer(tmp_path):
    path = logs.log_file(tmp_path)
    handler = logs.SharedFile(path, largest=10_000)
    for n in range(2 * logs.LOOK_EVERY):
        handler.emit(logging.makeLogRecord({"msg": f"{n} {'x' * 200}", "levelname": "INFO"}))
    handler.close()
    packed = list(path.parent.glob("*.gz"))
    assert len(packed) == 2
    assert sum(1 for p in packed for _ in logs.read(p)) == 2 * logs.LOOK_EVERY


def test_an_empty_log_is_not_rotated_and_old_ones_are_forgotten(tmp_path):
    path = logs.log_file(tmp_path)
    assert logs.rotate(path) is None
    path.write_text("{}\n")
    packed = logs.rotate(path)
    assert packed is not None
    assert logs.forget(path.parent, keep_days=1) == []
    assert logs.forget(path.parent, keep_days=1, now=time.time() + 2 * 86_400) == [packed]
    assert not packed.exists()


def test_what_native_libraries_say_goes_aside(tmp_path):
    code = f"""
import os, pathlib, sys
from tiktok_ray import logs
with logs.native_aside(pathlib.Path({str(tmp_path)!r})):
    os.write(2, b"W0000 chatter\\n")
    print("progress", file=sys.stderr)
os.write(2, b"after\\n")
print("the end", file=sys.stderr)
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stderr.splitlines() == ["progress", "after", "the end"]
        assert (tmp_path / logs.FOLDER / logs.NATIVE).read_text() == "W0000 chatter\n"


def test_without_a_place_for_it_everything_is_said(tmp_path, capfd):
    (tmp_path / logs.FOLDER).write_text("not a folder")
    with logs.native_aside(tmp_path):
        os.write(2, b"chatter\n")
    assert capfd.readouterr().err == "chatter\n"
