"""A generated clip with known ground truth, and the comparison of a report with it.

The clip is 9:16 and 20 s long: photographs that come with scikit-image, panned and zoomed; two
hard cuts, a dissolve and a fade through black; captions, one with umlauts; speech by eSpeak NG;
music at 120 beats a minute; a silence. It is made in seconds, once.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.files import replacing
from tiktok_ray.media import InputError, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.media.writer import write_clip
from tiktok_ray.settings import Settings

Picture = NDArray[np.uint8]

WIDTH, HEIGHT, FPS, SECONDS = 540, 960, 30, 20
RATE = 48_000
TEMPO = 120.0
MUSIC = Span(4.0, 12.0)
SILENCE = Span(12.0, 15.0)
DISSOLVE = Span(7.6, 8.4)
FADE = Span(11.4, 12.6)
CUTS = (4.0, 16.0)


class Scene(NamedTuple):
    """One photograph on screen: its file, when, and the view [x, y, width] from and to."""

    photo: str
    start: float
    end: float
    view: tuple[tuple[float, float, float], tuple[float, float, float]]


class Caption(NamedTuple):
    """One burnt-in text."""

    text: str
    start: float
    end: float
    y: float


#: Views are in shares of the photograph's width and height; [x, y] is the centre.
SCENES = (
    Scene("astronaut.png", 0.0, 4.0, ((0.36, 0.45, 0.50), (0.50, 0.45, 0.50))),
    Scene("coffee.png", 4.0, 8.4, ((0.50, 0.50, 0.36), (0.50, 0.50, 0.30))),
    Scene("chelsea.png", 7.6, 12.0, ((0.50, 0.50, 0.36), (0.42, 0.50, 0.36))),
    Scene("rocket.jpg", 12.0, 16.0, ((0.50, 0.50, 0.36), (0.50, 0.50, 0.36))),
    Scene("motorcycle_left.png", 16.0, 20.0, ((0.40, 0.50, 0.36), (0.60, 0.50, 0.36))),
)
CAPTIONS = (
    Caption("READY FOR LAUNCH", 0.5, 3.5, 0.86),
    Caption("Schöne Grüße", 4.5, 7.5, 0.14),
    Caption("A CAT APPEARS", 8.6, 11.0, 0.86),
    Caption("FOLLOW FOR MORE", 16.5, 19.5, 0.86),
)
SPOKEN = (
    ("en-us", "Good morning. This is a short film about a launch.", 0.4),
    ("de", "Und jetzt ein Motorrad. Schöne Grüße!", 16.4),
)


def demo_clip(settings: Settings) -> Path:
    """The clip's path; generated if it does not exist yet."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    path = settings.home / "demo" / f"demo-{digest}.mp4"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, ".part.mp4") as part:
            write_clip(part, pictures(), fps=FPS, audio=sound(), audio_rate=RATE)
    return path


# --- pictures ---------------------------------------------------------------------------------


def photo(name: str) -> Picture:
    """A photograph of scikit-image's wheel, uint8 [height, width, 3], RGB."""
    from PIL import Image

    with Image.open(_bundled("skimage", f"data/{name}")) as image:
        return np.asarray(image.convert("RGB"))


def _bundled(package: str, file: str) -> Path:
    """A file that comes inside an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "demo_unavailable",
            f"the demo needs {package}, which is not installed",
            "install the extra tiktok-ray[demo]",
        )
    return Path(spec.submodule_search_locations[0]) / file


def pictures() -> Iterator[Picture]:
    """All frames of the clip, uint8 [960, 540, 3], RGB."""
    photos = {scene.photo: photo(scene.photo) for scene in SCENES}
    for k in range(FPS * SECONDS):
        yield _captioned(_picture(photos, k / FPS), k / FPS)


def _picture(photos: dict[str, Picture], t: float) -> Picture:
    shown = [s for s in SCENES if s.start <= t < s.end]
    views = [_view(photos[s.photo], s, t) for s in shown]
    picture = views[0].astype(np.float32)
    if len(views) == 2:
        mix = (t - DISSOLVE.start) / DISSOLVE.length
        picture = (1 - mix) * picture + mix * views[1]
    if FADE.start <= t < FADE.end:
        picture *= abs(t - (FADE.start + FADE.end) / 2) / (FADE.length / 2)
    return picture.round().astype(np.uint8)


def _view(image: Picture, scene: Scene, t: float) -> Picture:
    import cv2

    at = (t - scene.start) / (scene.end - scene.start)
    x, y, width = (a + at * (b - a) for a, b in zip(*scene.view, strict=True))
    height, full = image.shape[:2]
    scale = min(width * full / WIDTH, height / HEIGHT)
    left, top = x * full - scale * WIDTH / 2, y * height - scale * HEIGHT / 2
    left = min(max(left, 0.0), full - scale * WIDTH)
    top = min(max(top, 0.0), height - scale * HEIGHT)
    matrix = np.array([[scale, 0, left], [0, scale, top]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), flags=flags)
    return np.asarray(warped, np.uint8)


def _captioned(picture: Picture, t: float) -> Picture:
    from PIL import Image, ImageDraw, ImageFont

    shown = [c for c in CAPTIONS if c.start <= t < c.end]
    if not shown:
        return picture
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(
        str(_bundled("matplotlib", "mpl-data/fonts/ttf/DejaVuSans-Bold.ttf")), 44
    )
    for caption in shown:
        draw.text(
            (WIDTH / 2, caption.y * HEIGHT),
            caption.text,
            font=font,
            fill="white",
            stroke_width=4,
            stroke_fill="black",
            anchor="mm",
        )
    return np.asarray(image)


# --- sound ------------------------------------------------------------------------------------


def sound() -> NDArray[np.float32]:
    """The clip's sound, float32 [n], mono, 48 kHz."""
    track = np.zeros(SECONDS * RATE, np.float32)
    for language, text, start in SPOKEN:
        _mix(track, _spoken(language, text), start)
    _mix(track, _music(MUSIC.length), MUSIC.start)
    return track


def speech_spans() -> list[Span]:
    """The spans of speech."""
    return [Span(start, start + len(_spoken(lang, text)) / RATE) for lang, text, start in SPOKEN]


def _spoken(language: str, text: str) -> NDArray[np.float32]:
    from scipy.signal import resample_poly

    from tiktok_ray.demo.speech_synthesis import speak

    voice, rate = speak(text, language)
    samples = resample_poly(voice, RATE, rate).astype(np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    result: NDArray[np.float32] = 0.7 * samples[loud[0] : loud[-1] + 1] / np.abs(samples).max()
    return result


def _music(seconds: float) -> NDArray[np.float32]:
    """Drum and chords: a beat every 60 / TEMPO seconds, the first at zero."""
    t = np.arange(round(seconds * RATE)) / RATE
    beat = 60 / TEMPO
    within = t % beat
    drum = 0.5 * np.sin(2 * np.pi * (50 * within + 40 * (1 - np.exp(-30 * within)) / 30))
    drum *= np.exp(-within / 0.08)
    chords = (
        (220.0, 261.6, 329.6),
        (174.6, 220.0, 261.6),
        (261.6, 329.6, 392.0),
        (196.0, 246.9, 293.7),
    )
    bar = (t // (4 * beat)).astype(int) % len(chords)
    pad = sum(np.sin(2 * np.pi * np.array(chords)[bar, k] * t) for k in range(3)) * 0.06
    edge = np.minimum(1, np.minimum(t, seconds - t) / 0.02)
    music: NDArray[np.float32] = ((drum + pad) * edge).astype(np.float32)
    return music


def _mix(track: NDArray[np.float32], part: NDArray[np.float32], start: float) -> None:
    at = round(start * RATE)
    part = part[: len(track) - at]
    track[at : at + len(part)] += part


# --- truth ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One line of the comparison."""

    what: str
    truth: str
    found: str
    verdict: Literal["right", "wrong", "not measured"]


def compare(report: dict[str, Any]) -> list[Line]:
    """Compare a report of the demo clip, as plain JSON, with the clip's ground truth, line by line."""
    checks: list[tuple[str, Callable[[dict[str, Any]], Iterator[Line]]]] = [
        ("cut_analysis", _compare_cuts),
        ("audio_analysis", _compare_sound),
        ("text_overlay", _compare_text),
        ("speech_transcription", _compare_speech),
        ("object_detection", _compare_objects),
        ("age_estimation", _compare_faces),
    ]
    lines: list[Line] = []
    for name, check in checks:
        section = report["analyzers"][name]
        if section.get("output") is None:
            why = f"{section['status']}: {section.get('reason', '')}"
            lines.append(Line(name, "", why, "not measured"))
        else:
            lines += check(section["output"])
    return lines


def _line(what: str, truth: str, found: str, right: bool) -> Line:
    return Line(what, truth, found, "right" if right else "wrong")


def _compare_cuts(output: dict[str, Any]) -> Iterator[Line]:
    changes = output["transitions"]
    hard = [c["start"] for c in changes if c["end"] == c["start"]]
    for cut in CUTS:
        near = min(hard, key=lambda t: abs(t - cut), default=None)
        found = "none" if near is None else f"{near:.3f} s"
        yield _line(
            "hard cut", f"{cut:.3f} s", found, near is not None and abs(near - cut) <= 1.5 / FPS
        )
    for kind, span in (("dissolve", DISSOLVE), ("fade", FADE)):
        same = [c for c in changes if c["kind"] == kind]
        best = max(
            same, key=lambda c: spans.overlap([(c["start"], c["end"])], [span]), default=None
        )
        found = f"{best['start']:.2f} to {best['end']:.2f} s" if best else "none"
        right = best is not None and all(
            abs(a - b) <= 0.15 for a, b in zip((best["start"], best["end"]), span, strict=True)
        )
        yield _line(kind, f"{span.start:.2f} to {span.end:.2f} s", found, right)
    expected = len(CUTS) + 2
    yield _line("changes in all", str(expected), str(len(changes)), len(changes) == expected)


def _compare_sound(output: dict[str, Any]) -> Iterator[Line]:
    bpm = float((output.get("tempo") or {}).get("bpm") or 0.0)
    found = f"{bpm:.1f} bpm" if bpm else "none"
    yield _line("tempo", f"{TEMPO:.1f} bpm", found, abs(bpm / TEMPO - 1) <= 0.02)
    silent = [(s["start"], s["end"]) for s in output["silences"]]
    best = max(silent, key=lambda s: spans.overlap([s], [SILENCE]), default=(0.0, 0.0))
    end = speech_spans()[1].start
    right = abs(best[0] - SILENCE.start) <= 0.15 and abs(best[1] - end) <= 0.15
    truth = f"{SILENCE.start:.2f} to {end:.2f} s"
    yield _line("silence", truth, f"{best[0]:.2f} to {best[1]:.2f} s", right)


def _compare_text(output: dict[str, Any]) -> Iterator[Line]:
    for caption in CAPTIONS:
        same = [o for o in output["overlays"] if o["text"].casefold() == caption.text.casefold()]
        truth = f"{caption.text!r} {caption.start:.1f} to {caption.end:.1f} s"
        if not same:
            near = [
                o["text"] for o in output["overlays"] if o["start"] < caption.end < o["end"] + 1
            ]
            yield _line("caption", truth, f"not as written: {near}", False)
            continue
        o = same[0]
        close = abs(o["start"] - caption.start) <= 0.3 and abs(o["end"] - caption.end) <= 0.3
        right = close and len(same) == 1 and o["text"] == caption.text
        yield _line("caption", truth, f"{o['text']!r} {o['start']:.1f} to {o['end']:.1f} s", right)


def _compare_speech(output: dict[str, Any]) -> Iterator[Line]:
    found = [(s["start"], s["end"]) for s in output["speech"]]
    for span in speech_spans():
        covered = spans.share(found, [span])
        truth = f"{span.start:.2f} to {span.end:.2f} s"
        yield _line("speech", truth, f"{covered:.0%} covered", covered >= 0.85)
    false = spans.overlap(found, [(SILENCE.start, SILENCE.end), (MUSIC.start, MUSIC.end)])
    yield _line("no speech in music or silence", "0.00 s", f"{false:.2f} s", false <= 0.3)


def _compare_objects(output: dict[str, Any]) -> Iterator[Line]:
    for label, start, end in (
        ("person", 0.0, 4.0),
        ("cup", 4.0, 8.0),
        ("cat", 8.4, 11.8),
        ("motorcycle", 16.0, 20.0),
    ):
        tracks = [(t["start"], t["end"]) for t in output["tracks"] if t["label"] == label]
        seen = spans.share(tracks, [(start, end)])
        yield _line(label, f"{start:.1f} to {end:.1f} s", f"{seen:.0%} of it", seen >= 0.5)


def _compare_faces(output: dict[str, Any]) -> Iterator[Line]:
    tracks = [t for t in output["faces"] if spans.overlap([(t["start"], t["end"])], [(0, 4)]) > 1]
    yield _line("face", "1 in 0.0 to 4.0 s", f"{len(tracks)}", len(tracks) == 1)
