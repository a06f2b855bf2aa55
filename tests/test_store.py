"""Results: published whole or not at all, found, held to age and size."""

import contextlib
import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from tests import fakes
from tests.made_outputs import run as made_run
from tiktok_ray.report import Section, VideoInfo, VideoReport
from tiktok_ray.serve import store as store_module
from tiktok_ray.serve.database import set_aside
from tiktok_ray.serve.store import Store


class Clock:
    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(tmp_path, clock):
    made = Store(tmp_path / "results", clock)
    yield made
    made.close()


def report(id="v1", *, title=None, uploader=None, duration=10.0, statuses=None, **more):
    info = VideoInfo(
        id=id,
        sha256=(id * 64)[:64],
        source=more.pop("source", f"{id}.mp4"),
        title=title,
        uploader=uploader,
        duration_s=duration,
        width=1,
        height=1,
        fps=30.0,
        has_audio=False,
        start_offset_s=0.0,
        video_codec="h264",
        container="mp4",
        size_bytes=1,
    )
    sections = {
        name: Section(status=status, output=fakes.Count(n=3) if status == "ok" else None)
        for name, status in (statuses or {"plain": "ok"}).items()
    }
    return VideoReport(video=info, analyzers=sections, timeline=[], run=made_run())


def id_of(number):
    return f"{number:024x}"


def test_what_is_published_is_there(store, tmp_path, clock):
    video = tmp_path / "upload"
    video.write_bytes(b"0123456789")
    assert store.publish(id_of(1), report(title="Soup"), video)
    read = json.loads(store.report_path(id_of(1)).read_text())
    assert read["analyzers"]["plain"]["output"] == {"n": 3}
    assert store.video_path(id_of(1)).read_bytes() == b"0123456789"
    result = store.get(id_of(1))
    assert (result.title, result.created, result.statuses) == ("Soup", clock.now, {"plain": "ok"})
    assert result.bytes == 10 + store.report_path(id_of(1)).stat().st_size == store.total_bytes()
    assert result.has_video
    assert not result.has_poster


def test_it_is_published_once(store):
    assert store.publish(id_of(1), report("first"))
    assert not store.publish(id_of(1), report("second"))
    assert json.loads(store.report_path(id_of(1)).read_text())["video"]["id"] == "first"
    assert store.count() == 1


@pytest.mark.parametrize("id", ["../../etc", "a/b", "", "..", "A" * 24, "index.sqlite", "x" * 24])
def test_no_name_leads_out_of_the_folder(store, id):
    assert store.report_path(id) is None
    assert store.video_path(id) is None
    assert not store.delete(id)
    with pytest.raises(ValueError, match="not the id"):
        store.publish(id, report())


def test_a_full_disk_while_publishing_leaves_nothing(store):
    wide = report("full", title="x" * 20_000)
    [[pages]] = store._db.execute("PRAGMA page_count").fetchall()
    store._db.execute(f"PRAGMA max_page_count = {pages}")
    for _ in range(2):
        with pytest.raises(sqlite3.OperationalError, match="full"):
            store.publish(id_of(1), wide)
        assert store.report_path(id_of(1)) is None
        assert store.count() == 0
    store._db.execute("PRAGMA max_page_count = 100000")
    assert store.publish(id_of(1), wide)
    assert store.count() == 1


def test_a_crash_while_publishing_leaves_nothing(tmp_path):
    """The process is killed when the report is written and before it has its name."""
    code = f"""
        import os, signal
        from pathlib import Path
        from tests.test_store import report, id_of
        from tiktok_ray.serve import store
        store._sync = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
        store.Store(Path({str(tmp_path)!r})).publish(id_of(1), report())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=os.getcwd())
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.glob(".part-*"))
    again = Store(tmp_path)
    assert again.count() == 0
    again.sweep()
    assert not list(tmp_path.glob(".part-*"))
    assert again.publish(id_of(1), report())
    again.close()


def test_the_index_is_made_again_from_the_folders(store, tmp_path):
    for k in range(3):
        store.publish(id_of(k), report(f"v{k}", title=f"T{k}"))
    store.close()
    for file in (tmp_path / "results").glob("index.sqlite*"):
        file.unlink()
    again = Store(tmp_path / "results")
    assert {r.title for r in again.page()[0]} == {"T0", "T1", "T2"}
    again.close()


def test_filters(store, clock):
    store.publish(id_of(1), report("a", title="Lentil SOUP", uploader="ann", duration=5))
    clock.now += 10
    store.publish(
        id_of(2),
        report("b", title="Stairs", uploader="bo", duration=50, statuses={"plain": "failed"}),
    )
    clock.now += 10
    store.publish(id_of(3), report("c", source="https://x/soup.mp4", statuses={"other": "ok"}))

    def found(**filters):
        return [r.video_id for r in store.page(**filters)[0]]

    assert found() == ["c", "b", "a"]
    assert found(text="soup") == ["c", "a"]
    assert found(text="50%_") == []
    assert found(uploader="bo") == ["b"]
    assert found(video_id="a") == ["a"]
    assert found(sha256="b" * 64) == ["b"]
    assert found(status="failed") == ["b"]
    assert found(analyzer="plain") == ["b", "a"]
    assert found(analyzer="plain", status="ok") == ["a"]
    assert found(analyzer="other", status="failed") == []
    assert found(since=clock.now - 10) == ["c", "b"]
    assert found(until=clock.now - 20) == ["a"]
    assert found(shortest_s=6, longest_s=20) == ["c"]


def test_pages_do_not_overlap(store):
    for k in range(5):
        store.publish(id_of(k), report(f"v{k}"))
    seen, before = [], None
    while True:
        page, before = store.page(limit=2, before=before)
        seen += [r.video_id for r in page]
        if before is None:
            break
    assert seen == ["v4", "v3", "v2", "v1", "v0"]


def test_retention_by_age_and_by_size(store, clock, tmp_path):
    for k in range(4):
        video = tmp_path / "video"
        video.write_bytes(bytes(10_000))
        store.publish(id_of(k), report(f"v{k}"), video)
        clock.now += 100
    assert store.prune(older_than_s=350, max_bytes=10**9) == [id_of(0)]
    assert store.prune(older_than_s=10**6, max_bytes=25_000) == [id_of(1)]
    assert [r.video_id for r in store.page()[0]] == ["v3", "v2"]
    assert store.total_bytes() <= 25_000
    assert sorted(p.name for p in store.folder.iterdir() if p.is_dir()) == [id_of(2), id_of(3)]


def test_deleting(store, tmp_path):
    store.publish(id_of(1), report())
    picture = tmp_path / "p.jpg"
    picture.write_bytes(b"jpg")
    store.add_poster(id_of(1), picture)
    assert store.get(id_of(1)).has_poster
    assert store.delete(id_of(1))
    assert not store.delete(id_of(1))
    assert store.get(id_of(1)) is None
    assert store.count() == 0
    assert not (store.folder / id_of(1)).exists()
    picture.write_bytes(b"jpg")
    store.add_poster(id_of(1), picture)
    assert store.poster_path(id_of(1)) is None


def test_a_report_that_cannot_be_read_is_set_aside_and_the_rest_is_found(tmp_path):
    first = Store(tmp_path)
    for k in range(4):
        first.publish(id_of(k), report(f"v{k}"))
    first.close()
    (tmp_path / id_of(0) / "report.json").write_text("{ broken")
    (tmp_path / id_of(1) / "report.json").write_text('{"schema_version": "9.0", "video": []}')
    newer = json.loads((tmp_path / id_of(2) / "report.json").read_text())
    newer |= {"schema_version": "2.0", "more": {"than": "now"}}
    (tmp_path / id_of(2) / "report.json").write_text(json.dumps(newer))
    (tmp_path / "index.sqlite").unlink()
    again = Store(tmp_path)
    assert {r.id for r in again.page()[0]} == {id_of(2), id_of(3)}, "a newer version's is kept too"
    aside = [path.name for path in set_aside(tmp_path)]
    assert [name.split("-")[1] for name in aside] == [id_of(0), id_of(1)]
    assert again.publish(id_of(0), report("v0")), "its place is free again"


@pytest.mark.parametrize("damage", ["junk", "middle", "another", "newer"])
def test_an_index_that_cannot_be_read_is_made_again(tmp_path, damage):
    first = Store(tmp_path)
    for k in range(40):
        first.publish(id_of(k), report(f"v{k}"))
    first.close()
    index = tmp_path / "index.sqlite"
    if damage == "junk":
        index.write_bytes(b"this is not a database" * 100)
    elif damage == "middle":
        data = bytearray(index.read_bytes())
        data[4096:] = b"\xff" * len(data[4096:])
        index.write_bytes(data)
    else:
        with contextlib.closing(sqlite3.connect(index, isolation_level=None)) as db:
            if damage == "newer":
                db.execute("PRAGMA user_version = 99")
            else:
                db.execute("ALTER TABLE results RENAME COLUMN uploader TO author")
    again = Store(tmp_path)
    assert again.count() == 40
    assert len(set_aside(tmp_path)) == 1


def test_links_among_the_results_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "report.json").write_text("secret")
    folder = tmp_path / "results"
    made = Store(folder)
    made.publish(id_of(1), report("v1"))
    (folder / id_of(2)).symlink_to(outside)
    (folder / id_of(1) / "video").symlink_to(outside / "report.json")
    again = Store(folder)
    assert [r.id for r in again.page()[0]] == [id_of(1)]
    assert again.report_path(id_of(2)) is None
    assert again.video_path(id_of(1)) is None
    assert again.delete(id_of(2))
    assert again.delete(id_of(1))
    assert (outside / "report.json").read_text() == "secret"


def full():
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    return error


def test_a_result_is_deleted_where_the_index_cannot_be_written(store, monkeypatch):
    for k in range(2):
        store.publish(id_of(k), report(f"v{k}"))

    def refuse(_):
        raise full()

    with monkeypatch.context() as disk:
        disk.setattr(store, "_forget", refuse)
        assert store.delete(id_of(0))
        assert not (store.folder / id_of(0)).exists()
        assert [r.id for r in store.page()[0]] == [id_of(1)]
        assert store.get(id_of(0)) is None
    store.prune(older_than_s=10**9, max_bytes=10**9)
    assert store.count() == 1


def test_nothing_half_written_is_left_where_the_disk_is_full(store, monkeypatch):
    def refuse(path, text):
        path.write_text(text[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "_write", refuse)
    with pytest.raises(OSError, match="No space"):
        store.publish(id_of(1), report())
    assert [p.name for p in store.folder.iterdir() if "sqlite" not in p.name] == []
