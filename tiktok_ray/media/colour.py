"""Colours as a player shows them: every encoding becomes I420, BT.601, limited range.

Ordinary YUV only goes through FFmpeg's scaler. HDR, primaries other than BT.709's, and transfer
functions not used for video are linearised, mapped to SDR and encoded again.
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
    9: "log 100:1", 10: "log 316:1", 11: "xvYCC", 12: "BT.1361", 13: "sRGB", 14: "BT.2020", 15: "BT.2020", 16: "PQ", 17: "SMPTE 428",
    18: "HLG",
}  # fmt: skip
MATRICES = {
    0: "RGB", 1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 8: "YCgCo",
    9: "BT.2020", 10: "BT.2020 constant", 14: "ICtCp",
}  # fmt: skip
#: Those of them that the scaler knows.
SCALER = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020"}
UNSPECIFIED = (0, 2, 3)
CONVERTED = "out-of-gamut colours desaturated"

#: Chromaticities of red, green, blue and white of gamuts other than BT.709's (ITU-T H.273).
D65, C = (0.3127, 0.3290), (0.310, 0.316)
GAMUTS = {
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), D65),
}
#: Those of them that are no wider than BT.709 by more than a trifle.
NARROW = (5, 6, 7, 22)
BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), D65)
#: Transfers of HDR, and those of SDR that players do not show as they show video's.
PQ, HLG = 16, 18
UNLIKE_VIDEO = (5, 8, 9, 10, 17)
#: Matrices that the scaler does not know and we do: YCgCo and ICtCp (BT.2100, of PQ).
YCGCO, ICTCP = 8, 14
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
LUMA_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
#: To R'G'B' from Y, Cg, Co, and to L'M'S' from I, Ct, Cp (to be multiplied from the right).
FROM_YCGCO = np.array([[1, 1, 1], [-1, 1, -1], [1, 0, -1]], np.float32)
FROM_ICTCP = np.linalg.inv(
    np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
).T.astype(np.float32)
#: To linear R, G, B of BT.2020 from linear L, M, S (BT.2100).
FROM_LMS = np.linalg.inv(
    np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
).T.astype(np.float32)
#: A Dolby Vision profile's compatibility of its base layer that says: with nothing.
INCOMPATIBLE = 0


@dataclass(frozen=True)
class Coding:
    """How the colours of a frame are encoded; code points of ITU-T H.273.

    ``primaries`` and ``transfer`` are as stated by the file. ``unreadable`` says why the colours cannot
    be decoded, in which case the frames are grey.
    """

    primaries: int
    transfer: int
    matrix: int
    full: bool
    rgb: bool
    alpha: bool
    guessed: bool
    peak_nits: float
    peak_from: str
    unreadable: str | None = None

    @classmethod
    def of(
        cls,
        frame: Any,
        upright: tuple[float, float] | None = None,
        dolby: tuple[int, int] | None = None,
    ) -> Coding:
        """The coding of a frame.

        Where it does not name its matrix, that goes by ``upright``, the width and height of its
        pixels when it is turned upright. ``dolby`` are the profile of Dolby Vision and the number
        of what its base layer is compatible with, by the file's header.
        """
        name = frame.format.name
        rgb = frame.format.is_rgb or name in ("pal8", "gbrp") or name.startswith("gbr")
        matrix = int(frame.colorspace)
        guessed = not rgb and matrix in UNSPECIFIED
        if guessed:
            matrix = _matrix_by_size(*(upright or (frame.width, frame.height)))
        transfer = int(frame.color_trc)
        dolby = dolby or _dolby_by_frame(frame)
        unreadable = None
        if dolby and dolby[1] == INCOMPATIBLE:
            transfer = PQ
            unreadable = (
                f"Dolby Vision profile {dolby[0]} (IPT-PQ-c2) has no backward-compatible base layer, "
                "and its own colours are not supported"
            )
        elif not rgb and matrix not in SCALER and not _is_ours(matrix, transfer):
            unreadable = f"the matrix {MATRICES.get(matrix, matrix)} is not supported"
        peak, said = _peak(frame, transfer) if transfer in (PQ, HLG) else (WHITE_NITS, "")
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
            unreadable,
        )

    @property
    def gamut(self) -> int:
        """The primaries. Where the file does not say: BT.2020's with HDR or its matrix, else BT.709's.

        So mpv does: of what is not tagged, BT.709 is nearest to all that it may be.
        """
        if self.primaries not in UNSPECIFIED:
            return self.primaries
        return 9 if self.transfer in (PQ, HLG) or self.matrix in (9, 10, ICTCP) else 1

    @property
    def hdr(self) -> Hdr | None:
        """How HDR or wide-gamut frames are mapped to SDR."""
        wide = self.gamut in GAMUTS and self.gamut not in NARROW
        if self.transfer not in (PQ, HLG) and not wide:
            return None
        method = f"primaries converted to BT.709 ({CONVERTED})"
        if self.unreadable:
            method = "grey, from the intensity of the base layer only"
        if self.transfer in (PQ, HLG):
            method = (
                f"white of {WHITE_NITS:.0f} cd/m² (ITU-R BT.2408) becomes white; above {KNEE:.0%} "
                f"of it highlights roll off to the peak, with the hue preserved; {method}"
            )
        return Hdr(
            transfer={PQ: "PQ", HLG: "HLG"}.get(self.transfer, "SDR"),
            peak_nits=self.peak_nits,
            peak_from=self.peak_from or "SDR white",
            method=method,
        )

    @property
    def color(self) -> Color:
        """The same in words."""
        matrix = MATRICES.get(self.matrix, str(self.matrix))
        changed = []
        if self.gamut in GAMUTS:
            changed.append(f"primaries of {PRIMARIES[self.gamut]} to BT.709 ({CONVERTED})")
        if self.transfer in (PQ, HLG, *UNLIKE_VIDEO):
            changed.append(f"transfer of {TRANSFERS[self.transfer]} to SDR")
        return Color(
            primaries=PRIMARIES.get(self.primaries, "unspecified"),
            transfer=TRANSFERS.get(self.transfer, "unspecified"),
            matrix=f"{matrix} (guessed)" if self.guessed else matrix,
            range="full" if self.full else "limited",
            converted="; ".join(changed) if changed and not self.unreadable else None,
            unreadable=self.unreadable,
        )

    @property
    def _mapped(self) -> bool:
        return bool(
            self.transfer in (PQ, HLG, *UNLIKE_VIDEO)
            or self.gamut in GAMUTS
            or self._is_ours
            or self.unreadable
        )

    @property
    def _is_ours(self) -> bool:
        return _is_ours(self.matrix, self.transfer)

    def i420(self, frame: Any, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The stored frame at an (even) size, uint8 [height * 3 / 2, width]."""
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
        light = self._linear[self._codes(frame, size)]
        if self.matrix == ICTCP and not self.unreadable:
            light = light @ FROM_LMS
        if self.transfer == HLG:
            # The display's part of HLG (BT.2100, OOTF of gamma 1.2), over its peak of 1000.
            luma = np.maximum(light @ LUMA_2020, 1e-6)[..., None]
            light = light * luma**0.2 * (USUAL_PEAK_NITS / WHITE_NITS)
        if not self.unreadable:
            light = _inside(light @ _to_709(self.gamut))
        light = _rolled_off(light, self.peak_nits / WHITE_NITS)
        codes8 = _SRGB[np.minimum(light * 4095 + 0.5, 4095).astype(np.uint16)]
        return _i420_of(codes8)

    def _codes(self, frame: Any, size: tuple[int, int]) -> NDArray[np.uint16]:
        """Red, green and blue before linearisation, 0..4095, uint16 [height, width, 3]."""
        if not self._is_ours and not self.unreadable:
            if self.alpha:
                rgb = _over_black(_converted(frame, size, "rgba", self)).astype(np.uint32)
                return np.asarray((rgb * 4095 + 127) // 255, np.uint16)
            return np.asarray(_converted(frame, size, "rgb48le", self) >> 4, np.uint16)
        planes = _planes(frame, size, full=self.full)
        if self.unreadable:
            made = np.repeat(planes[..., :1], 3, axis=-1)
        else:
            made = planes @ (FROM_YCGCO if self.matrix == YCGCO else FROM_ICTCP)
        return np.asarray(np.clip(made, 0, 1) * 4095 + 0.5, np.uint16)

    @cached_property
    def _linear(self) -> NDArray[np.float32]:
        """Light of 4096 codes; 1.0 is the white of SDR (of HLG: scene light, 0..1)."""
        return _linear(self.transfer)


def _matrix_by_size(width: float, height: float) -> int:
    """The matrix of pictures that do not name theirs: BT.709 for HD, BT.601 for SD.

    mpv's rule (BT.709 from 1280 wide or over 576 high on), by the upright picture, so that it does
    not matter how the camera was held; but what is SD when turned by a quarter is SD, as for
    Android: https://mpv.io/manual/stable/#video-filters-format
    """
    if max(width, height) <= 720 and min(width, height) <= 576:
        return 6
    return 1 if width >= 1280 or height > 576 else 6


def _is_ours(matrix: int, transfer: int) -> bool:
    return matrix == YCGCO or (matrix == ICTCP and transfer == PQ)


def _dolby_by_frame(frame: Any) -> tuple[int, int] | None:
    """Profile 5 of Dolby Vision, where the metadata of a frame says so and no header does.

    FFmpeg's `AVDOVIMetadata` begins with the offset of `AVDOVIRpuDataHeader`; profile 5 is the one
    whose pictures have profile 0 of these and the full range (libdovi's rule).
    """
    data = next((d for d in frame.side_data if d.type.name == "DOVI_METADATA"), None)
    return None if data is None else _dolby_profile(bytes(data))


def _dolby_profile(metadata: bytes) -> tuple[int, int] | None:
    header = metadata[int.from_bytes(metadata[:8], "little") :][:11]
    if len(header) < 11:
        return None
    profile, full = header[4], header[10]
    return (5, INCOMPATIBLE) if profile == 0 and full else None


def _has_alpha(name: str) -> bool:
    return name in ("rgba", "bgra", "argb", "abgr", "pal8", "ya8", "ya16le", "ya16be") or (
        name.startswith(("yuva", "gbrap", "rgba64", "bgra64", "ayuv"))
    )


def _peak(frame: Any, transfer: int) -> tuple[float, str]:
    """The brightest of a frame's pictures in cd/m², and what says so."""
    if transfer == 18:
        return USUAL_PEAK_NITS, "HLG's nominal display"
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
    return USUAL_PEAK_NITS, "a common peak; the file does not state one"


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
    elif transfer == 5:
        light = e**2.8
    elif transfer in (9, 10):
        light = np.where(e > 0, 10 ** ((e - 1) * (2.0 if transfer == 9 else 2.5)), 0.0)
    elif transfer == 17:
        light = np.minimum(52.37 / 48 * e**2.6, 1.0)
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
    """Matrix (to be multiplied from the right) that brings linear light to BT.709, white to white."""
    if primaries not in GAMUTS:
        return np.eye(3, dtype=np.float32)
    gamut = GAMUTS[primaries]
    made = np.linalg.inv(_to_xyz(BT709)) @ _adapted(gamut[3], D65) @ _to_xyz(gamut)
    return np.ascontiguousarray(made.T, np.float32)


def _xyz(point: tuple[float, float]) -> NDArray[np.float64]:
    x, y = point
    return np.array([x / y, 1, (1 - x - y) / y])


def _to_xyz(gamut: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Matrix from linear RGB of some primaries and white to CIE XYZ."""
    columns = np.stack([_xyz(point) for point in gamut[:3]], axis=1)
    return np.asarray(columns * np.linalg.solve(columns, _xyz(gamut[3])))


def _adapted(white: tuple[float, float], to: tuple[float, float]) -> NDArray[np.float64]:
    """Matrix of CIE XYZ that makes one white of another (Bradford)."""
    cones = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    gains = (cones @ _xyz(to)) / (cones @ _xyz(white))
    return np.asarray(np.linalg.inv(cones) @ np.diag(gains) @ cones)


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


def _planes(frame: Any, size: tuple[int, int], *, full: bool) -> NDArray[np.float32]:
    """The three components of YUV as they are, at a size, float32 [height, width, 3].

    The first is 0..1, the others -0.5..0.5.
    """
    from av.video.reformatter import Interpolation

    frame.colorspace = 6  # the scaler refuses matrices that it does not know, even to leave them
    made = _scaler((*size, "yuv444p16le")).reformat(
        frame,
        width=size[0],
        height=size[1],
        format="yuv444p16le",
        interpolation=Interpolation.AREA | Interpolation.ACCURATE_RND,
        threads=1,
    )
    zero, reach = ((0, 128, 128), (65535 / 256,) * 3) if full else ((16, 128, 128), (219, 224, 224))
    codes = made.to_ndarray().astype(np.float32) / 256
    return np.asarray((codes - np.array(zero, np.float32)) / np.array(reach, np.float32))


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
