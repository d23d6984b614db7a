"""Places the labels of points so that no label hides another, or a point.

It is the usual greedy search of cartography (J. Christensen, J. Marks, S. Shieber, "An Empirical
Study of Algorithms for Point-Feature Label Placement", 1995). Each label may go into boxes on rings
around its point. A box costs what it covers (labels and points much, lines less), its distance, and
what its leader line crosses. Labels are placed in turn, then each again with all others in place,
until nothing moves. The cheapest of several orders counts. A label that still hides something is
left out. Nothing is random: the same input has the same outcome.

Boxes are rows (x0, y0, x1, y1), y upwards, in pixels. Nothing is drawn here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Box = tuple[float, float, float, float]

_NUM_ANGLES: Final = 16
_RINGS: Final = (0.0, 0.5, 1.2, 2.0, 3.0, 4.2, 5.6, 7.2, 9.0, 12.0, 15.0, 19.0, 24.0)
"""Distances from the marker's edge, in heights of a line."""
_NEAR: Final = 2.5
"""In heights of a line: how far a label may be whose leader is not to cross the picture."""
_HIDES: Final = 1000.0
_CROSSES: Final = 80.0
_MOST_FOR_LINES: Final = 12.0
_MISTAKEN: Final = 6.0
_NUM_SWEEPS: Final = 8


@dataclass(frozen=True)
class Place:
    """A label's lower left corner, and where its leader begins: None for one beside its point."""

    x: float
    y: float
    leader: tuple[float, float] | None


def place_labels(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    bounds: Box,
    *,
    line_height: float,
    radius: float,
    others: Sequence[tuple[float, float]] = (),
    lines: Sequence[tuple[Box, float]] = (),
    num_far: int | None = None,
) -> list[Place | None]:
    """A place within `bounds` for the label of each point, the most important first.

    `sizes` are the labels' widths and heights, `radius` that of all markers, `others` are points
    without a label, `lines` thin boxes that are better not covered, and what each costs: 3 is as
    much as being a line's height further away. The first `num_far` labels may be far from their
    points, the others only a few lines; by default all may. None where there is no room.
    """
    centres = np.array([*points, *others], dtype=np.float64).reshape(-1, 2)
    markers = np.hstack([centres - radius, centres + radius])
    soft = np.array([(*box, cost) for box, cost in lines], dtype=np.float64).reshape(-1, 5)
    search = _Search(markers, soft, np.array(bounds, dtype=np.float64), line_height, radius)
    far = len(sizes) if num_far is None else num_far
    options = [search.options(i, size, is_far=i < far) for i, size in enumerate(sizes)]
    num = len(sizes)
    orders = [
        list(range(num)),
        list(range(num))[::-1],
        sorted(range(num), key=lambda i: points[i][0]),
        sorted(range(num), key=lambda i: -points[i][0]),
    ]
    _, chosen = min((_settle(options, order) for order in orders), key=lambda found: found[0])
    _leave_out_hiding(options, chosen)
    return [None if k is None else options[i].place(k) for i, k in enumerate(chosen)]


@dataclass(frozen=True)
class _Options:
    """The places tried for one label, and what each costs by itself, whatever the other labels.

    `starts` and `ends` are its leaders', (num_places, 2); `is_near` says where there is none.
    """

    boxes: Array
    starts: Array
    ends: Array
    is_near: NDArray[np.bool_]
    cost: Array
    hides: NDArray[np.bool_]

    def place(self, k: int) -> Place:
        leader = None if self.is_near[k] else (float(self.starts[k, 0]), float(self.starts[k, 1]))
        return Place(float(self.boxes[k, 0]), float(self.boxes[k, 1]), leader)


@dataclass(frozen=True)
class _Search:
    """What labels have to keep clear of, and how far out they may go."""

    markers: Array
    soft: Array
    bounds: Array
    line_height: float
    radius: float

    def options(self, i: int, size: tuple[float, float], *, is_far: bool = True) -> _Options:
        """All places for the label of the `i`-th point that lie within the bounds."""
        centre = (self.markers[i, :2] + self.markers[i, 2:]) / 2
        boxes, distances, liking = self._boxes_around(centre, size)
        inside = (boxes[:, :2] >= self.bounds[:2]).all(1) & (boxes[:, 2:] <= self.bounds[2:]).all(1)
        if not is_far:
            inside &= distances <= self.radius + _NEAR * self.line_height
        boxes, distances, liking = boxes[inside], distances[inside], liking[inside]
        starts = np.clip(centre, boxes[:, :2], boxes[:, 2:])
        ends = np.broadcast_to(centre, starts.shape)
        is_near = distances <= self.radius + 0.5 * self.line_height
        on_markers = _overlaps(boxes, self.markers).sum(1)
        others = np.delete(self.markers, i, axis=0)
        crossed = _crosses(starts, ends, others).sum(1)
        # A label that another point is as near to would be taken for that one's.
        mistaken = _gaps(boxes, others).min(1, initial=np.inf) < distances + 0.3 * self.line_height
        cost = (
            _HIDES * on_markers
            + np.minimum(_overlaps(boxes, self.soft[:, :4]) @ self.soft[:, 4], _MOST_FOR_LINES)
            + np.where(is_near, 0, 4 + _CROSSES * crossed)
            + np.where(mistaken, _MISTAKEN, 0)
            + 3 * distances / self.line_height
            + liking
        )
        return _Options(boxes, starts, ends, is_near, cost, on_markers > 0)

    def _boxes_around(self, centre: Array, size: tuple[float, float]) -> tuple[Array, Array, Array]:
        """Boxes of this size on all rings, their rings' radii, and how ill each place looks."""
        turn = np.arange(_NUM_ANGLES)
        # Right, then above and below it in turn, left last.
        order = np.where(turn % 2, (turn + 1) // 2, -turn // 2)
        angles = 2 * np.pi * order / _NUM_ANGLES
        across = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        # The box's centre moves along a rounded rectangle: beside it, above it, or off its corner.
        lean = np.clip(1.45 * across, -1, 1) * np.array(size) / 2
        outs = self.radius + (0.15 + np.array(_RINGS)) * self.line_height
        found = []
        for out in outs:
            middles = centre + lean + out * across
            found.append(np.hstack([middles - np.array(size) / 2, middles + np.array(size) / 2]))
        boxes = np.concatenate(found)
        return boxes, np.repeat(outs, _NUM_ANGLES), np.tile(0.1 * turn, len(_RINGS))


def _settle(options: list[_Options], order: list[int]) -> tuple[float, list[int | None]]:
    """Place the labels in this order, then again until nothing moves; the cost, and the places."""
    chosen: list[int | None] = [None] * len(options)
    total = 0.0
    for _ in range(_NUM_SWEEPS):
        before, total = list(chosen), 0.0
        for i in order:
            chosen[i] = None
            if len(options[i].boxes):
                costs = _costs(i, options, chosen)
                chosen[i] = int(np.argmin(costs))
                total += float(costs.min())
        if chosen == before:
            break
    return total, chosen


def _costs(i: int, options: list[_Options], chosen: list[int | None]) -> Array:
    """What each place of the `i`-th label costs, those of the others being chosen."""
    own = options[i]
    placed = [(options[j], k) for j, k in enumerate(chosen) if k is not None]
    cost = own.cost
    if placed:
        boxes = np.stack([other.boxes[k] for other, k in placed])
        cost = cost + _HIDES * _overlaps(own.boxes, boxes).sum(1)
        crossed = _crosses(own.starts, own.ends, boxes).sum(1)
        cost = cost + np.where(own.is_near, 0, _CROSSES * crossed)
    led = [(other, k) for other, k in placed if not other.is_near[k]]
    if led:
        starts = np.stack([other.starts[k] for other, k in led])
        ends = np.stack([other.ends[k] for other, k in led])
        cost = cost + _CROSSES * _crosses(starts, ends, own.boxes).sum(0)
        met = _meet(own.starts, own.ends, starts, ends).sum(1)
        cost = cost + np.where(own.is_near, 0, 0.5 * _CROSSES * met)
    return cost


def _leave_out_hiding(options: list[_Options], chosen: list[int | None]) -> None:
    """Drop labels, the least important first, until none hides a point or another label."""
    for i in reversed(range(len(chosen))):
        k = chosen[i]
        if k is None:
            continue
        boxes = [options[j].boxes[m] for j, m in enumerate(chosen) if m is not None and j != i]
        box = options[i].boxes[k][None]
        if options[i].hides[k] or (boxes and _overlaps(box, np.stack(boxes)).any()):
            chosen[i] = None


def _overlaps(boxes: Array, others: Array) -> NDArray[np.bool_]:
    """Which of (n, 4) boxes overlap which of (m, 4): (n, m)."""
    a, b = boxes[:, None], others[None]
    found: Any = ((a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])).all(-1)
    return found


def _gaps(boxes: Array, markers: Array) -> Array:
    """How far each of (n, 4) boxes is from the middle of each of (m, 4) markers: (n, m)."""
    middles = (markers[:, :2] + markers[:, 2:])[None] / 2
    away = np.clip(middles, boxes[:, None, :2], boxes[:, None, 2:]) - middles
    return np.hypot(away[..., 0], away[..., 1])


def _crosses(starts: Array, ends: Array, boxes: Array) -> NDArray[np.bool_]:
    """Which of n segments meet which of (m, 4) boxes: (n, m), by the slabs of the boxes' sides."""
    start, way = starts[:, None], (ends - starts)[:, None]
    way = np.where(np.abs(way) < 1e-9, 1e-9, way)
    a, b = (boxes[None, :, :2] - start) / way, (boxes[None, :, 2:] - start) / way
    enters, leaves = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    found: Any = np.maximum(enters, 0) < np.minimum(leaves, 1)
    return found


def _meet(starts: Array, ends: Array, other_starts: Array, other_ends: Array) -> NDArray[np.bool_]:
    """Which of n segments cross which of m: (n, m)."""
    a, b, c, d = starts[:, None], ends[:, None], other_starts[None], other_ends[None]

    def side(of: Array, first: Array, second: Array) -> Any:
        way, out = second - first, of - first
        return np.sign(way[..., 0] * out[..., 1] - way[..., 1] * out[..., 0])

    found: Any = (side(a, c, d) * side(b, c, d) < 0) & (side(c, a, b) * side(d, a, b) < 0)
    return found
