"""Every setting, with its default. Environment variables ``TIKTOK_RAY_<NAME>`` override them.

Nested settings are joined by two underscores: ``TIKTOK_RAY_TRACKS__DENSE_FPS=5``.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class TrackSettings(BaseModel):
    """How a video is sampled. Sampling gets sparser on long videos, as the report's coverage states."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames_fps: float = Field(
        2.0, gt=0, description="Sampling rate of the `frames` track, in frames per second"
    )
    frames_short: int = Field(512, ge=16, description="Maximum short side of its frames, in pixels")
    frames_max: int = Field(180, ge=1, description="Maximum number of its frames")
    dense_fps: float = Field(
        10.0, gt=0, description="Sampling rate of the `dense` track, in frames per second"
    )
    dense_short: int = Field(320, ge=16, description="Maximum short side of its frames, in pixels")
    dense_max: int = Field(600, ge=1, description="Maximum number of its frames")
    thumbs_short: int = Field(64, ge=16, description="Maximum short side of `thumbs`, in pixels")
    thumbs_mib: int = Field(
        48, ge=1, description="Memory limit of `thumbs`, in MiB, met by smaller frames"
    )
    thumbs_max: int = Field(36_000, ge=1, description="Maximum number of `thumbs`")
    stills_max: int = Field(6, ge=1, description="Maximum number of `stills`")
    stills_mib: int = Field(
        128, ge=1, description="Memory limit of `stills`, in MiB, met by fewer stills"
    )


PREFIX = "TIKTOK_RAY_"
#: Variables with our prefix that are not settings: what sets up, tests and starts processes.
NO_SETTINGS = ("EXTRA", "VENV", "TEST_MEDIA", "FACTORY", "OWNER")


class UnknownSetting(Exception):
    """The environment contains variables that look like settings but are not."""


class Settings(BaseSettings):
    """All settings of tiktok_ray. Raises ``UnknownSetting`` and ``pydantic.ValidationError``."""

    model_config = SettingsConfigDict(
        env_prefix="TIKTOK_RAY_", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    models: Path = Field(
        default_factory=lambda: Path(platformdirs.user_cache_dir("tiktok_ray")) / "models",
        description="Folder with the model weights",
    )
    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("tiktok_ray")),
        description="Folder for results, jobs and generated clips",
    )
    workers: Literal["auto", "ray", "threads", "processes"] = Field(
        "auto",
        description="Where analyzers run: in Ray actors, in threads of one child process, in a child "
        "process each, or (auto) in threads for a single video on a machine without a GPU, where "
        "they start in half the time, and otherwise in Ray",
    )
    ray_address: str | None = Field(
        None,
        description="Address of the Ray cluster; None: `RAY_ADDRESS`, or else a local one is started",
    )
    decoder: Literal["pyav", "decord"] = Field("pyav", description="Video decoder")
    runtime: Literal["onnxruntime", "openvino"] = Field(
        "onnxruntime", description="Inference runtime for exported networks on the CPU"
    )
    video_stream: int | None = Field(
        None, description="Index of the video stream to analyze; None: the main one"
    )
    audio_stream: str | None = Field(
        None,
        description="Index or language of the audio stream; None: the first that is not silent",
    )
    tracks: TrackSettings = TrackSettings()
    cores: int = Field(
        default_factory=lambda: len(os.sched_getaffinity(0)),
        ge=1,
        description="CPU cores that analyzers may use together",
    )
    max_duration_s: float = Field(1200.0, gt=0, description="Longest video accepted, in seconds")
    max_bytes: int = Field(2 * 1024**3, gt=0, description="Largest file accepted, in bytes")
    max_pixels: int = Field(64_000_000, gt=0, description="Largest frame accepted, in pixels")
    decode_timeout_s: float = Field(180.0, gt=0, description="Timeout for decoding one video")
    timeout_factor: float = Field(
        1.0, gt=0, description="Factor applied to every analyzer's timeout"
    )
    load_timeout_s: float = Field(180.0, gt=0, description="Timeout for loading one analyzer")
    start_timeout_s: float = Field(120.0, gt=0, description="Timeout for placing one actor")
    node_timeout_s: float = Field(900.0, gt=0, description="Timeout for a cluster's first node")
    fetch_timeout_s: float = Field(120.0, gt=0, description="Timeout for fetching one video")
    fetch_silence_s: float = Field(15.0, gt=0, description="Timeout without data while fetching")
    object_store_gib: float = Field(2.0, gt=0, description="Size of Ray's object store, in GiB")
    vram_gib: float | None = Field(None, description="Plan for a GPU with this much memory, in GiB")
    host: str = Field("127.0.0.1", description="Address the service listens on")
    port: int = Field(8000, ge=1, le=65535, description="Port the service listens on")
    token: SecretStr | None = Field(
        None, description="Token that clients must send; required when listening beyond loopback"
    )
    in_flight: int = Field(4, ge=1, description="Videos the service analyzes at once")
    queue: int = Field(100, ge=0, description="Jobs that may be queued in addition")
    upload_timeout_s: float = Field(600.0, gt=0, description="Timeout for receiving one upload")
    upload_silence_s: float = Field(20.0, gt=0, description="Timeout without data within an upload")
    head_timeout_s: float = Field(
        20.0, ge=1, description="Timeout for the headers of a client's next request"
    )
    proxied_mib: int = Field(
        64, ge=1, description="Total size of concurrent uploads through Ray Serve's proxy, in MiB"
    )
    streams: int = Field(
        200,
        ge=1,
        description="Maximum number of concurrent event streams and requests waiting for a report",
    )
    disk_reserve_gib: float = Field(1.0, ge=0, description="Disk space the service leaves free")
    keep_days: float = Field(30.0, gt=0, description="Age at which results and jobs are removed")
    keep_gib: float = Field(
        20.0, gt=0, description="Total size of results; the oldest are removed beyond it"
    )
    keep_videos: bool = Field(True, description="Whether a result keeps its video for playback")
    cache_gib: float = Field(1.0, ge=0, description="Size of the output cache; 0 disables it")
    preload: bool = Field(True, description="Whether the service loads its models at startup")
    drain_s: float = Field(
        30.0, ge=0, description="How long an actor may stay busy after its owner died, in seconds"
    )
    decoder_gib: float = Field(4.0, gt=0, description="Memory limit for decoding one video")
    webhook_secret: SecretStr | None = Field(
        None, description="Secret that signs webhook deliveries; webhooks are off without it"
    )
    dashboard_port: int = Field(8265, ge=1, le=65535, description="Port of the Ray dashboard")
    batch_metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="Loopback port for a batch's metrics; 0: exported through Ray",
    )
    biometrics: bool = Field(True, description="Whether faces may be analyzed")
    private_addresses: bool = Field(
        False, description="Whether URLs may resolve to private, loopback or link-local addresses"
    )
    allowed_hosts: tuple[str, ...] | None = Field(
        None, description="Hosts that URLs may point to, including subdomains; None: any"
    )
    cookies_file: Path | None = Field(
        None, description="Cookie file for platforms, in Netscape format"
    )
    impersonate: str | None = Field(
        None, description="Browser to impersonate in requests to platforms, such as `chrome`"
    )
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Options by analyzer name"
    )

    def __init__(self, **given: Any) -> None:
        _refuse_unknown(os.environ)
        if unknown := [name for name in given if name not in type(self).model_fields]:
            raise UnknownSetting(_guess(unknown[0], type(self).model_fields))
        super().__init__(**given)


def ray_address(settings: Settings) -> str | None:
    """The address of the Ray cluster for the actors; None to start a local one."""
    return settings.ray_address or os.environ.get("RAY_ADDRESS") or None


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    tracks = (f"tracks__{name}" for name in TrackSettings.model_fields)
    known = [PREFIX + name.upper() for name in (*Settings.model_fields, *tracks)]
    fine = {*known, *(PREFIX + name for name in NO_SETTINGS)}
    for name in environment:
        upper = name.upper()
        # Options of analyzers are checked by their analyzers.
        ours = upper.startswith(PREFIX) and not upper.startswith(f"{PREFIX}OPTIONS__")
        if ours and upper not in fine:
            raise UnknownSetting(_guess(name, known))


def _guess(name: str, known: Collection[str]) -> str:
    """That there is no such setting, and the one that was probably meant."""
    near = difflib.get_close_matches(name.upper(), [k.upper() for k in known], 1, cutoff=0.0)
    written = near[0] if name.upper().startswith(PREFIX) else near[0].lower()
    return f"unknown setting {name}; did you mean {written}?"
