"""Search by meaning: the order is that of the model's own cosines, and what is missing is told."""

import asyncio
import contextlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from actors import ANALYZERS
from actors.content_quality import ContentQuality, Embeddings
from actors.cut_analysis import CutAnalysis
from tests import tiny_clip, tiny_sentences, viewer_reports
from tests.test_serve import result_of, served
from tiktok_ray.cli import app
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.text.sentences import SentenceEncoder
from tiktok_ray.methods.vectors import packed, unit
from tiktok_ray.methods.vision.clip import Clip, InTorch
from tiktok_ray.serve.search_index import Finder, pictures

MODEL = {"id": "some/clip", "revision": "abc", "variant": "clip"}


def write(
    folder: Path, id: str, vectors: Any, model: Any = MODEL, cuts: Any = (), texts: Any = ()
) -> None:
    """A result of 10 s with a vector each second, and shots between cuts; and texts with vectors."""
    report = viewer_reports.report()
    edges = [0.0, *cuts, 10.0]
    report["timeline"] = [
        {"kind": "shot", "label": "", "start": a, "end": b, "analyzer": "cut_analysis"}
        for a, b in pairwise(edges)
    ]
    report["analyzers"] = {"cut_analysis": {"status": "ok", "output": {}}}
    if vectors is not None:
        made = Embeddings.of([float(k) for k in range(len(vectors))], np.asarray(vectors, float))
        output = {"embeddings": made.model_dump(mode="json")}
        section = {"status": "ok", "model": model, "output": output}
        report["analyzers"]["content_quality"] = section
    if texts:
        passages = [dict(zip(("kind", "text", "start", "end"), p, strict=True)) for p, _ in texts]
        data = packed(np.asarray([vector for _, vector in texts], np.float32))
        kept = {
            "passages": [{**p, "analyzer": "some"} for p in passages],
            "width": len(texts[0][1]),
            "data": data,
        }
        section = {"status": "ok", "model": model, "output": {"passages": kept}}
        report["analyzers"]["cross_analyzer_intelligence"] = section
    (folder / id).mkdir(parents=True, exist_ok=True)
    (folder / id / "report.json").write_text(json.dumps(report))


@pytest.fixture
def finder(tmp_path):
    with contextlib.closing(Finder(tmp_path)) as made:
        yield made


def test_the_likest_picture_of_each_shot_is_found_in_order(tmp_path, finder):
    write(tmp_path, "0000000a", [[1, 0], [1, 0.5], [0, 1], [-1, 0]], cuts=(1.5, 2.5))
    write(tmp_path, "0000000b", [[1, 0.1]])
    write(tmp_path, "0000000c", None)
    write(tmp_path, "0000000d", [[1, 0]], {**MODEL, "revision": "other"})
    found, without = finder.like([1.0, 0.0], "some/clip@abc")
    assert [(s.result, s.start, s.end, s.at) for s in found] == [
        ("0000000a", 0.0, 1.5, 0.0),
        ("0000000b", 0.0, 10.0, 0.0),
        ("0000000a", 1.5, 2.5, 2.0),
        ("0000000a", 2.5, 10.0, 3.0),
    ]
    assert [s.cosine for s in found] == pytest.approx([1, 0.995, 0, -1], abs=0.01)
    assert without == 2
    assert [s.result for s in finder.like([1.0, 0.0], "some/clip@abc", limit=1)[0]] == ["0000000a"]
    assert finder.like([1.0, 0.0, 0.0], "some/clip@abc")[0] == [], "of another width"


SAID = (("said", "Stir the soup", 1.0, 2.0), [1, 0])
WRITTEN = (("written", "SOUP", 0.0, 4.0), [1, 1])
DESCRIBED = (("described", "A bowl.", None, None), [0, 1])


def test_the_likest_passages_are_found_in_order_and_by_kind(tmp_path, finder):
    write(tmp_path, "0000000a", None, texts=[SAID, WRITTEN])
    write(tmp_path, "0000000b", None, texts=[DESCRIBED])
    write(tmp_path, "0000000c", [[1, 0]])
    write(tmp_path, "0000000d", None, {**MODEL, "revision": "other"}, texts=[SAID])
    found, without = finder.related([0.0, 2.0], "some/clip@abc")
    assert [(one.result, one.text, one.start) for one in found] == [
        ("0000000b", "A bowl.", None),
        ("0000000a", "SOUP", 0.0),
        ("0000000a", "Stir the soup", 1.0),
    ]
    assert [one.cosine for one in found] == pytest.approx([1, 0.707, 0], abs=0.01)
    assert without == 2
    only, _ = finder.related([0.0, 2.0], "some/clip@abc", ("said", "written"), limit=1)
    assert [one.text for one in only] == ["SOUP"]
    assert finder.related([1.0, 0.0, 0.0], "some/clip@abc")[0] == [], "of another width"


def test_what_is_gone_or_changed_is_forgotten(tmp_path, finder):
    write(tmp_path, "0000000a", [[1, 0]])
    assert finder.like([1.0, 0.0], "some/clip@abc")[0]
    (tmp_path / "0000000a" / "report.json").unlink()
    (tmp_path / "0000000a").rmdir()
    assert finder.like([1.0, 0.0], "some/clip@abc") == ([], 0)


def test_an_index_from_before_is_completed(tmp_path, finder):
    """One that knows the words of a result, and not yet its vectors."""
    write(tmp_path, "0000000a", [[1, 0]], texts=[SAID])
    for table in ("pictured", "worded"):
        finder.like([1.0, 0.0], "some/clip@abc")
        with finder._change() as db:
            db.execute(f"DELETE FROM {table}")
        assert len(finder.like([1.0, 0.0], "some/clip@abc")[0]) == 1
        assert len(finder.related([1.0, 0.0], "some/clip@abc")[0]) == 1


def test_vectors_that_are_none_are_not_taken():
    report = viewer_reports.report()
    report["analyzers"] = {"content_quality": {"status": "partial", "output": {"embeddings": None}}}
    assert pictures(report) is None
    assert pictures(report | {"analyzers": {}}) is None


# With a model


COLOURS = {"red": (230, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 230)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_clip.clip(folder / "hub" / "openai--clip-vit-base-patch32")
    tiny_sentences.encoder(folder / "hub" / "intfloat--multilingual-e5-small")
    return folder


@pytest.fixture
def film(tmp_path: Path) -> Path:
    shown = (np.full((96, 64, 3), c, np.uint8) for c in COLOURS.values() for _ in range(20))
    return write_clip(tmp_path / "film.mp4", shown, fps=10)


@pytest.mark.slow
async def test_the_order_is_that_of_the_model_itself(film, models, settings, monkeypatch):
    """From the video to the answer over HTTP and by the command, against transformers alone."""
    import torch
    from transformers import AutoModel, AutoProcessor

    chosen = settings.model_copy(update={"models": models})
    place = models / "hub" / "openai--clip-vit-base-patch32"
    model, reads = AutoModel.from_pretrained(place), AutoProcessor.from_pretrained(place)
    async with served(chosen, (CutAnalysis, ContentQuality)) as client:
        id = await result_of(client, film)
        stills = [
            (await client.get(f"/results/{id}/frame?t={t}&short=64")).content for t in (1, 3, 5)
        ]
        for words in ("a red wall", "the sea", "grass " * 30):
            answer = (await client.get("/search", params={"q": words, "meaning": "true"})).json()
            found = answer["alike"]
            assert (found["status"], found["not_looked_at"]) == ("ok", 0)
            with torch.inference_mode():
                text = reads(text=[words], return_tensors="pt", truncation=True)
                wanted = unit(model.get_text_features(**text).pooler_output.numpy())
                shown = reads(images=[_picture(s) for s in stills], return_tensors="pt")
                seen = unit(model.get_image_features(**shown).pooler_output.numpy())
            cosines = (seen @ wanted.T)[:, 0]
            order = [round(shot["start"] / 2) for shot in found["shots"]]
            assert order == np.argsort(-cosines).tolist()
            told = {round(s["start"] / 2): s["cosine"] for s in found["shots"]}
            assert [told[k] for k in range(3)] == pytest.approx(cosines.tolist(), abs=0.02)
        plain = (await client.get("/search", params={"q": "film"})).json()
        assert "alike" not in plain
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(settings.home))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(models))
    call = ["search", "grass " * 30, "--meaning", "--json"]
    shown = await asyncio.to_thread(CliRunner().invoke, app, call)
    assert shown.exit_code == 0, shown.output
    there = json.loads(shown.stdout)["alike"]
    assert [s["start"] for s in there["shots"]] == [s["start"] for s in found["shots"]]


def _picture(jpeg: bytes) -> Any:
    import cv2

    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].copy()


async def test_without_weights_words_are_found_and_the_rest_is_told(film, settings, monkeypatch):
    async with served(settings, (CutAnalysis, ContentQuality)) as client:
        await result_of(client, film)
        answer = (await client.get("/search", params={"q": "clip", "meaning": "true"})).json()
        assert answer["hits"], "the file's name"
        found = answer["alike"]
        assert found["status"] == "unavailable"
        assert "openai/clip-vit-base-patch32" in found["reason"]
        assert "tiktok-ray models pull content_quality" in found["reason"]
        assert answer["same_meaning"]["status"] == "unavailable"
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(settings.home))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(settings.models))
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["search", "clip", "--meaning"])
    assert shown.exit_code == 0, shown.output
    assert "clip" in shown.stdout
    told = " ".join(shown.output.split())
    assert "frames by meaning: unavailable: weights not installed" in told
    assert "passages by meaning: unavailable: weights not installed" in told
    assert "tiktok-ray models pull cross_analyzer_intelligence" in told


@pytest.mark.slow
def test_texts_longer_than_the_model_reads_are_shortened(models):
    made = Clip(models / "hub" / "openai--clip-vit-base-patch32", "cpu", ["a picture"])
    both = unit(made.embed_texts(["x" * 76, "x" * 500]))
    assert both.shape == (2, 24)
    assert np.isfinite(both).all()


TEXTS = ("Stir the soup slowly.", "Rührt die Suppe langsam um!", "A bus", "x" * 700)


@pytest.mark.slow
def test_sentences_are_encoded_as_the_checkpoint_wants_it(models):
    """Against transformers alone, one text at a time: with its role, a mean over its tokens."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    place = models / "hub" / "intfloat--multilingual-e5-small"
    model, reads = AutoModel.from_pretrained(place), AutoTokenizer.from_pretrained(place)
    encoder = SentenceEncoder(place)
    for role in ("query", "passage"):
        expected = []
        for text in TEXTS:
            ids = reads(f"{role}: {text}", return_tensors="pt", truncation=True, max_length=512)
            with torch.inference_mode():
                expected.append(model(**ids).last_hidden_state[0].mean(0).numpy())
        found = encoder(TEXTS, role, 3)
        assert found == pytest.approx(unit(np.stack(expected)), abs=1e-5)
    assert not np.allclose(encoder(TEXTS, "query", 8), found, atol=1e-3), "roles differ"
    assert encoder([], "query", 8).shape == (0, 32)


@pytest.mark.slow
async def test_passages_are_found_over_http_and_by_the_command(models, settings, monkeypatch):
    """In reports with the vectors of a checkpoint, which makes the vector of the question too."""
    chosen = settings.model_copy(update={"models": models})
    encoder = SentenceEncoder(models / "hub" / "intfloat--multilingual-e5-small")
    spoken = [("said", text, float(k), k + 1.0) for k, text in enumerate(TEXTS[:3])]
    vectors = encoder(TEXTS[:3], "passage", 8)
    model = {"id": "intfloat/multilingual-e5-small", "variant": "multilingual-e5-small"}
    results = settings.home / "results"
    write(results, "0000000a", None, model, texts=list(zip(spoken, vectors, strict=True)))
    order = np.argsort(-vectors @ encoder(["soup"], "query", 8)[0]).tolist()
    async with served(chosen, ANALYZERS) as client:
        asked = {"q": "soup", "meaning": "true"}
        found = (await client.get("/search", params=asked)).json()["same_meaning"]
        assert (found["status"], found["not_looked_at"]) == ("ok", 0)
        assert found["model"]["id"] == model["id"]
        assert [TEXTS.index(one["text"]) for one in found["passages"]] == order
        assert [one["start"] for one in found["passages"]] == [float(k) for k in order]
        other = (await client.get("/search", params={**asked, "kind": "written"})).json()
        assert other["same_meaning"]["passages"] == []
    monkeypatch.setenv("TIKTOK_RAY_HOME", str(settings.home))
    monkeypatch.setenv("TIKTOK_RAY_MODELS", str(models))
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["search", "soup", "--meaning"])
    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.stdout.splitlines() if "(similarity" in line]
    texts = [line.partition("said: ")[2].rpartition(" (similarity")[0] for line in lines]
    assert [TEXTS.index(text) for text in texts] == order


@pytest.mark.slow
def test_clip_sees_and_reads_as_transformers_does(models):
    """Its own processor and network, in torch, on pictures of several shapes and texts of several lengths."""
    import torch
    from transformers import AutoModel, AutoProcessor

    folder = models / "hub" / "openai--clip-vit-base-patch32"
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    plain, in_torch = (Clip(folder, "cpu", ["a picture"]) for _ in range(2))
    in_torch._towers = InTorch(folder, "cpu")
    assert plain.scale == pytest.approx(float(model.logit_scale.detach().exp()))
    rng = np.random.default_rng(1)
    for height, width in ((32, 32), (91, 64), (64, 91), (200, 33)):
        pictures = list(rng.integers(0, 256, (2, height, width, 3), np.uint8))
        given = processor(images=pictures, return_tensors="pt")
        with torch.inference_mode():
            wanted = unit(model.get_image_features(**given).pooler_output.numpy())
        for made in (plain, in_torch):
            assert (unit(made.embed(pictures)) * wanted).sum(1).min() > 0.9999
    texts = [f"{text}<|endoftext|>" for text in ("a dog", "two dogs that run after one another")]
    texts.append("x" * 300)
    given = processor(text=texts, return_tensors="pt", padding=True, truncation=True)
    with torch.inference_mode():
        wanted = model.get_text_features(**given).pooler_output.numpy()
    for made in (plain, in_torch):
        assert made.embed_texts(texts) == pytest.approx(wanted, abs=1e-4)
