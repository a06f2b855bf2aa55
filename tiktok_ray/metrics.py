"""Metrics of Ray: they appear as ``ray_<name>`` wherever Ray's metrics are scraped.

``METRICS`` lists every one; of Ray's the dashboard in ``deploy/grafana`` draws no other. A process
reports through one ``Metrics``; without a connected Ray nothing is reported. Seconds are counted beside
their histograms: Ray fills a histogram's sum from the middles of its buckets (0.125 s came out as 0.225).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Listener = Callable[[str, Mapping[str, Any]], None]
#: Bounds of the histograms, in seconds.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0)


@dataclass(frozen=True)
class Metric:
    """One metric: ``name`` is without Ray's prefix ``ray_``."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    tags: tuple[str, ...] = ()


METRICS = (
    Metric("tiktok_ray_videos_total", "counter", "Videos that ended, by what became of them",
           ("status",)),
    Metric("tiktok_ray_video_seconds", "histogram", "From a file at hand to its report"),
    Metric("tiktok_ray_video_duration_seconds_total", "counter", "Length of the videos analyzed"),
    Metric("tiktok_ray_sections_total", "counter", "Sections of reports, by analyzer and status",
           ("analyzer", "status")),
    Metric("tiktok_ray_analyzer_seconds", "histogram", "One analyzer at work on one video",
           ("analyzer", "device")),
    Metric("tiktok_ray_queue_seconds", "histogram", "One analyzer waiting for its turn",
           ("analyzer",)),
    Metric("tiktok_ray_decode_seconds", "histogram", "Decoding one video"),
    Metric("tiktok_ray_fetched_bytes_total", "counter", "Bytes of links that were fetched"),
    Metric("tiktok_ray_media_bytes_total", "counter", "Bytes of the files that were analyzed"),
    Metric("tiktok_ray_cache_hits_total", "counter", "Outputs that were known already",
           ("analyzer",)),
    Metric("tiktok_ray_video_wall_seconds_total", "counter", "Seconds of videos, exactly"),
    Metric("tiktok_ray_analyzer_work_seconds_total", "counter", "Seconds at work, exactly",
           ("analyzer", "device")),
    Metric("tiktok_ray_queue_wait_seconds_total", "counter", "Seconds waiting, exactly",
           ("analyzer",)),
    Metric("tiktok_ray_decode_work_seconds_total", "counter", "Seconds of decoding, exactly"),
    Metric("tiktok_ray_in_flight", "gauge", "Videos at work now"),
    Metric("tiktok_ray_planned_vram_gib", "gauge", "Memory of a card planned, context included",
           ("analyzer",)),
    Metric("tiktok_ray_peak_vram_gib", "gauge", "Most memory of a card taken so far",
           ("analyzer",)),
    Metric("tiktok_ray_peak_ram_gib", "gauge", "Most memory of its process taken so far",
           ("analyzer",)),
)  # fmt: skip


class Metrics:
    """Reports what happens. Make it after Ray is connected."""

    def __init__(self) -> None:
        from ray.util import metrics

        self._made: dict[str, Any] = {}
        self._peaks: dict[tuple[str, str], float] = {}
        for m in METRICS:
            more: dict[str, Any] = {"description": m.about, "tag_keys": m.tags}
            if m.kind == "histogram":
                self._made[m.name] = metrics.Histogram(m.name, boundaries=list(SECONDS), **more)
            else:
                kind = metrics.Counter if m.kind == "counter" else metrics.Gauge
                self._made[m.name] = kind(m.name, **more)

    def heard(self, what: str, facts: Mapping[str, Any]) -> None:
        """Something happened in a batch: ``done`` (a report), ``failed``, ``fetched``, ``at work``."""
        if what == "done":
            self.report(facts)
        elif what == "failed":
            self._count("tiktok_ray_videos_total", 1, status=facts["type"])
        elif what == "fetched":
            self._count("tiktok_ray_fetched_bytes_total", facts["bytes"])
        elif what == "at work":
            self._made["tiktok_ray_in_flight"].set(facts["count"])

    def report(self, report: Mapping[str, Any]) -> None:
        """A video has its report (as JSON)."""
        run, video = report["run"], report["video"]
        self._count("tiktok_ray_videos_total", 1, status="done")
        self._count("tiktok_ray_video_duration_seconds_total", video["duration_s"])
        self._count("tiktok_ray_media_bytes_total", video["size_bytes"])
        self._took("tiktok_ray_video_seconds", "tiktok_ray_video_wall_seconds_total", run["wall_s"])
        self._took(
            "tiktok_ray_decode_seconds", "tiktok_ray_decode_work_seconds_total", run["decode_s"]
        )
        for name, section in report["analyzers"].items():
            self._section(name, section)
        for row in run["plan"]:
            self._peak("tiktok_ray_planned_vram_gib", row["analyzer"], row["vram_gib"])
        for name, taken in run["memory"].items():
            self._peak("tiktok_ray_peak_ram_gib", name, taken.get("peak_gib", 0.0))
            if "peak_vram_gib" in taken:
                self._peak("tiktok_ray_peak_vram_gib", name, taken["peak_vram_gib"])

    def _section(self, name: str, section: Mapping[str, Any]) -> None:
        self._count("tiktok_ray_sections_total", 1, analyzer=name, status=section["status"])
        if section.get("cached"):
            self._count("tiktok_ray_cache_hits_total", 1, analyzer=name)
        elif section.get("seconds"):
            self._took(
                "tiktok_ray_analyzer_seconds",
                "tiktok_ray_analyzer_work_seconds_total",
                section["seconds"],
                analyzer=name,
                device=section.get("device") or "",
            )
            self._took(
                "tiktok_ray_queue_seconds",
                "tiktok_ray_queue_wait_seconds_total",
                section.get("queued_s", 0.0),
                analyzer=name,
            )

    def _took(self, histogram: str, counter: str, seconds: float, **tags: str) -> None:
        self._made[histogram].observe(seconds, tags=tags)
        self._count(counter, seconds, **tags)

    def _count(self, metric: str, value: float, **tags: str) -> None:
        if value > 0:
            self._made[metric].inc(value, tags=tags)

    def _peak(self, metric: str, analyzer: str, value: float) -> None:
        peak = max(value, self._peaks.get((metric, analyzer), 0.0))
        self._peaks[metric, analyzer] = peak
        self._made[metric].set(peak, tags={"analyzer": analyzer})


def listener() -> Listener:
    """Reports what it hears to the Ray that is connected; without one it hears nothing."""
    made: list[Metrics] = []

    def heard(what: str, facts: Mapping[str, Any]) -> None:
        import ray

        if not made and ray.is_initialized():
            made.append(Metrics())
        for metrics in made:
            metrics.heard(what, facts)

    return heard
