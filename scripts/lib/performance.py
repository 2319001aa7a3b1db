"""Writes docs/performance.md and its plots from what the benches have measured: see scripts/bench.

    performance.py begin COMMAND...     the first line of a part's figures: what was run, where, and of which commit
    performance.py picks CRITERION      the picks that criterion has timed, as figures
    performance.py page DIRECTORY       DIRECTORY.md, and plots in DIRECTORY, from the figures of its *.jsonl

Figures are JSON objects, one a line, as tests/support/figures.rs writes them. None is typed by hand.
"""

import collections
import datetime
import json
import math
import os
import pathlib
import platform
import subprocess
import sys

from plot import plot

# The parts of scripts/bench, in the order of the page.
PARTS = (
    "balancer", "exits", "ways", "xds", "quality", "supervision", "crowd", "processes", "cluster", "instructions",
    "planner", "controller", "growth", "writes",
)  # fmt: skip

Figures = collections.namedtuple("Figures", "runs bars tables curves")


def read(directory: pathlib.Path) -> Figures:
    """Runs and bars in their order; tables: name -> rows; plots: name -> curve -> points."""
    figures = Figures({}, {}, collections.defaultdict(dict), collections.defaultdict(dict))
    for part in PARTS:
        path = directory / f"{part}.jsonl"
        if not path.exists():
            continue
        for line in path.read_text().splitlines():
            figure = json.loads(line)
            if "run" in figure:
                figures.runs[part] = figure["run"]
            elif "bar" in figure:
                figures.bars[figure["bar"]["name"]] = figure["bar"]
            elif "row" in figure:
                row = figure["row"]
                figures.tables[row["table"]][row["name"]] = row["cells"]
            else:
                point = figure["point"]
                figures.curves[point["plot"]].setdefault(point["curve"], {})[point["x"]] = point["y"]
    return figures


# Endpoints, and the most nanoseconds that `leastLoad` may take.
PICKS = {10: 300, 24: 300, 1_000: 300, 10_000: None, 100_000: 500}


def picks(criterion: pathlib.Path) -> list[dict]:
    """The figures of criterion's medians."""
    figures = []
    for size, most in PICKS.items():
        cells = []
        for policy, what in {"leastLoad": "leastLoad", "ordered": "DiscoverTopServices(1)"}.items():
            estimates = criterion / "pick" / policy / str(size) / "new" / "estimates.json"
            if not estimates.exists():
                continue
            nanos = json.loads(estimates.read_text())["median"]["point_estimate"]
            cells.append((f"`{what}`", nanos, "ns"))
            figures.append({"point": {"plot": "pick", "curve": what, "x": size, "y": nanos}})
            if policy == "leastLoad" and most:
                bar = {"name": f"a pick among {size}", "figure": nanos, "unit": "ns", "least": None, "most": most}
                figures.append({"bar": bar})
        figures.append({"row": {"table": "pick", "name": f"{size} endpoints", "cells": cells}})
    return figures


def run(command: list[str]) -> dict:
    """What is to be known of a run."""
    commit = said("git", "rev-parse", "--short", "HEAD")
    # The figures themselves change it all the while.
    if said("git", "status", "--porcelain", "--", ".", ":!docs/performance*", ":!docs/quality*") != "unknown":
        commit += " and changes"
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    return {"run": {"command": " ".join(command), "commit": commit, "date": today, "machine": machine()}}


def said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


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


def machine() -> str:
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
    (
        "Supervision",
        "From a crash until the same program runs again, restart delay 0, one after the other; and many programs under each\n"
        "alone. An agent of Quaestor leaves its programs running when it ends, and so has a process beside each, as runit has.",
        ["supervision", "crowd"],
        [],
    ),
    (
        "Instructions",
        "Of one call, as valgrind counts them. They are compared with the last ones whenever all tests are run.",
        ["instructions"],
        [],
    ),
    ("Planning", "What the leader computes, in memory.", ["planning"], []),
    ("A large cluster", "The real controller on a real etcd; the agents of 1 000 nodes with 50 instances each are simulated.", ["controller"], []),
    (
        "Growth",
        "From the write of a service until all of it is reported ready, by simulated agents that do at once what they are\n"
        "asked; the limit is writing as much without deciding anything. And agents that all lose their etcd at once.",
        ["growth", "back"],
        [],
    ),
    ("Writes", "What etcd is asked to store, by its own counters.", ["writes"], []),
]  # fmt: skip


def page(directory: pathlib.Path) -> None:
    figures = read(directory)
    missed = [bar["name"] for bar in figures.bars.values() if not holds(bar)]
    runs = collections.defaultdict(list)
    for part, it in figures.runs.items():
        runs[f"`{it['commit']}`, {it['date']}: {it['machine']}"].append(f"`{it['command']}`")
    text = (
        "# Performance\n\n"
        "Written by `scripts/bench`, which anyone can run; nothing here is typed by hand. What the figures mean, and what\n"
        "was tried where they fall short, is in [measured.md](measured.md).\n\n"
        + "\n".join(f"- {where}: {', '.join(commands)}" for where, commands in runs.items())
        + f"\n\n## Bars\n\n{len(figures.bars) - len(missed)} of {len(figures.bars)} hold.\n\n{table_of_bars(figures.bars)}"
    )
    for title, prose, tables, drawn in SECTIONS:
        tables = [name for name in tables if name in figures.tables]
        drawn = [given for given in drawn if given[0] in figures.curves]
        if not tables and not drawn:
            continue
        text += f"\n## {title}\n\n{prose}\n"
        for name in tables:
            text += f"\n{table(figures.tables[name])}"
        for name, caption, across, up, bars in drawn:
            (directory / f"{name}.svg").write_text(plot(caption, across, up, figures.curves[name], bars))
            text += f"\n![{caption}]({directory.name}/{name}.svg)\n"
    directory.with_suffix(".md").write_text(text)
    for name in missed:
        print(f"falls short: {name}")


def main() -> None:
    match sys.argv[1:]:
        case ["begin", *command]:
            print(json.dumps(run(command)))
        case ["picks", criterion]:
            for figure in picks(pathlib.Path(criterion)):
                print(json.dumps(figure))
        case ["page", directory]:
            page(pathlib.Path(directory))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
