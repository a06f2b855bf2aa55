"""Probe a video file and decode it once into the tracks that analyzers read.

Times are seconds from the first displayed frame, from the file's own timestamps, put right where
they cannot be trusted. Pictures are upright, of square pixels and SDR; they are kept as planar YUV
(I420, BT.601, limited range: half the bytes of RGB) and converted on read. Memory is bounded
whatever the length: sampling thins out, and ``Coverage`` says so.

| module | decides |
|---|---|
| `container`, `headers`, `ending` | what is opened, whether it is whole, what its packets say, which streams are analyzed |
| `clock` | when each picture is shown |
| `picture`, `colour`, `interlace` | how it looks: turn, crop, aspect, canvas; matrix, range, HDR |
| `sampling` | which pictures each track keeps |
| `sound`, `filters`, `speech` | the sound's place, levels and mono; where somebody speaks |
| `texts` | subtitles and chapters |
| `decode`, `decord` | the one pass |
"""

from tiktok_ray.media.decode import (
    decode,
    decord_objections,
    frame_times,
    pictures_at,
    probe,
)
from tiktok_ray.media.facts import InputError, Video
from tiktok_ray.media.speech import detect_speech
from tiktok_ray.media.tracks import (
    AUDIO_RATE,
    LEVEL_STEP_S,
    TRACKS,
    Audio,
    Decoded,
    Frames,
    Levels,
    Speech,
)

__all__ = [
    "AUDIO_RATE",
    "LEVEL_STEP_S",
    "TRACKS",
    "Audio",
    "Decoded",
    "Frames",
    "InputError",
    "Levels",
    "Speech",
    "Video",
    "decode",
    "decord_objections",
    "detect_speech",
    "frame_times",
    "pictures_at",
    "probe",
]
