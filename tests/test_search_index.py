"""Search over all results: what is in them is found with its time, what is gone is not."""

import contextlib
import json
import os
import sqlite3
import threading

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests import viewer_reports
from tests.test_serve import is_problem, served
from tiktok_ray.batch.dataset import Dataset, Destination
from tiktok_ray.cli import app
from tiktok_ray.serve.database import set_aside
from tiktok_ray.serve.search_index import (
    INDEX,
    Finder,
    NothingToFind,
    forget_gone,
    matching,
    passages,
    spaced,
    unspaced,
)


def event(kind, label, start, end, analyzer="speech_transcription"):
    return {"kind": kind, "label": label, "start": start, "end": end, "analyzer": analyzer}


SOUP = (
    event("speech", "Stir the soup slowly", 1.0, 2.5),
    event("text", "SOUPE À L’OIGNON", 0.0, 4.0, "text_overlay"),
    event("object", "bowl", 0.5, 3.0, "object_detection"),
    event("sound", "Frying (food)", 2.0, 3.0, "audio_environment"),
    event("speech", "我喜欢喝汤", 3.0, 4.0),
)


def write(folder, number, events=SOUP, **video):
    """A result with these events; its identifier."""
    id = f"{number:08x}"
    report = viewer_reports.report()
    report["timeline"] = list(events)
    report["analyzers"] = {}
    report["video"] |= {"id": f"video-{number}"} | video
    (folder / id).mkdir(exist_ok=True)
    (folder / id / "report.json").write_text(json.dumps(report))
    return id


@pytest.fixture
def finder(tmp_path):
    with contextlib.closing(Finder(tmp_path)) as made:
        yield made


def found(finder, query, **more):
    hits, _ = finder.search(query, **more)
    return [(hit.result, hit.kind, hit.start, hit.snippet) for hit in hits]


def test_what_is_said_written_seen_and_heard_is_found_with_its_time(finder, tmp_path):
    id = write(tmp_path, 1)
    assert found(finder, "soup") == [(id, "said", 1.0, "Stir the [soup] slowly")]
    assert found(finder, "oignon") == [(id, "written", 0.0, "SOUPE À L’[OIGNON]")]
    assert found(finder, "a l'oignon")[0][1] == "written"
    assert found(finder, "bowl") == [(id, "seen", 0.5, "[bowl]")]
    assert found(finder, "frying food")[0][:3] == (id, "heard", 2.0)
    assert found(finder, "soup", kinds=("written",)) == []
    assert found(finder, "video-1") == [(id, "about", None, "[video-1]")]


def test_all_words_of_one_passage_and_phrases_and_beginnings(finder, tmp_path):
    write(tmp_path, 1)
    assert len(found(finder, "slowly stir")) == 1
    assert found(finder, "stir bowl") == []
    assert len(found(finder, '"stir the soup"')) == 1
    assert found(finder, '"soup stir"') == []
    assert found(finder, "sou") == []
    assert {hit[1] for hit in found(finder, "sou*")} == {"said", "written"}


def test_scripts_without_spaces_are_found_within(finder, tmp_path):
    id = write(tmp_path, 1)
    for words in ("喝汤", "喜欢", "汤"):
        assert [hit[0] for hit in found(finder, words)] == [id]
    assert found(finder, "喜欢")[0][3] == "我[喜欢]喝汤"
    assert found(finder, "欢喜") == []


def test_the_better_passage_comes_first_and_pages_follow(finder, tmp_path):
    long = event("speech", "soup and " + "many other words " * 20, 5.0, 9.0)
    write(tmp_path, 1, [long])
    write(tmp_path, 2, [event("speech", "soup", 0.0, 1.0)])
    hits, more = finder.search("soup", limit=1)
    assert (hits[0].video_id, more) == ("video-2", 1)
    rest, none = finder.search("soup", limit=1, offset=1)
    assert (rest[0].video_id, none) == ("video-1", None)
    assert hits[0].score > rest[0].score > 0


def test_results_that_come_change_and_go(finder, tmp_path):
    id = write(tmp_path, 1)
    assert found(finder, "soup")
    path = tmp_path / id / "report.json"
    write(tmp_path, 1, [event("speech", "salad", 0.0, 1.0)])
    os.utime(path, (1, 1))
    assert found(finder, "soup") == []
    assert len(found(finder, "salad")) == 1
    path.unlink()
    assert found(finder, "salad") == []
    other = write(tmp_path, 2)
    assert [hit[0] for hit in found(finder, "soup")] == [other]


def test_a_report_that_is_none_hides_no_other(finder, tmp_path):
    (tmp_path / "00000001").mkdir()
    (tmp_path / "00000001" / "report.json").write_text("[]")
    id = write(tmp_path, 2)
    assert [hit[0] for hit in found(finder, "soup")] == [id]


def test_an_index_that_cannot_be_read_is_made_anew(tmp_path):
    write(tmp_path, 1)
    (tmp_path / INDEX).write_bytes(b"soup " * 1000)
    with contextlib.closing(Finder(tmp_path)) as finder:
        assert len(found(finder, "soup")) == 1
    assert set_aside(tmp_path)
    with contextlib.closing(Finder(tmp_path)) as again:  # and kept
        assert len(found(again, "soup")) == 1


def test_searches_at_once_agree(finder, tmp_path):
    for number in range(8):
        write(tmp_path, number)
    counts = []
    threads = [
        threading.Thread(target=lambda: counts.append(len(found(finder, "soup", limit=50))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [8] * 6


def test_whole_reports_are_taken_apart_without_repeating():
    report = viewer_reports.report()
    report["timeline"] += report["timeline"]
    known = list(passages(report))
    assert len(known) == len(set(known))
    kinds = {one.kind for one in known}
    assert {"said", "written", "described", "seen", "heard", "colour", "tag"} <= kinds


@tried(deadline=None)
@given(st.text(max_size=60))
def test_no_query_is_an_error_of_the_database(query):
    try:
        match = matching(query)
    except NothingToFind:
        return
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE VIRTUAL TABLE found USING fts5(words)")
        db.execute("SELECT * FROM found WHERE found MATCH ?", (match,)).fetchall()


@pytest.mark.parametrize("text", ["我喜欢喝汤", "soup and salad", "ラーメン を食べる", "a b"])
def test_spaces_between_characters_go_again(text):
    assert unspaced(spaced(text)).replace(" ", "") == text.replace(" ", "")


async def test_search_over_http(settings):
    async with served(settings) as client:
        id = write(client.service.store.folder, 7, title="Dinner")
        made = (await client.get("/search?q=soup&kind=said&kind=written")).json()
        [hit] = made["hits"]
        assert (hit["result"], hit["title"], hit["start"]) == (id, "Dinner", 1.0)
        assert made["next"] is None
        is_problem(await client.get("/search?q=!!"), 422, "nothing_to_find")
        is_problem(await client.get("/search?q=soup&kind=smelled"), 422)
        is_problem(await client.get("/search"), 422)


async def test_what_is_deleted_stays_in_no_index(settings):
    async with served(settings) as client:
        id = write(client.service.store.folder, 7)
        assert (await client.get("/search?q=soup")).json()["hits"]
        assert (await client.delete(f"/results/{id}")).status_code == 204
        index = client.service.store.folder / INDEX
        with contextlib.closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as db:
            for table in ("indexed", "passages"):
                assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
            query = "SELECT count(*) FROM found WHERE found MATCH 'soup'"
            assert db.execute(query).fetchone() == (0,)


def test_no_index_is_made_where_nothing_was_searched(tmp_path):
    forget_gone(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_is_searched_by_its_reports(settings, tmp_path):
    write(tmp_path, 1)
    write(tmp_path, 2, (event("sound", "Trumpet", 1.0, 2.0, "audio_environment"),))
    where = tmp_path / "made"
    dataset = Dataset(Destination(where))
    dataset.open()
    for number in (1, 2):
        report = json.loads((tmp_path / f"{number:08x}" / "report.json").read_text())
        dataset.add(report | {"run": {**report["run"], "item": str(number)}})
    dataset.flush()
    env = {"TIKTOK_RAY_HOME": str(settings.home)}

    def asked(*words):
        return CliRunner().invoke(app, ["search", *words], env=env)

    shown = asked("soup", "--dataset", str(where))
    assert shown.stdout == "video-1 at 1.0 s, said: Stir the [soup] slowly\n"
    assert asked("trumpet", "--dataset", str(where)).stdout.startswith("video-2 at 1.0 s, heard")
    (where / "reports" / "video-1.json").unlink()
    assert asked("soup", "--dataset", str(where)).stdout == ""
    refused = asked("soup", "--dataset", str(tmp_path / "none"))
    assert refused.exit_code == 2
    assert "not a dataset" in refused.stderr


def test_the_command_searches(settings, tmp_path):
    folder = settings.home / "results"
    folder.mkdir(parents=True)
    write(folder, 1)
    run, env = CliRunner().invoke, {"TIKTOK_RAY_HOME": str(settings.home)}
    shown = run(app, ["search", "soup"], env=env)
    assert shown.stdout == "00000001 at 1.0 s, said: Stir the [soup] slowly\n"
    rows = json.loads(run(app, ["search", "stir", "soup", "--json"], env=env).stdout)
    assert rows[0]["end"] == 2.5
    assert run(app, ["search", "salad"], env=env).stdout == ""
    assert run(app, ["search", "soup", "--kind", "written,seen"], env=env).stdout == ""
    assert run(app, ["search", "soup", "--kind", "smelled"], env=env).exit_code == 2
    assert run(app, ["search", "?"], env=env).exit_code == 2
    assert (
        run(app, ["search", "soup"], env={"TIKTOK_RAY_HOME": str(tmp_path / "no")}).exit_code == 0
    )
