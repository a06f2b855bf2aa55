"""Colours as a player shows them: every way of coding them becomes I420, BT.601, limited range.

Ordinary YUV goes through FFmpeg's scaler alone. What is of a high dynamic range or of a wide
gamut is linearised, mapped to SDR and coded again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiktok_ray.report import Color, Hdr

#: Diffuse white of HDR pictures in cd/m² (ITU-R BT.2408): it becomes the white of SDR.
WHITE_NITS = 203.0
#: Peak of HDR pictures that do not tell theirs, and of the display that HLG is meant for.
USUAL_PEAK_NITS = 1000.0
#: Up to this share of white, pictures stay as they are; what is brighter rolls off.
KNEE = 0.9

#: Names by ITU-T H.273.
PRIMARIES = {
    1: "BT.709", 4: "BT.470 M", 5: "BT.601 625", 6: "BT.601 525", 7: "SMPTE 240M", 8: "film",
    9: "BT.2020", 10: "XYZ", 11: "DCI-P3", 12: "Display P3", 22: "EBU 3213",
}  # fmt: skip
TRANSFERS = {
    1: "BT.709", 4: "gamma 2.2", 5: "gamma 2.8", 6: "BT.601", 7: "SMPTE 240M", 8: "linear",
    11: "xvYCC", 12: "BT.1361", 13: "sRGB", 14: "BT.2020", 15: "BT.2020", 16: "PQ", 17: "SMPTE 428",
    18: "HLG",
}  # fmt: skip
MATRICES = {
    0: "RGB", 1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 8: "YCgCo",
    9: "BT.2020", 10: "BT.2020 constant", 14: "ICtCp",
}  # fmt: skip
#: Those of them that the scaler knows.
SCALER = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}
UNSPECIFIED = 2

#: Chromaticities of red, green, blue of wide gamuts; all have (nearly) the white D65.
GAMUTS = {
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
LUMA_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)


@dataclass(frozen=True)
class Coding:
    """How the colours of a picture are coded; numbers of ITU-T H.273."""

    primaries: int
    transfer: int
    matrix: int
    full: bool
    rgb: bool
    alpha: bool
    guessed: bool
    peak_nits: float
    peak_from: str

    @classmethod
    def of(cls, frame: Any) -> Coding:
        """The coding of a frame. Where it does not name its matrix, that goes by its size.

        mpv's rule: https://mpv.io/manual/stable/#video-filters-format
        """
        name = frame.format.name
        rgb = frame.format.is_rgb or name in ("pal8", "gbrp") or name.startswith("gbr")
        matrix = int(frame.colorspace)
        guessed = not rgb and matrix == UNSPECIFIED
        if guessed:
            matrix = 1 if frame.width >= 1280 or frame.height > 576 else 6
        transfer = int(frame.color_trc)
        peak, said = _peak(frame, transfer) if transfer in (16, 18) else (WHITE_NITS, "")
        return cls(
            int(frame.color_primaries),
            transfer,
            0 if rgb else matrix,
            rgb or int(frame.color_range) == 2 or name.startswith("yuvj"),
            rgb,
            _has_alpha(name),
            guessed,
            peak,
            said,
        )

    @property
    def hdr(self) -> Hdr | None:
        """How pictures are mapped to SDR, where they are not SDR."""
        if not self._mapped:
            return None
        method = "primaries converted to BT.709, colours outside desaturated"
        if self.transfer in (16, 18):
            method = (
                f"white of {WHITE_NITS:.0f} cd/m² (ITU-R BT.2408) becomes white; above {KNEE:.0%} "
                f"of it highlights roll off to the peak, the hue kept; {method}"
            )
        transfer = {16: "PQ", 18: "HLG"}.get(self.transfer, "SDR")
        return Hdr(
            transfer=transfer,
            peak_nits=self.peak_nits,
            peak_from=self.peak_from or "white of SDR",
            method=method,
        )

    @property
    def color(self) -> Color:
        """The same in words."""
        matrix = MATRICES.get(self.matrix, str(self.matrix))
        return Color(
            primaries=PRIMARIES.get(self.primaries, "unspecified"),
            transfer=TRANSFERS.get(self.transfer, "unspecified"),
            matrix=f"{matrix} (guessed)" if self.guessed else matrix,
            range="full" if self.full else "limited",
        )

    @property
    def _mapped(self) -> bool:
        return self.transfer in (16, 18) or self.primaries in GAMUTS

    def i420(self, frame: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The stored picture at a size (even), uint8 [height * 3 / 2, width]."""
        if self._mapped:
            return self._sdr(frame, size)
        if self.alpha:
            return _i420_of(_over_black(_converted(frame, size, "rgba", self)))
        if self.rgb:
            return _converted(frame, size, "yuv420p", self)
        return self._yuv(frame, size)

    def _yuv(self, frame: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        width, height = size
        small = _scaler(size).reformat(
            frame,
            width=width,
            height=height,
            format="yuv420p",
            interpolation=Interpolation.AREA,
            threads=1,
        )
        matrix = Colorspace[SCALER.get(self.matrix, "ITU601")]
        # Converted when small: one step for both takes four times as long.
        if matrix != Colorspace.ITU601 or self.full:
            small = _scaler((*size, 0)).reformat(
                small,
                interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
                src_colorspace=matrix,
                dst_colorspace=Colorspace.ITU601,
                src_color_range=ColorRange.JPEG if self.full else frame.color_range,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
        planes: NDArray[np.uint8] = small.to_ndarray()
        return planes

    def _sdr(self, frame: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        codes = _converted(frame, size, "rgb48le", self)
        light = self._linear[codes >> 4]
        if self.transfer == 18:
            # The display's part of HLG (BT.2100, OOTF of gamma 1.2), over its peak of 1000.
            luma = np.maximum(light @ LUMA_2020, 1e-6)[..., None]
            light = light * luma**0.2 * (USUAL_PEAK_NITS / WHITE_NITS)
        light = light @ _to_709(self.primaries)
        light = _rolled_off(_inside(light), self.peak_nits / WHITE_NITS)
        codes8 = _SRGB[np.minimum(light * 4095 + 0.5, 4095).astype(np.uint16)]
        return _i420_of(codes8)

    @cached_property
    def _linear(self) -> NDArray[np.float32]:
        """Light of 4096 codes; 1.0 is the white of SDR (of HLG: scene light, 0..1)."""
        return _linear(self.transfer)


def _has_alpha(name: str) -> bool:
    return name in ("rgba", "bgra", "argb", "abgr", "pal8", "ya8", "ya16le", "ya16be") or (
        name.startswith(("yuva", "gbrap", "rgba64", "bgra64", "ayuv"))
    )


def _peak(frame: Any, transfer: int) -> tuple[float, str]:
    """The brightest of a frame's pictures in cd/m², and what says so."""
    if transfer == 18:
        return USUAL_PEAK_NITS, "the display that HLG is meant for"
    data = {d.type.name: d for d in frame.side_data}
    if "CONTENT_LIGHT_LEVEL" in data:
        most = float(np.frombuffer(data["CONTENT_LIGHT_LEVEL"], np.uint32, 1)[0])
        if 1 <= most <= 10_000:
            return most, "MaxCLL of the file"
    if "MASTERING_DISPLAY_METADATA" in data:
        # Six chromaticities, white, then the darkest and the brightest, each two integers.
        n = np.frombuffer(data["MASTERING_DISPLAY_METADATA"], np.int32, 20).astype(float)
        most = n[18] / n[19] if n[19] else 0.0
        if 1 <= most <= 10_000:
            return most, "the mastering display of the file"
    return USUAL_PEAK_NITS, "the usual peak; the file does not say"


@lru_cache(maxsize=8)
def _linear(transfer: int) -> NDArray[np.float32]:
    e = np.linspace(0, 1, 4096)
    if transfer == 16:
        m1, m2 = 2610 / 16384, 2523 / 32
        c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
        p = e ** (1 / m2)
        light = (np.maximum(p - c1, 0) / (c2 - c3 * p)) ** (1 / m1) * 10_000 / WHITE_NITS
    elif transfer == 18:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(e <= 0.5, e**2 / 3, (np.exp((e - c) / a) + b) / 12)
    elif transfer == 8:
        light = e
    else:
        # What analyzers read is taken for sRGB: SDR stays what it was.
        light = np.where(e <= 0.04045, e / 12.92, ((e + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def _srgb() -> NDArray[np.uint8]:
    """Codes of 4096 steps of light."""
    x = np.linspace(0, 1, 4096)
    e = np.where(x <= 0.0031308, x * 12.92, 1.055 * x ** (1 / 2.4) - 0.055)
    return np.round(255 * e).astype(np.uint8)


_SRGB = _srgb()


@lru_cache(maxsize=8)
def _to_709(primaries: int) -> NDArray[np.float32]:
    """Matrix (to be multiplied from the right) that brings linear light to BT.709."""
    if primaries not in GAMUTS:
        return np.eye(3, dtype=np.float32)
    made = np.linalg.inv(_to_xyz(BT709)) @ _to_xyz(GAMUTS[primaries])
    return np.ascontiguousarray(made.T, np.float32)


def _to_xyz(primaries: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Matrix from linear RGB of some primaries and the white D65 to CIE XYZ."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * np.linalg.solve(columns, white)


def _inside(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours outside of the gamut (a component below zero) desaturated until they are inside."""
    least = light.min(-1, keepdims=True)
    if (least >= 0).all():
        return light
    luma = np.maximum(light @ LUMA_709, 0)[..., None]
    share = np.where(least < 0, luma / np.maximum(luma - least, 1e-9), 1)
    inside: NDArray[np.float32] = np.maximum(luma + (light - luma) * share, 0)
    return inside


def _rolled_off(light: NDArray[np.float32], peak: float) -> NDArray[np.float32]:
    """Light of 0..peak brought to 0..1: as it is up to the knee, then ever less; the hue kept."""
    most = light.max(-1, keepdims=True)
    if peak <= 1:
        return np.asarray(light / np.maximum(most, 1), np.float32)
    over = np.maximum(most - KNEE, 0) / (1 - KNEE)
    end = (peak - KNEE) / (1 - KNEE)
    rolled = KNEE + (1 - KNEE) * over * (1 + over / end**2) / (1 + over)
    scale = np.where(most > KNEE, np.minimum(rolled, 1) / np.maximum(most, 1e-9), 1)
    return np.asarray(light * scale, np.float32)


def _over_black(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min(initial=255) == 255:
        return np.ascontiguousarray(rgba[..., :3])
    return ((rgba[..., :3] * alpha + 127) // 255).astype(np.uint8)


def _i420_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    import cv2

    result: NDArray[np.uint8] = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
    return result


def _converted(frame: Any, size: tuple[int, int], format: str, coding: Coding) -> NDArray[Any]:
    """A frame at a size and in a format; from YUV by its matrix and range."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    own: dict[str, Any] = {}
    if not coding.rgb:
        own = {
            "src_colorspace": Colorspace[SCALER.get(coding.matrix, "ITU601")],
            "src_color_range": ColorRange.JPEG if coding.full else ColorRange.MPEG,
        }
    if format == "yuv420p":
        own |= {"dst_colorspace": Colorspace.ITU601, "dst_color_range": ColorRange.MPEG}
    made = _scaler((*size, format)).reformat(
        frame,
        width=size[0],
        height=size[1],
        format=format,
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
        threads=1,
        **own,
    )
    array: NDArray[Any] = made.to_ndarray()
    return array


_scalers = threading.local()


def _scaler(key: tuple[Any, ...]) -> Any:
    """This thread's scaler for a purpose: a scaler keeps its set-up from frame to frame."""
    from av.video.reformatter import VideoReformatter

    kept = _scalers.__dict__.setdefault("by_key", {})
    if key not in kept:
        if len(kept) > 16:
            kept.clear()
        kept[key] = VideoReformatter()
    return kept[key]
