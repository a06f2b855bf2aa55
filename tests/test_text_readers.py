"""The readers: CTC output by hand, the real PP-OCR on drawn text, EasyOCR on random weights."""

from __future__ import annotations

import importlib.util
import pickle
import runpy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tiktok_ray.methods.text.text_readers import (
    EASY_DEFAULT,
    EASY_OCR,
    PP_OCR,
    PPOCR,
    TORN,
    EasyOCR,
    allowed,
    assured,
    decode_ctc,
    doubt,
    looks_cyrillic,
    mixes_case,
    mixes_greek,
    scripts_of,
)

ALPHABET = ["", "a", "b", "ü", "中", " "]
ALL = np.ones(len(ALPHABET), bool)


def steps(*rows: dict[str, float]) -> NDArray[np.float32]:
    """Probabilities [steps, characters] from those that are not the blank's; '' is the blank."""
    made = np.zeros((len(rows), len(ALPHABET)), np.float32)
    for k, row in enumerate(rows):
        for character, p in row.items():
            made[k, ALPHABET.index(character)] = p
        if "" not in row:
            made[k, 0] = 1 - sum(row.values())
    return made


def drawn(text: str, size: int = 32) -> Any:
    picture: Any = np.full((80, 420, 3), 60, np.uint8)
    _, picture = cv2.putText(
        picture, text, (16, 52), (255, 255, 255), cv2.FontFace("sans"), size, 600
    )
    return picture


def test_repeats_are_one_character_and_a_blank_between_makes_two():
    seen = steps({"a": 0.9}, {"a": 0.8}, {"": 1}, {"a": 0.7}, {"b": 0.6})
    text, sure = decode_ctc(seen, ALPHABET, ALL)
    assert text == "aab"
    assert sure == pytest.approx((0.9 + 0.7 + 0.6) / 3)


@pytest.mark.parametrize(("capital", "text"), [(0.02, "Oo"), (0.005, "oo")])
def test_a_line_begins_with_a_capital_where_only_its_size_tells(capital, text):
    alphabet = ["", "o", "O", " "]
    rows = np.array([[0, 0.9, capital, 0], [1, 0, 0, 0], [0, 0.9, 0.05, 0]], np.float32)
    assert decode_ctc(rows, alphabet, np.ones(4, bool))[0] == text


@pytest.mark.parametrize(("p", "text"), [(0.9, "a b"), (0.06, "a b"), (0.04, "ab")])
def test_a_narrow_gap_is_a_space(p, text):
    assert decode_ctc(steps({"a": 1}, {" ": p}, {"b": 1}), ALPHABET, ALL)[0] == text


def test_spaces_at_the_ends_are_none_and_nothing_is_nothing():
    text, sure = decode_ctc(steps({" ": 1}, {"ü": 0.6}, {" ": 1}), ALPHABET, ALL)
    assert text == "ü"
    assert sure == pytest.approx(0.6)
    assert decode_ctc(steps({"": 1}, {" ": 1}), ALPHABET, ALL) == ("", 0.0)


def test_an_excluded_character_gives_way_to_the_next_best():
    seen = steps({"中": 0.6, "b": 0.3, "": 0.1})
    assert decode_ctc(seen, ALPHABET, ALL)[0] == "中"
    may = np.array([True, *allowed(ALPHABET[1:-1], ["de"]), True])
    text, sure = decode_ctc(seen, ALPHABET, may)
    assert text == "b"
    assert sure == pytest.approx(0.3)


def test_marks_are_composed():
    alphabet = ["", "u", "̈", " "]
    seen = np.eye(4, dtype=np.float32)[[1, 2]]
    assert decode_ctc(seen, alphabet, np.ones(4, bool))[0] == "ü"


@pytest.mark.parametrize(
    ("before", "sharp", "text"),
    [("a", 0.1, "aß"), ("a", 0.01, "aB"), ("A", 0.1, "AB"), ("a ", 0.1, "a B")],
)
def test_a_capital_b_inside_a_small_word_may_be_a_sharp_s(before, sharp, text):
    alphabet = ["", "a", "A", "B", "ß", " "]
    rows = np.zeros((3, 6), np.float32)
    rows[0, alphabet.index(before[0])] = 1
    rows[1, 5 if " " in before else 0] = 1
    rows[2, 3], rows[2, 4] = 1 - sharp, sharp
    assert decode_ctc(rows, alphabet, np.ones(6, bool))[0] == text


def test_languages_choose_letters_and_keep_digits_and_signs():
    letters = ["A", "ß", "é", "7", "!", "中", "。", "カ", "я"]
    may = dict(zip(letters, allowed(letters, ["de"]), strict=True))
    assert [c for c, yes in may.items() if yes] == ["A", "ß", "é", "7", "!"]
    may = dict(zip(letters, allowed(letters, ["ja"]), strict=True))
    assert [c for c, yes in may.items() if not yes] == ["я"]
    assert allowed(letters, []).all()
    assert scripts_of(["en", "el"]) == {"LATIN", "GREEK"}


def test_a_language_without_letters_is_refused():
    with pytest.raises(ValueError, match="ko"):
        allowed(["A", "中"], ["en", "ko"])


def test_doubt_is_between_characters_and_in_what_was_passed_over():
    assert doubt(steps({"a": 1}, {"": 1}), 1) == 0.0
    assert doubt(steps({"a": 0.6}, {"a": 0.9, " ": 0.1}), 1) == pytest.approx(0.0)
    torn = steps({"a": 0.5, "b": 0.5}, {"": 1}, {"b": 0.5, "a": 0.5})
    assert doubt(torn, 1) == pytest.approx(2 * np.log(2))
    assert doubt(torn, 2) == pytest.approx(np.log(2))
    assert doubt(steps({"a": 1}, {"b": 0.4}), 1) == pytest.approx(0.4)
    assert doubt(steps({"": 1}), 0) == 0.0


def test_a_reading_torn_between_guesses_is_less_sure():
    assert assured("ab", steps({"a": 1}, {"b": 0.95})) == 1.0
    unknown = [{"a": 0.3, "b": 0.2, "ü": 0.1} for _ in range(4)]
    seen = steps({"a": 1}, *unknown)
    assert assured("a", seen) == pytest.approx(TORN / doubt(seen, 1))
    assert assured("a", seen) < 0.2


@pytest.mark.parametrize(
    ("text", "mixed"),
    [("Kαλα σ λυ", True), ("EΛΛAΔA", True), ("POΣOXH", True), ("Nα", True), ("φωλα", True),
     ("Schöne Grüße", False), ("10 kΩ", False), ("5 μm", False), ("α-Tocopherol", False),
     ("Δ 3", False), ("家で焼くパン", False), ("", False)],
)  # fmt: skip
def test_words_that_mix_greek_and_latin_letters_are_not_sure(text, mixed):
    assert mixes_greek(text) == mixed
    assert assured(text, steps({"a": 1})) == (0.5 if mixed else 1.0)


def test_greek_takes_its_accented_letters():
    with pytest.raises(ValueError, match="el"):
        allowed(["A", "α", "Ω"], ["el"])
    assert allowed(["A", "α", "ά", "я"], ["el"]).tolist() == [True, True, True, False]


def ppocr(**more: Any) -> PPOCR:
    files = {key: weights.locate(Path("/nowhere")) for key, weights in PP_OCR.items()}
    assert all(files.values()), "RapidOCR's wheel should hold its models"
    return PPOCR(files, threads=1, short=320, **{"languages": (), **more})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def reader() -> PPOCR:
    return ppocr()


@pytest.mark.parametrize(
    "text",
    ["Schöne Grüße, Café!", "ÄÖÜ heißt süß", "Ça va très bien", "Señor Núñez", "Łódź, Plzeň"],
)
def test_ppocr_reads_accents_as_written(reader, text):
    read, sure = reader.read(drawn(text))
    assert read == text
    assert sure > 0.8


@pytest.mark.parametrize(
    "text",
    ["Καλημέρα σε όλους", "Δες το μέχρι το τέλος", "ΕΛΛΑΔΑ", "Как дела?", "Доброе утро всем"],
)
def test_ppocr_is_not_sure_of_letters_it_does_not_know(reader, text):
    assert reader.read(drawn(text))[1] < 0.8


@pytest.mark.parametrize(
    "text", ["iPhone 15", "R2-D2", "A1 100%", "#fyp #viral", "OK", "H&M", "$9.99", "NIKE", "mmmmm"]
)
def test_ppocr_stays_sure_of_names_digits_and_short_words(reader, text):
    read, sure = reader.read(drawn(text))
    assert read == text
    assert sure > 0.95


def test_ppocr_knows_the_letters_of_europe(reader):
    wanted = "äöüÄÖÜßéèêëàâçîïôûùœæñáíóúãõåøšžčřěůýłąęśźżńćőűğışâţșț"
    assert set(wanted) <= set(reader._alphabet)


def test_ppocr_finds_lines_where_they_are(reader):
    picture = np.full((320, 480, 3), 60, np.uint8)
    picture[40:120, 30:450] = drawn("ABOVE THE LINE")
    picture[200:280, 30:450] = drawn("and below", 26)
    found = reader.detect(picture)
    assert found.shape == (2, 4, 2)
    tops = sorted(found[:, :, 1].min(1).tolist())
    assert 50 < tops[0] < 80
    assert 200 < tops[1] < 240
    assert reader.detect(np.full((320, 480, 3), 60, np.uint8)).shape == (0, 4, 2)


def test_ppocr_takes_tiny_pictures(reader):
    assert reader.detect(np.zeros((2, 2, 3), np.uint8)).shape == (0, 4, 2)
    assert reader.read(np.zeros((1, 3, 3), np.uint8)) == ("", 0.0)


@pytest.mark.parametrize("code", ["ru", "el", "he", "th"])
def test_ppocr_refuses_letters_it_does_not_have(code):
    with pytest.raises(ValueError, match=code):
        ppocr(languages=("de", code))


def easyocr_folder(folder: Path) -> Path:
    """EasyOCR's two networks at their real size with random weights, as their files are."""
    import torch
    from easyocr.config import recognition_models
    from easyocr.craft import CRAFT
    from easyocr.model.vgg_model import Model

    torch.manual_seed(0)
    folder.mkdir()
    torch.save(CRAFT().state_dict(), folder / "craft_mlt_25k.pth")
    characters = recognition_models["gen2"]["latin_g2"]["characters"]
    states = Model(1, 256, 256, len(characters) + 1).state_dict()
    torch.save({f"module.{name}": v for name, v in states.items()}, folder / "latin_g2.pth")
    return folder


@pytest.fixture(scope="module")
def easyocr_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return easyocr_folder(tmp_path_factory.mktemp("models") / "easyocr")


@pytest.fixture
def any_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """EasyOCR compares its files with known checksums; random weights have others."""
    import easyocr.easyocr as module
    from easyocr.config import detection_models, recognition_models

    known = {
        detection_models["craft"]["filename"]: detection_models["craft"]["md5sum"],
        "latin_g2.pth": recognition_models["gen2"]["latin_g2"]["md5sum"],
    }
    monkeypatch.setattr(module, "calculate_md5", lambda path: known[Path(path).name])


@pytest.mark.slow
@pytest.mark.usefixtures("any_checksum")
def test_easyocr_loads_its_files_and_answers_in_shape(easyocr_weights, monkeypatch):
    weights = EASY_OCR["folder"]
    assert weights.locate(easyocr_weights.parent) == easyocr_weights
    reader = EasyOCR(easyocr_weights, device="cpu", short=160, languages=("de", "fr"))
    found = reader.detect(drawn("HELLO YOU"))
    assert found.ndim == 3
    assert found.shape[1:] == (4, 2)
    text, sure = reader.read(drawn("HELLO YOU"))
    assert isinstance(text, str)
    assert 0 <= sure <= 1
    marks = [([[[20, 400, 10, 70]]], [[[(1, 2), (9, 2), (9, 5), (1, 5)]]])]
    monkeypatch.setattr(reader._reader, "detect", lambda *_, **__: marks[0])
    corners = reader.detect(drawn("HELLO YOU"))
    assert corners[0].tolist() == [[20, 10], [400, 10], [400, 70], [20, 70]]
    assert corners[1].tolist() == [[1, 2], [9, 2], [9, 5], [1, 5]]
    assert set("äöüßé") <= set(reader._reader.character)
    assert set(EASY_DEFAULT) >= {"en", "de", "fr"}


@pytest.mark.slow
@pytest.mark.usefixtures("any_checksum")
def test_easyocr_refuses_a_file_that_would_run_code(easyocr_weights, tmp_path):
    folder = tmp_path / "easyocr"
    folder.mkdir()
    for file in easyocr_weights.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "latin_g2.pth").unlink()
    touched = tmp_path / "touched"
    payload = (Path.touch, (touched,))

    class Bomb:
        def __reduce__(self) -> Any:
            return payload

    (folder / "latin_g2.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(pickle.UnpicklingError):
        EasyOCR(folder, device="cpu", short=160, languages=())
    assert not touched.exists()


def test_easyocr_is_whole_only_with_detector_and_recogniser(tmp_path):
    weights, folder = EASY_OCR["folder"], tmp_path / "easyocr"
    folder.mkdir()
    (folder / "craft_mlt_25k.pth").touch()
    assert not weights.whole(folder)
    (folder / "english_g2.pth").touch()
    assert weights.whole(folder)


@pytest.mark.parametrize(
    ("text", "mixed"),
    [("BCeM", True), ("yTPO", True), ("Ha", False), ("HOPE", False), ("Cape May", False),
     ("McDonald", False), ("iPhone", False)],
)  # fmt: skip
def test_a_word_of_cyrillic_letters_mixes_case(text, mixed):
    assert mixes_case(text) == mixed


@pytest.mark.parametrize(
    ("text", "alike"),
    [("Ha", True), ("MOCKBA", True), ("BCE, KTO 5!", True), ("Hand", False), ("12", False)],
)
def test_letters_that_all_look_cyrillic(text, alike):
    assert looks_cyrillic(text) == alike


def test_what_is_pulled_for_easyocr_are_the_files_that_it_would_fetch_itself():
    spec = importlib.util.find_spec("easyocr")
    assert spec
    assert spec.origin
    told = runpy.run_path(str(Path(spec.origin).with_name("config.py")))
    models = [told["detection_models"]["craft"]]
    models += [one for some in told["recognition_models"].values() for one in some.values()]
    files = {one["url"]: one["filename"] for one in models}
    weights = EASY_OCR["folder"]
    pulled = {files[url] for url in (weights.url, *weights.urls)}
    (detector,), readers = weights.needs
    assert pulled - {detector} <= set(readers)
    assert detector in pulled
