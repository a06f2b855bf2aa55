"""Speaker diarisation: voice embeddings, clustered into speaker turns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.media import Audio, spans
from tiktok_ray.media.spans import Span
from tiktok_ray.methods.inference import open_session
from tiktok_ray.methods.onnx_export import Recipe, exported, write
from tiktok_ray.weights import Bundled

RECIPE = Recipe("tiktok_ray.methods.audio.speakers:export", 1, beside=False)
#: The encoder of Resemblyzer (Wan et al. 2018, generalized end-to-end loss), in its package.
VOICES = Bundled(
    "resemblyzer/pretrained.pt",
    licence="Apache-2.0",
    size_gib=0.016,
    package="resemblyzer",
    path="pretrained.pt",
    recipes=(RECIPE,),
)
#: Its features: windows of 25 ms every 10 ms, 40 mel bands, at the level it was trained at.
FFT, HOP, MELS, LEVEL_DB = 400, 160, 40, -30.0
#: Level that all speech of a sound is brought to first, of full scale, at which the thresholds below
#: were set: the encoder hears a loud voice and the same one quieter as two.
SPEECH_DB = -23.0

#: Length and step of the pieces that are embedded.
PIECE_S, STEP_S = 0.8, 0.2
#: What a change of voice costs, in lost likeness of pieces, before one is seen; and the fewest
#: pieces between two.
CHANGE, LEAST_PIECES = 0.45, 3
#: Voices are made of stretches of this many pieces (2 s), or of fewer where those hold less than
#: this share of the speech; what is shorter goes to the voice that it is most like.
STEADY_PIECES, STEADY_SHARE = 7, 0.6
#: Mean of one minus the cosine from which on two groups of such stretches are two voices: those of
#: one made voice are apart by 0.04 to 0.15, of two by 0.11 to 0.43. Set on dialogues of 31 made
#: voices. Means of fewer pieces scatter more, by ``SCATTER`` over their number.
APART, SCATTER, MOST_VOICES = 0.15, 0.7, 6
#: A turn this short is no turn.
LEAST_TURN_S = 0.5
#: Step in which turns are told.
FRAME_S = 0.05

Floats = NDArray[np.float32]


class Turn(NamedTuple):
    """A span of speech by one speaker, numbered from 0 in order of first appearance.

    ``margin`` is how much nearer the voice is to that speaker than to the next, as a difference of
    cosines; None where there is one speaker.
    """

    start: float
    end: float
    speaker: int
    margin: float | None


class Encoder(Protocol):
    """Unit vectors [n, d] of pieces of 16 kHz sound, all of one length."""

    def embed(self, pieces: Sequence[Floats]) -> Floats: ...


def turns(audio: Audio, speech: Iterable[tuple[float, float]], encoder: Encoder) -> list[Turn]:
    """Who speaks when, in chronological order; the turns cover the speech.

    Pieces of 0.8 s are embedded every 0.2 s. Each span is cut where the voice changes, and the mean
    voices of what lies between are clustered from the bottom up, short stretches left aside where
    there are enough long ones: a voice heard in those alone counts as the one it is most like.
    Where voices overlap, one of them is told.
    """
    spoken = spans.union(speech)
    if not spoken:
        return []
    gain = _gain(np.concatenate([audio.cut(*span) for span in spoken]), SPEECH_DB)
    pieces = [[Span(*piece) for piece in _pieces(span)] for span in spoken]
    voices = [encoder.embed([_levelled(audio, piece, gain) for piece in each]) for each in pieces]
    stretches = [stretch for each in voices for stretch in _unchanged(each)]
    centres = _centres(stretches)
    made = [
        turn
        for span, each, voice in zip(spoken, pieces, voices, strict=True)
        for turn in _told(span, each, np.asarray(voice @ centres.T, float))
    ]
    return _numbered(_merged(made))


def _pieces(span: Span) -> Iterator[tuple[float, float]]:
    """Stretches over a span; a shorter span is one."""
    last = max(span.start, span.end - PIECE_S)
    count = int(np.ceil((last - span.start) / STEP_S - 1e-6))
    for k in range(count):
        yield span.start + k * STEP_S, span.start + k * STEP_S + PIECE_S
    yield last, span.end


def _levelled(audio: Audio, piece: Span, gain: float) -> Floats:
    """The sound of a stretch times ``gain``, and no quieter than the encoder is used to; short ones
    said again."""
    size = round(PIECE_S * audio.rate)
    sound = audio.cut(*piece)
    if not len(sound):
        return np.zeros(size, np.float32)
    return np.resize(sound * np.float32(max(gain, _gain(sound, LEVEL_DB))), size)


def _gain(sound: Floats, level_db: float) -> float:
    """What brings sound to a root mean square, in dB of full scale."""
    power = float(np.mean(np.square(sound, dtype=float))) if len(sound) else 0.0
    return float(10 ** (level_db / 20) / (np.sqrt(power) + 1e-9))


def _unchanged(voices: Floats) -> list[Floats]:
    """The vectors of a span, cut where the voice changes: the cut of least scatter around the means
    of its parts, each part paid for (optimal partitioning, Jackson et al. 2005)."""
    count = len(voices)
    sums = np.vstack([np.zeros((1, voices.shape[1])), np.cumsum(voices, 0, dtype=float)])
    cost, before = np.zeros(count + 1), np.zeros(count + 1, int)
    for end in range(1, count + 1):
        starts = np.arange(max(1, end - LEAST_PIECES + 1))
        scatter = end - starts - np.linalg.norm(sums[end] - sums[starts], axis=1)
        whole = cost[starts] + scatter + CHANGE
        before[end] = whole.argmin()
        cost[end] = whole.min()
    edges = [count]
    while edges[0] > 0:
        edges.insert(0, int(before[edges[0]]))
    return [voices[a:b] for a, b in pairwise(edges)]


def _steady_ones(stretches: Sequence[Floats]) -> tuple[list[Floats], float]:
    """The longest stretches that hold enough of the speech, and how far apart two voices are."""
    enough = STEADY_SHARE * sum(map(len, stretches))
    for least in range(STEADY_PIECES, 0, -1):
        steady = [each for each in stretches if len(each) >= least]
        if sum(map(len, steady)) >= enough:
            break
    return steady, APART + SCATTER * (1 / least - 1 / STEADY_PIECES)


def _centres(stretches: Sequence[Floats]) -> Floats:
    """The mean vector [n, d] of each voice, of stretches of one voice each."""
    from scipy.cluster.hierarchy import fcluster, linkage

    steady, apart = _steady_ones(stretches)
    if len(steady) < 2:
        return _mean(np.concatenate(steady))[None]
    tree = linkage(np.stack([_mean(each) for each in steady]), "average", metric="cosine")
    labels = fcluster(tree, apart, "distance")
    if labels.max() > MOST_VOICES:
        labels = fcluster(tree, MOST_VOICES, "maxclust")
    groups = [[steady[k] for k in np.flatnonzero(labels == label)] for label in np.unique(labels)]
    return np.stack([_mean(np.concatenate(group)) for group in groups])


def _mean(voices: Floats) -> Floats:
    mean = voices.mean(0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9))


def _told(span: Span, pieces: Sequence[Span], likeness: NDArray[np.float64]) -> Iterator[Turn]:
    """The turns of one span: at each moment the speaker whom the pieces around it are most like."""
    times = np.arange(span.start, span.end, FRAME_S) + FRAME_S / 2
    middles = np.array([(piece.start + piece.end) / 2 for piece in pieces])
    weight = np.maximum(1e-6, 1 - np.abs(times[:, None] - middles[None, :]) / (PIECE_S / 2))
    scores = (weight / weight.sum(1, keepdims=True)) @ likeness
    best = _steady(scores.argmax(1))
    edges = [0, *(np.flatnonzero(np.diff(best)) + 1), len(best)]
    for a, b in pairwise(edges):
        start = span.start + a * FRAME_S
        end = span.end if b == len(best) else span.start + b * FRAME_S
        mean = scores[a:b].mean(0)
        others = np.delete(mean, best[a])
        margin = float(mean[best[a]] - others.max()) if len(others) else None
        yield Turn(start, end, int(best[a]), margin)


def _steady(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels whose runs under ``LEAST_TURN_S`` are given to the longer neighbour."""
    labels = labels.copy()
    least = round(LEAST_TURN_S / FRAME_S)
    while True:
        edges = [0, *(np.flatnonzero(np.diff(labels)) + 1), len(labels)]
        runs = list(pairwise(edges))
        short = [k for k, (a, b) in enumerate(runs) if b - a < least]
        if len(runs) == 1 or not short:
            return labels
        k = min(short, key=lambda k: runs[k][1] - runs[k][0])
        beside = [j for j in (k - 1, k + 1) if 0 <= j < len(runs)]
        longer = max(beside, key=lambda j: runs[j][1] - runs[j][0])
        labels[runs[k][0] : runs[k][1]] = labels[runs[longer][0]]


def _merged(made: Sequence[Turn]) -> list[Turn]:
    """Turns of one speaker that touch are one."""
    merged: list[Turn] = []
    for turn in made:
        last = merged[-1] if merged else None
        if last and last.speaker == turn.speaker and turn.start - last.end < 1e-6:
            merged[-1] = last._replace(end=turn.end)
        else:
            merged.append(turn)
    return merged


def _numbered(made: Sequence[Turn]) -> list[Turn]:
    order = list(dict.fromkeys(turn.speaker for turn in made))
    return [turn._replace(speaker=order.index(turn.speaker)) for turn in made]


class VoiceEncoder:
    """Voice embeddings: unit vectors in 256 dimensions."""

    def __init__(self, file: Path) -> None:
        self._session = open_session(exported(file, RECIPE))

    def embed(self, pieces: Sequence[Floats]) -> Floats:
        """Unit vectors [n, 256] of pieces of 16 kHz sound, all of one length."""
        return np.asarray(self._session(spectrum(np.stack(pieces)))[0])


def spectrum(sound: Floats) -> Floats:
    """Power [n, frames, 201] of sounds [n, samples] in windows of 25 ms every 10 ms, each centred
    on its time; silence lies before and after."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)).astype(np.float32)
    padded = np.pad(sound, ((0, 0), (FFT // 2, FFT // 2)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT, axis=1)[:, ::HOP]
    waves = np.fft.rfft(frames * window, axis=-1)
    return np.asarray(waves.real**2 + waves.imag**2, np.float32)


def network(file: Path) -> Any:
    """The encoder in torch, from power as ``spectrum`` gives it to unit vectors [n, 256]."""
    import torch
    from librosa.filters import mel

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(MELS, 256, 3, batch_first=True)
            self.linear = torch.nn.Linear(256, 256)

        def forward(self, power: Any) -> Any:
            hidden = torch.relu(self.linear(self.lstm(power @ bands)[1][0][-1]))
            return torch.nn.functional.normalize(hidden, dim=1)

    bands = torch.from_numpy(mel(sr=16_000, n_fft=FFT, n_mels=MELS).T.copy())
    made = Network().eval()
    state = torch.load(file, map_location="cpu", weights_only=True)["model_state"]
    own = made.state_dict()
    made.load_state_dict({name: state[name] for name in own})
    return made


def export(checkpoint: Path, target: Path) -> None:
    """Make an ONNX file of the encoder; see ``network``."""
    import torch

    write(
        network(checkpoint),
        target,
        {"power": torch.zeros(2, 81, FFT // 2 + 1)},
        "voices",
        {"power": {0: "n", 1: "frames"}, "voices": {0: "n"}},
    )
