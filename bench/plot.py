"""Horizontal bars on a logarithmic scale, one panel for each measure, as an SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

WIDTH, LABEL, BAR, GAP, HEAD = 860, 190, 18, 8, 34
COLOURS = {"Midstream": "#1f6feb", "nginx": "#8b949e", "no gateway": "#c9d1d9"}
OTHER = "#d29922"


@dataclass(frozen=True)
class Panel:
    title: str
    bars: list[tuple[str, float | None]]


def _colour(label: str) -> str:
    return next((colour for name, colour in COLOURS.items() if label.startswith(name)), OTHER)


def _text(x: float, y: float, words: str, **attributes: str | float) -> str:
    extra = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{extra}>{escape(words)}</text>'


def number(value: float) -> str:
    """Three figures, or all whole ones."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _panel(panel: Panel, top: float) -> tuple[list[str], float]:
    bars = [(label, value) for label, value in panel.bars if value is not None and value > 0]
    if not bars:
        return [], top
    low = math.floor(math.log10(min(v for _, v in bars)) - 0.3)
    high = math.log10(max(v for _, v in bars))
    room = WIDTH - LABEL - 90
    parts = [_text(8, top + 20, panel.title, font_weight="bold")]
    y = top + HEAD
    for label, value in bars:
        length = room * (math.log10(value) - low) / max(high - low, 1e-9)
        parts.append(_text(LABEL - 8, y + BAR - 5, label, text_anchor="end"))
        parts.append(f'<rect x="{LABEL}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" fill="{_colour(label)}"/>')
        parts.append(_text(LABEL + length + 6, y + BAR - 5, number(value)))
        y += BAR + GAP
    return parts, y + GAP


def svg(panels: list[Panel], note: str) -> str:
    """A whole SVG document; panels without a value are left out."""
    parts: list[str] = []
    y = 8.0
    for panel in panels:
        drawn, y = _panel(panel, y)
        parts += drawn
    parts.append(_text(8, y + 16, f"{note}; logarithmic scales", fill="#57606a"))
    height = y + 28
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" '
        'font-family="sans-serif" font-size="13">'
    )
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>', *parts, "</svg>"]) + "\n"
