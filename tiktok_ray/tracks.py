"""Association of boxes over time, for every analyzer that follows something.

Boxes are normalised ``[x0, y0, x1, y1]``, each 0..1 of the displayed picture.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of every box in ``a`` [n, 4] with every box in ``b`` [m, 4]: [n, m]."""
    a, b = np.asarray(a, float).reshape(-1, 4), np.asarray(b, float).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = np.clip(high - low, 0, None).prod(-1)
    union = area(a)[:, None] + area(b)[None, :] - inter
    result: NDArray[np.float64] = np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)
    return result


def area(boxes: Boxes) -> NDArray[np.float64]:
    """Areas [n] of boxes [n, 4] as a share of the picture."""
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    result: NDArray[np.float64] = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
    return result


@dataclass
class Followed:
    """One thing followed over time: indices into the samples and into each sample's boxes."""

    samples: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)


Affinity = Callable[[tuple[int, int], tuple[int, int]], float]


def follow(
    times: Sequence[float],
    boxes: Sequence[Boxes],
    *,
    gap_s: float,
    iou_min: float = 0.3,
    breaks: Sequence[float] = (),
    affinity: Affinity | None = None,
) -> list[Followed]:
    """Join boxes of successive samples into tracks.

    One optimal assignment per sample (Hungarian method) on IoU with each live track's last box;
    ``affinity((sample, item), (sample, item))``, 0..1, is added to the IoU where it is given, and
    ``iou_min`` is the least sum that joins. A track lives on for ``gap_s`` seconds without a box,
    and ends at each time in ``breaks`` (cuts). Returned in order of first appearance.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    done: list[Followed] = []
    live: list[Followed] = []
    edges = sorted(breaks)
    for sample, (t, found) in enumerate(zip(times, boxes, strict=True)):
        kept: list[Followed] = []
        for track in live:
            last = times[track.samples[-1]]
            cut = any(last < edge <= t + 1e-6 for edge in edges)
            (done if cut or t - last > gap_s + 1e-6 else kept).append(track)
        live = kept
        found = np.asarray(found, float).reshape(-1, 4)
        free = set(range(len(found)))
        if live and len(found):
            last_boxes = np.array([boxes[k.samples[-1]][k.items[-1]] for k in live])
            score = iou(last_boxes, found)
            if affinity:
                for i, track in enumerate(live):
                    for j in range(len(found)):
                        score[i, j] += affinity((track.samples[-1], track.items[-1]), (sample, j))
            for i, j in zip(*linear_sum_assignment(-score), strict=True):
                if score[i, j] >= iou_min:
                    live[i].samples.append(sample)
                    live[i].items.append(int(j))
                    free.discard(int(j))
        live += [Followed([sample], [j]) for j in sorted(free)]
    return sorted(done + live, key=lambda track: (track.samples[0], track.items[0]))
