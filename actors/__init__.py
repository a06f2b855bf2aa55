"""The nineteen analyzers. ``import actors`` loads neither Ray nor a model library."""

from actors.age_estimation import AgeEstimation
from actors.audio_analysis import AudioAnalysis
from actors.audio_environment import AudioEnvironment
from actors.background_segmentation import BackgroundSegmentation
from actors.body_pose import BodyPose
from actors.camera_analysis import CameraAnalysis
from actors.color_analysis import ColorAnalysis
from actors.content_quality import ContentQuality
from actors.cross_analyzer_intelligence import CrossAnalyzerIntelligence
from actors.cut_analysis import CutAnalysis
from actors.eye_tracking import EyeTracking
from actors.object_detection import ObjectDetection
from actors.qwen2_vl_temporal import Qwen2VlTemporal
from actors.scene_segmentation import SceneSegmentation
from actors.speech_emotion import SpeechEmotion
from actors.speech_flow import SpeechFlow
from actors.speech_transcription import SpeechTranscription
from actors.temporal_flow import TemporalFlow
from actors.text_overlay import TextOverlay
from tiktok_ray.analyzer import Analyzer

#: Every analyzer that is built; the graph is read from their signatures.
ANALYZERS: tuple[type[Analyzer], ...] = (
    AgeEstimation,
    AudioAnalysis,
    AudioEnvironment,
    BackgroundSegmentation,
    BodyPose,
    CameraAnalysis,
    ColorAnalysis,
    ContentQuality,
    CrossAnalyzerIntelligence,
    CutAnalysis,
    EyeTracking,
    ObjectDetection,
    Qwen2VlTemporal,
    SceneSegmentation,
    SpeechEmotion,
    SpeechFlow,
    SpeechTranscription,
    TemporalFlow,
    TextOverlay,
)

#: The names of all; those without an analyzer are reported as not implemented.
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

UNBUILT = tuple(name for name in NAMES if name not in {a.name for a in ANALYZERS})
