"""Horizontal bars as SVG, one panel below the other, in colours that are told apart in light and in dark."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

_WIDTH = 640
_LABEL = 110
_BAR = 16
_STEP = 22
_OURS, _OTHERS = "#2f7d5b", "#9aa5b1"

_STYLE = "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600}@media(prefers-color-scheme:dark){text{fill:#ddd}}"


def draw(panels: Mapping[str, Mapping[str, float]]) -> str:
    """Panels by title, each with values by label; the longest bar of a panel is as wide as there is room."""
    parts: list[str] = []
    top = 8
    for title, values in panels.items():
        parts.append(f'<text class="title" x="0" y="{top + 12}">{escape(title)}</text>')
        top += 20
        largest = max(values.values(), default=1.0)
        for label, value in sorted(values.items(), key=lambda item: -item[1]):
            width = max(1.0, value / largest * (_WIDTH - _LABEL - 80))
            color = _OURS if label == "drivetrain" else _OTHERS
            parts.append(f'<text x="{_LABEL - 8}" y="{top + 12}" text-anchor="end">{escape(label)}</text>')
            parts.append(f'<rect x="{_LABEL}" y="{top}" width="{width:.1f}" height="{_BAR}" fill="{color}"/>')
            parts.append(f'<text x="{_LABEL + width + 6:.1f}" y="{top + 12}">{value:,.0f}</text>')
            top += _STEP
        top += 14
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" role="img" aria-label="Throughput by system">\n'
        f"<style>{_STYLE}</style>\n{body}\n</svg>\n"
    )
