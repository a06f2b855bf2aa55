"""A complete, truthful JSON report on a short video.

Importing this package disables what model libraries do unasked: all telemetry and every lookup at a
model hub is switched off before any of those libraries can be imported. A user's own setting of the
same variable takes precedence.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
    "ULTRALYTICS_SAFE_LOAD": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray 2.60 posts one last report that says reporting is off.
    "RAY_USAGE_STATS_REPORT_URL": "http://127.0.0.1:9",
    # Ray 2.60 shows the card to actors that asked for none of it unless this is set.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # Ray prints a warning on stdout when more workers start than so many at a time.
    "RAY_worker_maximum_startup_concurrency": "8",
    "GLOG_minloglevel": "2",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)

if TYPE_CHECKING:
    from tiktok_ray.graph import GraphError as GraphError
    from tiktok_ray.library import Analyzed as Analyzed
    from tiktok_ray.library import aanalyze as aanalyze
    from tiktok_ray.library import analyze as analyze
    from tiktok_ray.library import analyze_many as analyze_many
    from tiktok_ray.library import asegments as asegments
    from tiktok_ray.library import segments as segments
    from tiktok_ray.media import InputError as InputError
    from tiktok_ray.reporting.reading import NoReport as NoReport
    from tiktok_ray.reporting.reading import Report as Report
    from tiktok_ray.run.engine import CapacityError as CapacityError
    from tiktok_ray.run.engine import Progress as Progress
    from tiktok_ray.settings import Settings as Settings

#: What there is to import from here, and the module that has it: imported when first asked for.
_PLACES = {
    "Analyzed": "library",
    "CapacityError": "run.engine",
    "GraphError": "graph",
    "InputError": "media",
    "NoReport": "reporting.reading",
    "Progress": "run.engine",
    "Report": "reporting.reading",
    "Settings": "settings",
    "aanalyze": "library",
    "analyze": "library",
    "analyze_many": "library",
    "asegments": "library",
    "segments": "library",
}

__all__ = [
    "Analyzed",
    "CapacityError",
    "GraphError",
    "InputError",
    "NoReport",
    "Progress",
    "Report",
    "Settings",
    "__version__",
    "aanalyze",
    "analyze",
    "analyze_many",
    "asegments",
    "segments",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
