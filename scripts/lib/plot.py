"""Plots as SVG."""

import math

COLOURS = ["#2a6f97", "#e07a1f", "#2a9d8f", "#8d4e85"]


def plot(title: str, across: str, up: str, curves: dict, bars: dict) -> str:
    """Curves over a logarithmic axis, and dashed lines for bars, as SVG."""
    width, height, left, right, top, bottom = 640, 320, 60, 180, 40, 45
    xs = sorted({x for points in curves.values() for x in points})
    most = 1.15 * max([y for points in curves.values() for y in points.values()] + list(bars.values()))
    low, high = math.log10(xs[0]), math.log10(xs[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        part = (math.log10(x) - low) / ((high - low) or 1)
        return left + part * (width - left - right), height - bottom - y / most * (height - top - bottom)

    def text(x: float, y: float, what: str, more: str = "") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{what}</text>\n'

    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="#222">\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
    )
    svg += text(left, 22, title, 'font-size="14"')
    step = 10 ** math.floor(math.log10(most))
    step *= next(part for part in (0.1, 0.2, 0.5, 1, 2) if most / (part * step) <= 8)
    for mark in (at * step for at in range(int(most / step) + 1)):
        _, y = place(xs[0], mark)
        svg += f'<line x1="{left}" y1="{y:.1f}" x2="{width - right}" y2="{y:.1f}" stroke="#ddd"/>\n'
        svg += text(left - 6, y + 4, f"{mark:g}", 'text-anchor="end" fill="#666"')
    for x in xs:
        svg += text(place(x, 0)[0], height - bottom + 16, f"{x:,.0f}".replace(",", " "), 'text-anchor="middle" fill="#666"')
    svg += text((left + width - right) / 2, height - 8, across, 'text-anchor="middle"')
    svg += text(8, top - 6, up, 'fill="#666"')
    for name, y in bars.items():
        _, at = place(xs[0], y)
        svg += f'<line x1="{left}" y1="{at:.1f}" x2="{width - right}" y2="{at:.1f}" stroke="#b00" stroke-dasharray="5 4"/>\n'
        svg += text(width - right + 6, at + 4, name, 'fill="#b00"')
    for at, (name, points) in enumerate(curves.items()):
        colour = COLOURS[at % len(COLOURS)]
        line = [place(x, y) for x, y in sorted(points.items())]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        svg += f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>\n'
        svg += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>\n' for x, y in line)
        svg += text(width - right + 24, top + 10 + 18 * at, name)
        svg += f'<rect x="{width - right + 8}" y="{top + 18 * at}" width="11" height="11" fill="{colour}"/>\n'
    return svg + "</svg>\n"
