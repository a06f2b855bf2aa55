"""Metrics of video processing: one registry, fed by both the service and batches.

The service exposes it at ``GET /metrics``. A batch exports it through its Ray cluster, whose endpoints
show it as ``ray_<name>`` (``deploy/prometheus.yml`` strips that prefix), or serves it on its own port.
``deploy/grafana`` charts every metric.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

from tiktok_ray.report import Status, VideoReport

#: Bounds of the histograms, in seconds.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 60.0, 150.0)
#: What of a report is counted.
_COUNTED: dict[str, Any] = {
    "video": {"duration_s", "size_bytes"},
    "analyzers": {"__all__": {"status", "seconds", "queued_s", "device", "cached"}},
    "run": True,
}

# When a series began is of no use here, and would double their number.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """Counts the outcomes of videos.

    Series of the named ``analyzers`` are there from the start, at 0, as Prometheus advises: a rate
    over a series that first appears with its first failure misses that failure. ``devices`` say where
    those run of which that is known.
    """

    def __init__(
        self, analyzers: Iterable[str] = (), devices: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.registry = made = CollectorRegistry()
        self._videos = Counter(
            "tiktok_ray_videos", "Videos finished, by outcome", ["status"],
            registry=made,
        )  # fmt: skip
        self._video_s = Histogram(
            "tiktok_ray_video_seconds", "Seconds from the file being available to the report",
            buckets=SECONDS, registry=made,
        )  # fmt: skip
        self._duration_s = Counter(
            "tiktok_ray_video_duration_seconds",
            "Duration of the videos analyzed, in seconds",
            registry=made,
        )
        self._sections = Counter(
            "tiktok_ray_sections", "Report sections, by analyzer and status",
            ["analyzer", "status"], registry=made,
        )  # fmt: skip
        self._analyzer_s = Histogram(
            "tiktok_ray_analyzer_seconds", "Seconds of one analyzer working on one video",
            ["analyzer", "device"], buckets=SECONDS, registry=made,
        )  # fmt: skip
        self._queue_s = Histogram(
            "tiktok_ray_queue_seconds", "Seconds of one analyzer waiting in the queue", ["analyzer"],
            buckets=SECONDS, registry=made,
        )  # fmt: skip
        self._decode_s = Histogram(
            "tiktok_ray_decode_seconds",
            "Seconds of decoding one video",
            buckets=SECONDS,
            registry=made,
        )
        self._fetched = Counter(
            "tiktok_ray_fetched_bytes", "Bytes fetched from URLs", registry=made
        )
        self._media = Counter(
            "tiktok_ray_media_bytes", "Bytes of the files analyzed", registry=made
        )
        self._cache_hits = Counter(
            "tiktok_ray_cache_hits", "Cache hits of analyzer outputs", ["analyzer"], registry=made
        )
        self._in_flight = Gauge("tiktok_ray_in_flight", "Videos being analyzed now", registry=made)
        self._planned_vram = Gauge(
            "tiktok_ray_planned_vram_gib", "Planned GPU memory, CUDA context included",
            ["analyzer"], registry=made,
        )  # fmt: skip
        self._peak_vram = Gauge(
            "tiktok_ray_peak_vram_gib",
            "Peak GPU memory so far; 0 for an analyzer that ran without a GPU",
            ["analyzer"], registry=made,
        )  # fmt: skip
        self._peak_ram = Gauge(
            "tiktok_ray_peak_ram_gib", "Peak memory of its process so far", ["analyzer"],
            registry=made,
        )  # fmt: skip
        self._peaks: dict[tuple[Gauge, str], float] = {}
        for status in ("done", "internal"):
            self._videos.labels(status)
        for name in analyzers:
            self._cache_hits.labels(name)
            self._queue_s.labels(name)
            for status in get_args(Status):
                self._sections.labels(name, status)
        for name, device in devices.items():
            self._analyzer_s.labels(name, device)

    def fetched(self, size: int) -> None:
        """Record a fetched URL of so many bytes."""
        self._fetched.inc(size)

    def at_work(self, count: int) -> None:
        """Record the number of videos being analyzed now."""
        self._in_flight.set(count)

    def failed(self, type: str) -> None:
        """Record a video that ended without a report; ``type`` is that of its problem."""
        self._videos.labels(type).inc()

    def analyzed(self, report: VideoReport | Mapping[str, Any]) -> None:
        """Record a video with its report, which may also be JSON."""
        if isinstance(report, VideoReport):
            report = report.model_dump(mode="json", include=_COUNTED)
        run, video = report["run"], report["video"]
        self._videos.labels("done").inc()
        self._duration_s.inc(video["duration_s"])
        self._media.inc(video["size_bytes"])
        self._video_s.observe(run["wall_s"])
        self._decode_s.observe(run["decode_s"])
        for name, section in report["analyzers"].items():
            self._section(name, section)
        for row in run["plan"]:
            self._peak(self._planned_vram, row["analyzer"], row["vram_gib"])
            if row["device"] == "cpu":
                self._peak(self._peak_vram, row["analyzer"], 0.0)
        for name, taken in run["memory"].items():
            self._peak(self._peak_ram, name, taken.get("peak_gib", 0.0))
            if (on_card := taken.get("peak_vram_gib")) is not None:
                self._peak(self._peak_vram, name, on_card)

    def _section(self, name: str, section: Mapping[str, Any]) -> None:
        self._sections.labels(name, section["status"]).inc()
        hits = self._cache_hits.labels(name)
        if section.get("cached"):
            hits.inc()
        elif seconds := section.get("seconds"):
            self._analyzer_s.labels(name, section.get("device") or "").observe(seconds)
            self._queue_s.labels(name).observe(section.get("queued_s") or 0.0)

    def _peak(self, gauge: Gauge, analyzer: str, value: float) -> None:
        peak = max(value, self._peaks.get((gauge, analyzer), 0.0))
        self._peaks[gauge, analyzer] = peak
        gauge.labels(analyzer).set(peak)


class RayMirror:
    """Exports a registry through the connected Ray cluster, if any.

    Every sample becomes a gauge of Ray, counts too: Ray's counters cannot begin at 0, and its
    histograms make up their sums from the middles of their buckets (0.125 s came out as 0.225).
    Ray forgets a gauge that is not set for two of its intervals, 20 s: call ``update`` more often.
    """

    def __init__(self, registry: Collector) -> None:
        self._registry = registry
        self._gauges: dict[str, Any] = {}

    def update(self) -> None:
        """Send the current values to Ray."""
        import ray

        if not ray.is_initialized():
            return
        from ray.util import metrics

        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name not in self._gauges:
                    tags = tuple(sorted(sample.labels))
                    self._gauges[sample.name] = metrics.Gauge(
                        sample.name, description=family.documentation, tag_keys=tags
                    )
                self._gauges[sample.name].set(sample.value, tags=dict(sample.labels))


@contextlib.contextmanager
def served(registry: Collector, port: int) -> Iterator[None]:
    """Serve a registry on that port of loopback while the block runs. Raises ``OSError``."""
    server, thread = prometheus_client.start_http_server(port, "127.0.0.1", registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
