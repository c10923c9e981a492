"""Small charts as inline SVG: scales, axes and marks, coloured by the page's CSS classes. No library, no script."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH: Final = 760.0
LEFT: Final = 64.0
RIGHT: Final = 132.0
TOP: Final = 14.0
BOTTOM: Final = 40.0


@dataclass(frozen=True)
class Scale:
    """Data to pixels, linear or logarithmic. `low` < `high` in data; `begin` and `end` are pixels."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.begin + (at - low) / (high - low) * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Round values within the scale."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def _linear_ticks(low: float, high: float, about: int = 5) -> list[float]:
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    for multiples in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        found = [m * 10.0**p for p in powers for m in multiples if low <= m * 10.0**p <= high]
        if len(found) >= 3:
            return found
    return found


@dataclass
class Chart:
    """Marks on a plane with a vertical axis on the left and room for labels on the right."""

    height: float
    y: Scale
    title: str
    marks: list[str] = field(default_factory=list)
    _labels: list[tuple[float, str, str]] = field(default_factory=list)

    def axis(self, show: Callable[[float], str]) -> None:
        """Grid lines with their values."""
        for tick in self.y.ticks():
            at = self.y(tick)
            self.marks.append(f'<line class="grid" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{at:.1f}" y2="{at:.1f}"/>')
            self.text(LEFT - 8, at + 4, show(tick), "tick", "end")

    def rule(self, value: float, label: str, kind: str) -> None:
        """A labelled horizontal line."""
        at = self.y(value)
        self.marks.append(
            f'<line class="rule {kind}" x1="{LEFT:g}" x2="{WIDTH - RIGHT:g}" y1="{at:.1f}" y2="{at:.1f}"/>'
        )
        self._labels.append((at, label, kind))

    def text(self, x: float, y: float, words: str, kind: str, anchor: str = "start") -> None:
        """Words at a place."""
        self.marks.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>')

    def dot(self, x: float, value: float, kind: str, tip: str, size: float = 5.5) -> None:
        """A filled circle."""
        self.marks.append(
            f'<circle class="dot {kind}" cx="{x:.1f}" cy="{self.y(value):.1f}" r="{size:g}">{_tip(tip)}</circle>'
        )

    def diamond(self, x: float, value: float, kind: str, tip: str) -> None:
        """A hollow diamond."""
        y, r = self.y(value), 6.0
        points = f"{x:.1f},{y - r:.1f} {x + r:.1f},{y:.1f} {x:.1f},{y + r:.1f} {x - r:.1f},{y:.1f}"
        self.marks.append(f'<polygon class="diamond {kind}" points="{points}">{_tip(tip)}</polygon>')

    def band(self, x: float, low: float, high: float, kind: str, tip: str, width: float = 12.0) -> None:
        """A vertical interval as a box."""
        top, bottom = self.y(high), self.y(low)
        self.rect(x - width / 2, top, width, max(bottom - top, 1.5), f"band {kind}", tip)

    def rect(self, x: float, y: float, width: float, height: float, kind: str, tip: str = "") -> None:
        """A box with round corners, in pixels."""
        self.marks.append(
            f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="3">'
            f"{_tip(tip)}</rect>"
        )

    def whisker(self, x: float, low: float, high: float, kind: str) -> None:
        """A vertical interval as a line."""
        self.marks.append(
            f'<line class="whisker {kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{self.y(high):.1f}" y2="{self.y(low):.1f}"/>'
        )

    def steps(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line that keeps its value until the next point."""
        path = ""
        for index, (x, value) in enumerate(points):
            path += f"M{x:.1f} {self.y(value):.1f}" if index == 0 else f"H{x:.1f}V{self.y(value):.1f}"
        self.marks.append(f'<path class="steps {kind}" d="{path}"/>')

    def svg(self) -> str:
        """The element. Labels of lines that lie close together are moved apart."""
        last = -math.inf
        for at, label, kind in sorted(self._labels):
            last = max(at + 4, last + 15)
            self.text(WIDTH - RIGHT + 8, last, label, f"label {kind}")
        body = "".join(self.marks)
        return (
            f'<svg viewBox="0 0 {WIDTH:g} {self.height:g}" role="img" aria-label="{escape(self.title, quote=True)}">'
            f"{body}</svg>"
        )


def _tip(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""


def positions(count: int) -> list[float]:
    """The middle of each of `count` equal columns, in pixels."""
    wide = (WIDTH - LEFT - RIGHT) / max(count, 1)
    return [LEFT + wide * (index + 0.5) for index in range(count)]
