"""The nineteen analyzers, one a module. ``import actors`` loads none of them.

A worker's process so imports the one that it runs, and what that one leads to.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktok_ray.analyzer import Analyzer

    #: The class of each; the graph is read from their signatures.
    ANALYZERS: tuple[type[Analyzer], ...]

#: Their names, which are those of their modules too.
NAMES = (
    "qwen2_vl_temporal",
    "object_detection",
    "text_overlay",
    "speech_transcription",
    "body_pose",
    "background_segmentation",
    "camera_analysis",
    "scene_segmentation",
    "color_analysis",
    "content_quality",
    "cut_analysis",
    "age_estimation",
    "eye_tracking",
    "audio_analysis",
    "audio_environment",
    "speech_emotion",
    "speech_flow",
    "temporal_flow",
    "cross_analyzer_intelligence",
)


def __getattr__(name: str) -> "tuple[type[Analyzer], ...]":
    if name == "ANALYZERS":
        return tuple(_analyzer(module) for module in sorted(NAMES))
    raise AttributeError(name)


def _analyzer(name: str) -> "type[Analyzer]":
    """``cut_analysis`` is ``CutAnalysis`` in its module."""
    words = (word.capitalize() for word in name.split("_"))
    found: type[Analyzer] = getattr(import_module(f"actors.{name}"), "".join(words))
    return found
