"""Reports as tables: rows, parts, and what a crash may leave."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from actors.age_estimation import Face
from actors.body_pose import PosedPerson
from actors.content_quality import Embeddings
from actors.object_detection import ObjectTrack
from actors.speech_transcription import Segment, Transcript
from actors.text_overlay import Overlay
from tiktok_ray.batch import dataset
from tiktok_ray.batch.dataset import IN_PARTS, SCHEMAS, Dataset, Destination, figures, rows, table
from tiktok_ray.report import Event, VideoInfo

ROOT = Path(__file__).parent.parent
BOX = [0.1, 0.2, 0.3, 0.4]


def report(number=0, *, item=None, sections=None):
    """A report as JSON."""
    name = f"{number:016x}"
    return {
        "schema_version": "1.0",
        "video": {
            "id": name, "sha256": name * 4, "source": f"{number}.mp4", "duration_s": 2.0,
            "width": 144, "height": 256, "fps": 30.0, "variable_fps": False, "has_audio": True,
            "start_offset_s": 0.0, "rotation": 0, "video_codec": "h264", "container": "mov",
            "size_bytes": 1000, "damaged_packets": 0, "truncated": False,
        },
        "analyzers": sections or {"plain": {"status": "ok", "seconds": 0.5, "queued_s": 0.0,
                                            "output": {"n": number, "in": {"x": 1.5}}}},
        "timeline": [{"start": 0.5, "end": 1.0, "kind": "moment", "label": f"at {number}",
                      "analyzer": "plain"}],
        "summary": {"measured": 1},
        "run": {"wall_s": 1.0, "decode_s": 0.1, "versions": {"tiktok_ray": "0"},
                "batch": {"item": item or f"item{number}", "source": f"{number}.mp4",
                          "analyzed_at": "2026-01-01T00:00:00+00:00"}},
    }  # fmt: skip


def read(where, name):
    """One table as people read it: all its Parquet files."""
    found = [
        pq.read_table(pa.BufferReader(where.read(f"dataset/{name}/{file}")))
        for file in where.files(f"dataset/{name}")
    ]
    return pa.concat_tables(found).to_pylist() if found else []


def local(tmp_path):
    return Destination(tmp_path / "out")


def within(tmp_path):
    (tmp_path / "sub").mkdir()
    return Destination(fs.SubTreeFileSystem(str(tmp_path / "sub"), fs.LocalFileSystem()))


def in_memory(_):
    return Destination(fs._MockFileSystem())


@pytest.fixture(params=[local, within, in_memory], ids=lambda f: f.__name__)
def where(request, tmp_path):
    return request.param(tmp_path)


def opened(where):
    made = Dataset(where)
    made.open()
    return made


def test_rows_of_the_analyzers_outputs():
    vectors = Embeddings(times=[0.0, 0.5], width=2, data="fwAAfw==")  # 127, 0 and 0, 127
    sections = {
        "speech_transcription": {"language": "en", "segments": [
            {"start": 0, "end": 1, "text": "Hi all.", "words": [
                {"start": 0, "end": 0.4, "text": "Hi", "probability": 0.9},
                {"start": 0.5, "end": 1, "text": "all.", "probability": 0.8}]},
            {"start": 1, "end": 2, "text": "Bye.", "words": [
                {"start": 1, "end": 2, "text": "Bye.", "probability": 0.7}]}]},
        "text_overlay": {"overlays": [{"start": 0, "end": 1, "text": "SALE", "box": BOX,
                                       "confidence": 0.9, "kind": "caption", "lines": ["SALE"]}]},
        "object_detection": {"tracks": [{"track": 1, "label": "bus", "confidence": 0.8,
            "seen": [[0.0, 0.4], [0.6, 1.0]], "times": [0.0, 0.9], "boxes": [BOX, BOX]}]},
        "body_pose": {"persons": [{"track": 4, "start": 0, "end": 1, "confidence": 0.5,
                                   "times": [0.0], "boxes": [BOX]}]},
        "age_estimation": {"faces": [{"track": 2, "start": 0.2, "end": 1, "times": [0.2],
            "boxes": [BOX], "confidences": [0.5, 0.7], "embedding": [1.0, 0.0]}]},
        "content_quality": {"embeddings": vectors.model_dump()},
    }  # fmt: skip
    made = rows(report(sections={k: {"status": "ok", "output": v} for k, v in sections.items()}))
    words = table("words", made["words"]).to_pylist()
    assert [(w["segment"], w["word"], w["text"]) for w in words] == [
        (0, 0, "Hi"), (0, 1, "all."), (1, 2, "Bye."),
    ]  # fmt: skip
    assert {w["language"] for w in words} == {"en"}
    [overlay] = table("overlays", made["overlays"]).to_pylist()
    assert (overlay["text"], overlay["box"]) == ("SALE", pytest.approx(BOX))
    bus, person, face = table("tracks", made["tracks"]).to_pylist()
    assert (bus["label"], bus["start"], bus["end"], len(bus["boxes"])) == ("bus", 0.0, 1.0, 2)
    assert (person["analyzer"], person["label"], person["track"]) == ("body_pose", "person", 4)
    assert (face["label"], face["confidence"]) == ("face", pytest.approx(0.6))
    first, second, mean = table("embeddings", made["embeddings"]).to_pylist()
    assert (first["vector"], second["time"]) == ([1.0, 0.0], 0.5)
    assert (mean["kind"], mean["track"], mean["time"]) == ("face", 2, None)
    assert all(row["video_id"] == "0" * 16 for found in made.values() for row in found)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (Overlay, {"text", "kind", "confidence", "box", "start", "end"}),
        (ObjectTrack, {"track", "label", "confidence", "seen", "times", "boxes"}),
        (PosedPerson, {"track", "confidence", "start", "end", "times", "boxes"}),
        (Face, {"track", "start", "end", "times", "boxes", "confidences", "embedding"}),
        (Transcript, {"language", "segments"}),
        (Segment, {"words"}),
        (VideoInfo, {n for n in SCHEMAS["videos"].names if n not in {
            "video_id", "item", "summary", "wall_s", "decode_s", "analyzed_at", "version"}}),
        (Event, set(SCHEMAS["timeline"].names) - {"video_id"}),
    ],
)  # fmt: skip
def test_what_the_tables_read_is_what_the_reports_hold(model, names):
    assert names <= set(model.model_fields)


def test_figures_are_numbers_that_stand_alone():
    output = {"a": 1, "b": {"c": 2.5, "d": [1, 2]}, "e": None, "f": True, "g": "x"}
    assert dict(figures(output)) == {"a": 1.0, "b.c": 2.5}


def test_parts_are_written_read_and_joined(where):
    made = opened(where)
    for number in range(3):
        made.add(report(number))
        made.flush()
    assert len(where.files("dataset/videos")) == 3
    made.compact()
    assert len(where.files("dataset/videos")) == len(where.files("dataset/timeline")) == 1
    assert {v["video_id"] for v in read(where, "videos")} == {f"{n:016x}" for n in range(3)}
    assert {e["label"] for e in read(where, "timeline")} == {"at 0", "at 1", "at 2"}
    assert dict(read(where, "analyzers")[2]["figures"])["in.x"] == 1.5
    again = opened(where)
    assert again.items == {f"item{n}": f"{n:016x}" for n in range(3)}
    where.sweep()
    assert where.files("tmp") == []


def test_the_schemas_on_disk_are_the_documented_ones(where):
    made = opened(where)
    made.add(report())
    made.flush()
    made.write_failures([])
    for name, schema in SCHEMAS.items():
        [file] = where.files(f"dataset/{name}")
        found = pq.read_schema(pa.BufferReader(where.read(f"dataset/{name}/{file}")))
        assert found.equals(schema), name


def test_a_report_that_reached_no_part_is_taken_in(where):
    made = opened(where)
    made.add(report(1))
    made.flush()
    made.add(report(2))  # and the process dies
    where.write("reports/torn.json", b'{"video": {')
    again = Dataset(where)
    assert again.open() == 1
    assert again.items == {"item1": f"{1:016x}", "item2": f"{2:016x}"}
    again.flush()
    assert len(read(where, "videos")) == 2
    assert "torn.json" not in where.files("reports")
    assert where.read("set-aside/torn.json") == b'{"video": {'


def test_what_is_no_report_is_set_aside_and_never_deleted(where):
    strangers = (b"words", b"[]", b'{"mine": 1}', b'{"video": null, "analyzers": {}}', b"\xff\xfe")
    for round in range(2):
        for number, data in enumerate(strangers):
            where.write(f"reports/notes{number}.json", data)
        where.write("dataset/videos/part-broken.parquet", b"no parquet")
        where.write("dataset/words/mine.parquet", b"a stranger's")
        made = Dataset(where)
        assert made.open() == 0
        assert len(made.set_aside) == len(strangers) + 1, made.set_aside
        assert len(where.files("set-aside")) == (len(strangers) + 1) * (round + 1)
    for number, data in enumerate(strangers):
        assert where.read(f"set-aside/notes{number}.json") == data
        assert where.read(f"set-aside/notes{number}-2.json") == data
    assert where.read("dataset/words/mine.parquet") == b"a stranger's"


@pytest.mark.parametrize("table_at_death", IN_PARTS)
def test_a_death_while_a_part_is_written_leaves_no_half(tmp_path, monkeypatch, table_at_death):
    where = local(tmp_path)
    made = opened(where)
    made.add(report(1))
    made.flush()
    made.add(report(2))
    write = Destination.write

    def dying(self, path, data):
        if path.startswith(f"dataset/{table_at_death}/"):
            (tmp_path / "out/tmp/half").write_bytes(data[:10])
            raise KeyboardInterrupt
        write(self, path, data)

    monkeypatch.setattr(Destination, "write", dying)
    with pytest.raises(KeyboardInterrupt):
        made.flush()
    monkeypatch.undo()
    again = opened(where)
    again.flush()
    for name in ("videos", "timeline", "analyzers"):
        assert sorted(row["video_id"] for row in read(where, name)) == [f"{n:016x}" for n in (1, 2)]
    assert not (tmp_path / "out/tmp/half").exists()


@pytest.mark.parametrize("removed", range(5))
def test_a_death_while_parts_are_joined_leaves_no_video_twice(tmp_path, monkeypatch, removed):
    where = local(tmp_path)
    made = opened(where)
    for number in range(4):
        made.add(report(number))
        made.flush()
    remove, count = Destination.remove, 0

    def dying(self, path):
        nonlocal count
        if count == removed:
            raise KeyboardInterrupt
        count += 1
        remove(self, path)

    monkeypatch.setattr(Destination, "remove", dying)
    with pytest.raises(KeyboardInterrupt):
        made.compact()
    monkeypatch.undo()
    opened(where)
    for name in ("videos", "timeline"):
        assert sorted(r["video_id"] for r in read(where, name)) == [f"{n:016x}" for n in range(4)]


def test_of_a_video_in_two_parts_the_last_stays(where):
    made = opened(where)
    made.add(report(1))
    made.flush()
    made.add(report(1, sections={"plain": {"status": "failed", "reason": "later"}}))
    made.flush()
    made.compact()
    [row] = read(where, "analyzers")
    assert row["reason"] == "later"
    assert len(read(where, "videos")) == 1


def test_many_small_parts_are_joined_on_the_way(where):
    made = opened(where)
    for number in range(20):
        made.add(report(number))
        made.flush()
    assert len(where.files("dataset/videos")) < 17
    assert len(read(where, "videos")) == 20


def test_full_parts_are_left_alone(where, monkeypatch):
    monkeypatch.setattr(dataset, "PART_VIDEOS", 4)
    made = opened(where)
    for number in range(6):
        made.add(report(number))
        if number in (3, 4, 5):
            made.flush()
    full = {f: n for f, n in made._parts.items() if n == 4}
    made.compact()
    assert set(full) <= set(where.files("dataset/videos"))
    assert sorted(made._parts.values()) == [2, 4]


def test_reports_are_written_under_their_video(where):
    made = opened(where)
    made.add(report(7))
    assert json.loads(where.read(f"reports/{7:016x}.json")) == report(7)


def test_an_address_is_a_destination(tmp_path):
    where = Destination((tmp_path / "by address").as_uri())
    where.write("a/b.txt", b"words")
    assert (tmp_path / "by address/a/b.txt").read_bytes() == b"words"


def test_seconds_are_those_of_work(where):
    made = opened(where)
    for number, seconds in enumerate((1.0, 3.0)):
        sections = {
            "plain": {"status": "ok", "seconds": seconds, "output": {}},
            "known": {"status": "ok", "seconds": 9.0, "cached": True, "output": {}},
            "bad": {"status": "failed", "seconds": 9.0},
        }
        made.add(report(number, sections=sections))
        made.flush()
    assert dataset.measured_seconds(where) == {"plain": 2.0}


def described(name):
    """The documentation of one table, as docs/dataset.md has it."""
    schema = SCHEMAS[name]
    lines = [f"### `{name}`", "", f"{schema.metadata[b'about'].decode()}.", ""]
    lines += ["| column | type | |", "|---|---|---|"]
    for field in schema:
        kind = str(field.type).replace("element: ", "").replace("item: ", "")
        lines.append(f"| `{field.name}` | `{kind}` | {field.metadata[b'about'].decode()} |")
    return "\n".join(lines)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_documentation_describes_every_column(name):
    assert described(name) in (ROOT / "docs/dataset.md").read_text()


def test_the_documented_queries_run(tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    made = opened(Destination(tmp_path))
    made.add(report(1))
    made.flush()
    made.write_failures([])
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/dataset.md").read_text() + (ROOT / "docs/scale.md").read_text()
    queries = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    assert len(queries) >= 5
    for query in queries:
        duckdb.sql(query).fetchall()
