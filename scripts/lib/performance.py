"""Writes docs/performance.md and its plots from what the benches have measured: see scripts/bench.

    performance.py FIGURES CRITERION DOCS MODE

FIGURES has a JSON object a line, as tests/support/figures.rs writes them; CRITERION is criterion's directory of
results. No figure is typed by hand.
"""

import collections
import json
import math
import os
import pathlib
import platform
import subprocess
import sys

Figures = collections.namedtuple("Figures", "bars tables curves")


def read(figures: pathlib.Path, criterion: pathlib.Path) -> Figures:
    """Bars in their order; tables: name -> rows; plots: name -> curve -> points."""
    bars, tables, curves = {}, collections.defaultdict(dict), collections.defaultdict(dict)
    for line in figures.read_text().splitlines():
        figure = json.loads(line)
        if "bar" in figure:
            bars[figure["bar"]["name"]] = figure["bar"]
        elif "row" in figure:
            row = figure["row"]
            tables[row["table"]][row["name"]] = row["cells"]
        else:
            point = figure["point"]
            curves[point["plot"]].setdefault(point["curve"], {})[point["x"]] = point["y"]
    for name, most in {"10": 300, "24": 300, "1000": 300, "10000": None, "100000": 500}.items():
        cells = []
        for policy, what in {"leastLoad": "`leastLoad`", "ordered": "`DiscoverTopServices(1)`"}.items():
            estimates = criterion / "pick" / policy / name / "new" / "estimates.json"
            if not estimates.exists():
                continue
            nanos = json.loads(estimates.read_text())["median"]["point_estimate"]
            cells.append((what, nanos, "ns"))
            if policy == "leastLoad":
                curves["pick"].setdefault("leastLoad", {})[float(name)] = nanos
                if most:
                    bar = {"name": f"a pick among {name}", "figure": nanos, "unit": "ns", "least": None, "most": most}
                    bars[bar["name"]] = bar
            else:
                curves["pick"].setdefault("DiscoverTopServices(1)", {})[float(name)] = nanos
        if cells:
            tables["pick"][f"{name} endpoints"] = cells
    return Figures(bars, tables, curves)


def number(figure: float) -> str:
    """Three digits that count, and none of an exponent."""
    if figure == 0 or not math.isfinite(figure):
        return "0" if figure == 0 else "-"
    digits = max(0, 2 - math.floor(math.log10(abs(figure))))
    return f"{figure:,.{min(digits, 4)}f}".replace(",", " ")


def cell(figure: float, unit: str) -> str:
    return f"{number(figure)} {unit}".strip()


def holds(bar: dict) -> bool:
    if bar["least"] is not None:
        return bar["figure"] >= bar["least"]
    return bar["figure"] <= bar["most"]


def table_of_bars(bars: dict) -> str:
    text = "| | measured | bar | |\n|---|---|---|---|\n"
    for bar in bars.values():
        wanted = f"≥ {number(bar['least'])}" if bar["least"] is not None else f"≤ {number(bar['most'])}"
        verdict = "holds" if holds(bar) else "**falls short**"
        text += f"| {bar['name']} | {cell(bar['figure'], bar['unit'])} | {wanted} | {verdict} |\n"
    return text


def table(rows: dict) -> str:
    columns = list(dict.fromkeys(name for cells in rows.values() for name, _, _ in cells))
    text = f"| | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}\n"
    for name, cells in rows.items():
        by = {column: cell(figure, unit) for column, figure, unit in cells}
        text += f"| {name} | {' | '.join(by.get(column, '') for column in columns)} |\n"
    return text


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


def machine() -> str:
    def said(*command: str) -> str:
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            return "unknown"

    processor = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return (
        f"{os.cpu_count()} processors ({processor[0] if processor else platform.machine()}), {memory >> 20} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}, {said('rustc', '--version').split(' (')[0]}, "
        f"{said(os.environ.get('ETCD', 'etcd'), '--version').replace('Version: ', '')}"
    )


# Title, what is to be known, tables, and plots: name, title, axes, dashed lines.
SECTIONS = [
    (
        "Picks in the view",
        "What a pick costs without gRPC, what else the view does, and what it weighs.",
        ["pick", "view"],
        [("pick", "Time of a pick", "endpoints", "ns", {"bar: 300 ns to 1 000": 300, "bar at 100 000": 500})],
    ),
    (
        "Picks over gRPC",
        "Clients and server in one process, taking turns with a server that answers the same bytes whatever it is asked.",
        [],
        [
            ("endpoints", "Pick beside an empty call, by endpoints", "endpoints", "ratio", {"throughput: bar": 0.9, "p99: bar": 1.15}),
            ("callers", "Pick beside an empty call, by callers, 1 000 endpoints", "callers", "ratio", {"throughput: bar": 0.9, "p99: bar": 1.15}),
        ],
    ),
    (
        "Out of the answers",
        "From the write of an exit until a balancer answers without it, beside a plain client's watch of the same key.",
        ["exits"],
        [],
    ),
    ("Peers", "The same request by other ways to find a worker.", ["ways"], []),
    ("Supervision", "From a crash until the same program runs again, restart delay 0, one after the other.", ["supervision"], []),
    ("Planning", "What the leader computes, in memory.", ["planning"], []),
    ("A large cluster", "The real controller on a real etcd; the agents of 1 000 nodes with 50 instances each are simulated.", ["controller"], []),
]  # fmt: skip


def main() -> int:
    source, criterion, docs, mode = sys.argv[1:]
    docs = pathlib.Path(docs)
    figures = read(pathlib.Path(source), pathlib.Path(criterion))
    missed = [bar["name"] for bar in figures.bars.values() if not holds(bar)]
    page = (
        "# Performance\n\n"
        f"Written by `scripts/bench{mode}`, which anyone can run; nothing here is typed by hand. What the figures mean, and\n"
        "what was tried where they fall short, is in [measured.md](measured.md).\n\n"
        f"Machine: {machine()}.\n\n## Bars\n\n"
        f"{len(figures.bars) - len(missed)} of {len(figures.bars)} hold.\n\n{table_of_bars(figures.bars)}"
    )
    plots = docs / "performance"
    for title, prose, tables, drawn in SECTIONS:
        tables = [name for name in tables if name in figures.tables]
        drawn = [given for given in drawn if given[0] in figures.curves]
        if not tables and not drawn:
            continue
        page += f"\n## {title}\n\n{prose}\n"
        for name in tables:
            page += f"\n{table(figures.tables[name])}"
        for name, caption, across, up, bars in drawn:
            plots.mkdir(exist_ok=True)
            (plots / f"{name}.svg").write_text(plot(caption, across, up, figures.curves[name], bars))
            page += f"\n![{caption}](performance/{name}.svg)\n"
    (docs / "performance.md").write_text(page)
    for name in missed:
        print(f"falls short: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
