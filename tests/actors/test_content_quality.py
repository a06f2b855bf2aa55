"""Quality of pictures whose blur, noise, clipping, bars and true size are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actors.content_quality import (
    PAIRS,
    ContentQuality,
    Embeddings,
    Quality,
    QualityOptions,
    audio_clipped,
    find_bars,
    measure,
    pair_scores,
)
from tests.conftest import slow
from tiktok_ray.analyzer import Analyzer
from tiktok_ray.media import Audio, Frames, Levels, decode
from tiktok_ray.media.spans import Span
from tiktok_ray.media.writer import write_clip
from tiktok_ray.methods.vectors import unit
from tiktok_ray.methods.vision.clip import Clip
from tiktok_ray.methods.vision.picture_quality import blocking, detail, edge_blur, noise, sharpness
from tiktok_ray.report import undeclared
from tiktok_ray.settings import Settings

Gray = NDArray[np.uint8]
SIZE = (384, 512)


def luma(values: Any) -> Gray:
    """Full-range values as limited-range luma."""
    return np.clip(16 + np.asarray(values, float) * 219 / 255, 0, 255).round().astype(np.uint8)


def scene(size: tuple[int, int] = SIZE, seed: int = 0) -> NDArray[np.float64]:
    """What a photograph is like: patches of every size with straight edges (dead leaves)."""
    rng = np.random.default_rng(seed)
    picture = np.full(size, 128.0)
    for _ in range(4000):
        radius = min(size) * 0.008 / max(0.02, rng.random()) ** 1.2
        y, x = rng.random() * size[0], rng.random() * size[1]
        rows = slice(max(0, int(y - radius)), int(y + radius) + 1)
        columns = slice(max(0, int(x - radius)), int(x + radius) + 1)
        picture[rows, columns] = rng.uniform(30, 225)
    return picture


SCENE = scene()


def blurred(picture: NDArray[Any], sigma: float) -> Any:
    return cv2.GaussianBlur(picture, (0, 0), sigma) if sigma else picture


def video(*pictures: Any, fps: float = 2) -> Frames:
    """Frames of grey (full range) or RGB pictures."""
    colours = [
        np.repeat(np.clip(p, 0, 255).round().astype(np.uint8)[..., None], 3, 2)
        if p.ndim == 2
        else p
        for p in pictures
    ]
    return Frames.of([k / fps for k in range(len(colours))], colours, len(colours) / fps)


def sound(*clipped: float, present: tuple[float, float] | None = None) -> Audio:
    share = np.array(clipped)
    end = len(share) / 10
    levels = Levels(share * 0, share * 0, share, 48_000, 1)
    return Audio(np.zeros(round(end * 16_000), np.float32), levels, (Span(*(present or (0, end))),))


class Eye:
    """Sees mean, contrast and slope of each colour: a CLIP that a test can follow."""

    def __init__(self) -> None:
        self.prompts = np.random.default_rng(5).normal(size=(2 * len(PAIRS), 12)).astype(np.float32)
        self.scale = 10.0
        self.batches: list[int] = []

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.batches.append(len(pictures))
        made = []
        for picture in pictures:
            p = picture.astype(float) / 255 - 0.5
            half = p.shape[0] // 2
            slope = p[:half].mean((0, 1)) - p[half:].mean((0, 1))
            made.append(np.r_[p.mean((0, 1)), p.std((0, 1)), slope, np.diff(p, axis=1).std((0, 1))])
        return np.array(made, np.float32)


def seeing(**options: Any) -> ContentQuality:
    analyzer = ContentQuality(QualityOptions(**options))
    analyzer._seer = Eye()  # type: ignore[assignment]
    return analyzer


def coloured(*tints: tuple[float, float, float]) -> list[Any]:
    small: Any = cv2.resize(SCENE, (256, 192), interpolation=cv2.INTER_AREA)
    small[100:140, 60:90], small[100:140, 160:200] = 0, 255
    return [(small[..., None] * np.array(tint)).clip(0, 255).astype(np.uint8) for tint in tints]


def varied() -> list[tuple[Analyzer, dict[str, Any]]]:
    """Three scenes seen by a model; a flat picture; a letterboxed one without a model."""
    plain = coloured((1, 1, 1), (1.4, 0.8, 0.6), (0.5, 0.9, 1.6))
    soft = [blurred(p, 3) for p in coloured((1, 0.7, 0.7), (0.4, 0.4, 0.5))]
    boxed = [p.copy() for p in coloured((1, 1, 1), (1, 1, 0.8))]
    for picture in boxed:
        picture[:24] = picture[-24:] = 0
    flat = [np.full((64, 64, 3), 90, np.uint8)]
    return [
        (seeing(), {"frames": video(*plain), "stills": video(*plain), "audio": sound(0, 0.2)}),
        (seeing(), {"frames": video(*soft), "stills": video(*soft), "audio": None}),
        (seeing(), {"frames": video(*flat), "stills": video(*flat), "audio": sound(0, 0)}),
        (ContentQuality(), {"frames": video(*boxed), "stills": video(*boxed), "audio": None}),
    ]


# --- technical --------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5, 2.0, 3.0])
def test_blur_of_edges_is_the_gaussian_that_made_it(sigma):
    found = edge_blur(luma(blurred(SCENE, sigma)))
    assert found == pytest.approx(sigma, rel=0.15)


def test_sharpness_falls_with_every_blur_and_a_flat_picture_has_none():
    found = [sharpness(luma(blurred(SCENE, sigma))) for sigma in (0, 0.7, 1.5, 3, 6)]
    known = [value for value in found if value is not None]
    assert known == sorted(known, reverse=True)
    assert len(known) == 5
    assert known[0] > 0.8
    assert known[3] < 0.4
    assert sharpness(luma(np.full(SIZE, 90))) is None
    assert edge_blur(luma(np.full(SIZE, 90))) is None


def test_sharpness_counts_the_worse_direction():
    rows = luma(np.repeat(np.random.default_rng(0).uniform(0, 255, (200, 1)), 200, 1))
    smeared = luma(cv2.blur(np.random.default_rng(0).uniform(0, 255, (200, 200)), (15, 1)))
    assert sharpness(rows) == 0
    both = sharpness(luma(np.random.default_rng(0).uniform(0, 255, (200, 200))))
    one = sharpness(smeared)
    assert one is not None
    assert both is not None
    assert one < both


@settings(max_examples=12, deadline=None)
@given(st.floats(1.5, 15), st.integers(0, 3))
def test_noise_is_found_within_a_tenth(sigma, seed):
    rng = np.random.default_rng(seed)
    picture = blurred(scene((256, 256), seed), 2) * 0.6 + 40
    found = noise(luma(picture + rng.normal(0, sigma, picture.shape)))
    assert found == pytest.approx(sigma, rel=0.1, abs=0.35)


def test_noise_is_measured_where_pixels_are_not_clipped():
    rng = np.random.default_rng(0)
    picture = np.full(SIZE, 0.0)
    picture[:, 256:] = 120
    assert noise(luma(picture + rng.normal(0, 6, SIZE))) == pytest.approx(6, rel=0.1)
    assert noise(luma(np.zeros(SIZE))) is None
    assert noise(luma(np.full(SIZE, 120))) == 0


def test_blocking_sees_the_grid_and_only_the_grid():
    def jpeg(quality: int) -> Gray:
        soft = luma(blurred(SCENE, 1.5))
        encoded = cv2.imencode(".jpg", soft, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE), np.uint8)

    strengths = [blocking(jpeg(quality)) for quality in (95, 50, 20, 5)]
    known = [value for value in strengths if value is not None]
    assert known == sorted(known)
    assert known[-1] > 0.4
    assert blocking(luma(SCENE)) == pytest.approx(0, abs=0.1)
    mosaic = np.random.default_rng(0).uniform(0, 255, (48, 64)).repeat(8, 0).repeat(8, 1)
    assert blocking(luma(mosaic)) == 1
    assert blocking(luma(np.roll(mosaic, (4, 4), (0, 1)))) == -1
    assert blocking(luma(np.full(SIZE, 90))) is None


def test_a_bar_on_the_grid_is_no_blocking():
    pictures = [boxed((48, 48, 64, 64), seed, 0) for seed in range(3)]
    found = measure(video(*pictures), video(*pictures), None)
    assert found.blocking == pytest.approx(0, abs=0.12)
    mosaic = np.random.default_rng(0).uniform(30, 220, (30, 40)).repeat(8, 0).repeat(8, 1)
    mosaic[:20] = mosaic[-20:] = 0
    assert measure(video(mosaic), video(mosaic), None).blocking == pytest.approx(1)


@pytest.mark.parametrize("factor", [1.5, slow(2), slow(3), 4])
@pytest.mark.parametrize("how", [cv2.INTER_CUBIC, slow(cv2.INTER_LANCZOS4)])
def test_an_enlarged_picture_is_found_out(factor, how):
    fine = cv2.resize(scene((1536, 2048), 2), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    full, share = detail(luma(fine)), None
    large = cv2.resize(fine, None, fx=factor, fy=factor, interpolation=how)
    share = detail(luma(large))
    assert full is not None
    assert share is not None
    assert full > 0.8
    assert share / full == pytest.approx(1 / factor, rel=0.25)


def test_a_sharp_caption_does_not_hide_an_enlarged_picture():
    fine = scene((192, 256), 2)
    large: Any = luma(cv2.resize(fine, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC))
    plain = detail(large)
    _, written = cv2.putText(
        np.repeat(large[..., None], 3, 2), "A SHARP CAPTION", (120, 120), (235,) * 3,
        cv2.FontFace("sans"), 70, 800,
    )  # fmt: skip
    assert plain is not None
    assert detail(np.ascontiguousarray(written[..., 0])) == pytest.approx(plain, rel=0.15)
    assert detail(luma(np.full(SIZE, 90))) is None


BARS = [
    ("letterbox", (48, 48, 0, 0)),
    ("pillarbox", (0, 0, 64, 64)),
    ("windowbox", (48, 30, 64, 40)),
    ("letterbox", (0, 48, 0, 0)),
    ("none", (0, 0, 0, 0)),
]


def boxed(kind: tuple[int, int, int, int], seed: int, shade: int) -> Any:
    top, bottom, left, right = kind
    picture = scene((240, 320), seed)
    for part in (np.s_[:top], np.s_[240 - bottom :], np.s_[:, :left], np.s_[:, 320 - right :]):
        picture[part] = shade
    return picture


@pytest.mark.parametrize("shade", [0, 255])
@pytest.mark.parametrize(("kind", "widths"), BARS)
def test_bars_are_found_where_they_are(kind, widths, shade):
    found = find_bars(video(*[boxed(widths, seed, shade) for seed in range(3)]).grays)
    top, bottom, left, right = widths
    assert found.kind == kind
    wanted = [left / 320, top / 240, 1 - right / 320, 1 - bottom / 240]
    assert found.box == pytest.approx(wanted, abs=0.006)
    inside = (1 - (left + right) / 320) * (1 - (top + bottom) / 240)
    assert found.share == pytest.approx(1 - inside, abs=0.01)


def test_a_caption_on_a_bar_and_a_fade_to_black_leave_the_bars():
    pictures = [boxed((48, 48, 0, 0), seed, 0) for seed in range(3)]
    for picture in pictures:
        picture[12:36, 110:210] = 255
    pictures.append(np.zeros((240, 320)))
    found = find_bars(video(*pictures).grays)
    assert found.kind == "letterbox"
    assert found.box == pytest.approx([0, 0.2, 1, 0.8], abs=0.006)


def test_a_subject_on_black_has_no_bars():
    ys, xs = np.mgrid[:240, :320]
    subject = 200.0 * ((ys - 130) ** 2 / 100**2 + (xs - 160) ** 2 / 70**2 < 1)
    assert find_bars(video(subject, np.roll(subject, 5, 1)).grays).kind == "none"
    # What passes over a white ground ends at one column by chance, never along a straight edge.
    passing = [255 - 150.0 * (abs(ys - 20 - 25 * k) < 20) * (xs < 250) for k in range(8)]
    assert find_bars(video(*passing).grays).kind == "none"
    assert find_bars(video(np.zeros((240, 320))).grays).kind == "none"


def test_clipping_is_counted_inside_the_bars():
    picture = np.full((240, 320), 120.0)
    picture[:40] = picture[200:] = 0
    picture[40:80, :160], picture[80:120, :64] = 0, 255
    found = measure(video(picture), video(picture), None)
    assert found.bars.kind == "letterbox"
    assert found.clipped_dark == pytest.approx(40 * 160 / (160 * 320), abs=0.01)
    assert found.clipped_bright == pytest.approx(40 * 64 / (160 * 320), abs=0.01)


def test_blurred_samples_are_counted_on_a_curve():
    pictures = [SCENE, blurred(SCENE, 5), blurred(SCENE, 5), SCENE, np.full(SIZE, 90.0)]
    found = measure(video(*pictures), video(SCENE), None)
    assert found.times == [0, 0.5, 1, 1.5]
    assert found.blurred_share == 0.5
    assert found.sharpness_curve[1] < 0.4 < found.sharpness_curve[0]


def test_the_report_holds_the_true_size():
    small = scene((270, 360), 1)
    large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    found = measure(video(small), video(large), None)
    assert found.resolution == [720, 540]
    assert found.effective_resolution is not None
    assert found.effective_resolution[0] == pytest.approx(360, rel=0.3)
    sharp = measure(video(small), video(small), None)
    assert sharp.effective_resolution == sharp.resolution == [360, 270]


def test_audio_clipping_counts_where_there_is_audio():
    assert audio_clipped(sound(0, 0.5, 0.1, 0)) == pytest.approx(0.15)
    assert audio_clipped(sound(0, 0.5, 0, 0, present=(0, 0.2))) == pytest.approx(0.25)
    assert audio_clipped(sound(0.5, 0.5, present=(0.3, 0.3))) is None


@pytest.mark.slow
@pytest.mark.parametrize(("sigma", "crf"), [(0, "12"), (2, "12"), (0, "45")])
def test_a_coded_clip_keeps_what_was_put_in(tmp_path, sigma, crf):
    rng = np.random.default_rng(0)
    pictures = [
        np.roll(blurred(SCENE, sigma), 6 * k, 1) + rng.normal(0, 1, SIZE) for k in range(24)
    ]
    frames = [np.repeat(p.clip(0, 255).astype(np.uint8)[..., None], 3, 2) for p in pictures]
    options = {"preset": "veryfast", "crf": crf}
    clip = write_clip(tmp_path / "clip.mp4", frames, fps=12, options=options)
    tracks = decode(clip, {"frames", "stills"}, Settings()).tracks
    found = measure(tracks["frames"], tracks["stills"], None)
    assert found.sharpness is not None
    assert found.edge_blur is not None
    if sigma:
        assert found.edge_blur == pytest.approx(sigma, rel=0.2)
        assert found.sharpness < 0.65
    elif crf == "12":
        assert found.edge_blur < 0.8
        assert found.sharpness > 0.75
    else:
        assert found.noise is not None
        assert found.noise < 0.5


# --- CLIP -------------------------------------------------------------------------------------


def test_a_score_is_the_softmax_of_its_pair():
    prompts = np.array([[1, 0], [0, 1], [1, 1], [-1, -1]], np.float32)
    scores = pair_scores(np.array([[3, 0], [0, 0.5], [1, 1]], np.float32), prompts, 2.0)
    wanted = 1 / (1 + np.exp(-2.0))
    assert scores[:, 0] == pytest.approx([wanted, 1 - wanted, 0.5])
    both = 1 / (1 + np.exp(-4 / 2**0.5))
    assert scores[:, 1] == pytest.approx([both, both, 1 / (1 + np.exp(-4))])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 512), st.integers(0, 100))
def test_vectors_survive_packing(count, width, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32) * 7
    packed = Embeddings.of([0.5 * k for k in range(count)], vectors)
    back = Embeddings.model_validate_json(packed.model_dump_json()).array()
    assert back.shape == (count, width)
    assert ((back * unit(vectors)).sum(1) > 0.999).all()
    assert np.abs(back @ back.T - unit(vectors) @ unit(vectors).T).max() < 0.02
    assert len(packed.data) <= count * width * 4 / 3 + 4


def test_twenty_seconds_of_vectors_stay_small():
    vectors = np.random.default_rng(0).normal(size=(40, 512)).astype(np.float32)
    assert len(Embeddings.of([k / 2 for k in range(40)], vectors).model_dump_json()) < 30_000


def test_frames_are_shown_in_batches_and_scored_by_pair():
    pictures = coloured(*[(1, 0.1 * k, 1) for k in range(9)])
    analyzer = seeing(clip_frames=5)
    analyzer.batch = 2
    frames = video(*pictures)
    found = analyzer.analyze(frames, video(pictures[0]), None)
    eye = analyzer._seer
    assert isinstance(eye, Eye)
    assert eye.batches == [2, 2, 1]
    assert found.embeddings is not None
    assert found.aesthetic is not None
    assert found.embeddings.times == [0, 1, 2, 3, 4]
    expected = Eye().embed([frames.rgb(k) for k in (0, 2, 4, 6, 8)])
    assert np.abs(found.embeddings.array() - unit(expected)).max() < 0.01
    scores = pair_scores(expected, eye.prompts, eye.scale)
    assert [s.pair for s in found.aesthetic] == [name for name, *_ in PAIRS]
    assert [s.score for s in found.aesthetic] == pytest.approx(scores.mean(0).tolist())
    assert found.aesthetic[0].best_s == float(scores[:, 0].argmax())


def test_without_weights_the_signal_is_still_measured():
    best, last = ContentQuality.variants[0], ContentQuality.variants[-1]
    assert last.weights == {}
    assert last.lacks == ("aesthetic", "embeddings")
    assert best.lacks == ()
    analyzer = ContentQuality()
    analyzer.load(last, "cpu", {})
    found = analyzer.analyze(video(SCENE), video(SCENE), None)
    assert found.aesthetic is None
    assert found.embeddings is None
    assert found.technical.sharpness is not None
    assert found.headline().startswith("512x384, sharpness 0.")


def test_weights_are_taken_in_either_format(tmp_path):
    hub = ContentQuality.variants[0].weights["clip"]
    folder = tmp_path / "hub" / "openai--clip-vit-base-patch32"
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).touch()
    assert hub.locate(tmp_path) is None
    for name in ("pytorch_model.bin", "model.safetensors"):
        (folder / name).touch()
        assert hub.locate(tmp_path) == folder
        (folder / name).unlink()


def tiny_clip(folder: Path) -> Path:
    """A CLIP of random weights in the layout of the real one."""
    import torch
    import transformers as hf
    from tokenizers import pre_tokenizers

    torch.manual_seed(0)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: k for k, c in enumerate([*letters, *(f"{c}</w>" for c in letters)])}
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    end = vocabulary["<|endoftext|>"]
    text = {
        "vocab_size": len(vocabulary), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 77,
        "bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end,
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    config = hf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    hf.CLIPModel(config).save_pretrained(folder)
    images = hf.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    tokenizer = hf.CLIPTokenizer(vocab=vocabulary, merges=[])
    hf.CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("models") / "hub" / "openai--clip-vit-base-patch32")


@pytest.mark.slow
def test_a_clip_checkpoint_is_found_loaded_and_asked(checkpoint):
    import torch
    from transformers import AutoModel, AutoProcessor

    variant = ContentQuality.variants[0]
    place = variant.weights["clip"].locate(checkpoint.parent.parent)
    assert place == checkpoint
    assert place is not None
    analyzer = ContentQuality()
    analyzer.load(variant, "cpu", {"clip": place})
    pictures = coloured((1, 1, 1), (1.5, 0.3, 0.3), (0.2, 0.2, 1.5))
    found = analyzer.analyze(video(*pictures), video(pictures[0]), None)
    assert found.embeddings is not None
    assert found.aesthetic is not None
    assert found.embeddings.width == 16
    # The model's own answer to the same pictures and prompts.
    model, processor = AutoModel.from_pretrained(place), AutoProcessor.from_pretrained(place)
    frames = video(*pictures)
    for pair, (name, *prompts) in zip(found.aesthetic, PAIRS, strict=True):
        inputs = processor(
            text=prompts,
            images=[frames.rgb(k) for k in range(3)],
            return_tensors="pt",
            padding=True,
        )
        with torch.inference_mode():
            wanted = model(**inputs).logits_per_image.softmax(1)[:, 0].numpy()
        assert pair.pair == name
        assert pair.score == pytest.approx(float(wanted.mean()), abs=1e-3)
        assert pair.best_s == 0.5 * int(wanted.argmax())
    apart = found.embeddings.array()
    assert (apart[0] @ apart[1]) < 0.99999


@pytest.mark.slow
def test_clip_turns_away_a_folder_that_is_none(tmp_path):
    with pytest.raises((OSError, ValueError)):
        Clip(tmp_path, "cpu", [])


def test_every_field_is_declared():
    assert list(undeclared(Quality)) == []


Check = Callable[[Quality], bool]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "holds"),
    [
        ("video/gesture_woman.mp4", lambda t: t.bars.kind == "none" and t.clipped_dark > 0.3),
        ("video/short_vertical_composite.mp4", lambda t: t.effective_resolution[0] < 450),
        ("video/psd_fades.mp4", lambda t: t.sharpness is None and t.clipped_dark > 0),
        ("video/psd_counter.mp4", lambda t: t.noise < 0.5 and t.sharpness > 0.6),
        ("odd/one_pixel_1x1.mp4", lambda t: t.noise is None and t.sharpness is None),
        ("odd/huge_8k_3frames.mp4", lambda t: t.blocking > 0.3),
    ],
)
def test_real_clips(real_media, file, holds):
    tracks = decode(real_media / file, {"frames", "stills", "audio"}, Settings()).tracks
    assert holds(measure(tracks["frames"], tracks["stills"], tracks.get("audio")))
