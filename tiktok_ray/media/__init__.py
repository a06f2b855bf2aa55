"""Probe a video file and decode it once into the tracks that analyzers read.

Times are seconds from the first displayed frame, from the file's own timestamps, repaired where they
cannot be trusted. Frames are upright, with square pixels and SDR; they are stored as planar YUV
(I420, BT.601, limited range: half the bytes of RGB) and converted on access. Memory is bounded
regardless of duration: sampling gets sparser, and ``Coverage`` says so.

| module | decides |
|---|---|
| `container`, `headers`, `ending` | what is opened, whether it is complete, what its packets say, which streams are analyzed |
| `clock` | when each frame is shown |
| `picture`, `colour`, `interlace` | how it looks: rotation, crop, aspect ratio, canvas; matrix, range, HDR |
| `sampling` | which frames each track keeps |
| `sound`, `filters`, `speech` | timing, levels and mono mix of the sound; where there is speech |
| `texts` | subtitles and chapters |
| `decode`, `decord` | the single decoding pass |
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
