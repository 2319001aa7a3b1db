"""Quaestor beside other supervisors: see scripts/bench-supervision.

    supervision.py crashes N    N crashes of one program under each: how long until it runs again
    supervision.py crowd N      N programs under one after the other: their start, and what the supervisor costs idle

In `crashes` all run at the same time, and one program is crashed after the other, only once the one before runs again.
Nothing is in the figures that a supervisor does not do.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import time

from supervisors import NEEDS, SUPERVISORS, Gone, Supervisor

# Supervisors that take a shorter life for a failed start are not to see one; runit's is a second.
LIFE = 1.2

# Those that Quaestor is to be ahead of: all that restart by looking from time to time, and pm2.
SLOWER = ("pm2", "circus", "supervisord", "monit")

# Seconds that a crowd has to come to rest, and for which its supervisor is then watched.
SETTLE, WATCH = 10, 20


def crash(it: Supervisor) -> float:
    """Crashes the program; how long it takes to run again, in milliseconds."""
    so_far = sum(what == "start" for what, _, _ in it.lines())
    pid, at = it.started(so_far)
    lived = (time.monotonic_ns() - at) / 1e9
    time.sleep(max(0.0, LIFE - lived))
    os.kill(pid, signal.SIGUSR1)
    _, again = it.started(so_far + 1)
    end = next(at for what, ended, at in it.lines() if (what, ended) == ("end", pid))
    return (again - end) / 1e6


def crashes(given: argparse.Namespace, directory: pathlib.Path) -> bool:
    """Prints a table and how the bars are met; whether they are."""
    supervisors = [Supervisor(name, directory, given.crasher) for name in SUPERVISORS]
    times: dict[str, list[float]] = {it.name: [] for it in supervisors}
    try:
        for it in supervisors:
            SUPERVISORS[it.name](it, given)
            it.started(1)
        time.sleep(2)
        # The first round is to warm up.
        for round in range(given.count + 1):
            for it in supervisors:
                took = crash(it)
                if round > 0:
                    times[it.name].append(took)
    finally:
        for it in supervisors:
            it.stop()
    medians = {name: statistics.median(took) for name, took in times.items()}
    bare = medians["bare"]
    print(f"{'':12} {'median':>11} {'p99':>11} {'to bare':>9} {'over bare':>12}")
    for name, took in times.items():
        p99 = sorted(took)[max(0, -(-len(took) * 99 // 100) - 1)]
        median = medians[name]
        print(f"{name:12} {median:8.2f} ms {p99:8.2f} ms {median / bare:8.1f}x {median - bare:9.2f} ms")
        row("supervision", name, [("median", median, "ms"), ("p99", p99, "ms"), ("beside fork and exec", median / bare, "x")])
    ahead = [name for name in SLOWER if medians["quaestor"] < medians[name]]
    return all([
        bar("crash to running, beyond fork and exec, median", medians["quaestor"] - bare, "ms", most=3),
        bar("crash to running, beyond runit, median", medians["quaestor"] - medians["runit"], "ms", most=1),
        bar(f"crash to running: ahead of {', '.join(SLOWER)}", len(ahead), "", least=len(SLOWER)),
    ])  # fmt: skip


def crowd(given: argparse.Namespace, directory: pathlib.Path) -> bool:
    """The same for many programs under one supervisor after the other."""
    weights = {}
    print(f"{'':36} {'started in':>12} {'memory':>12} {'a program':>12} {'idle, of a core':>16}")
    for name, start in SUPERVISORS.items():
        if name == "bare":
            continue
        it = Supervisor(name, directory, given.crasher, given.count)
        try:
            start(it, given)
            it.started(given.count)
            time.sleep(SETTLE)
            starts = [at for what, _, at in it.lines() if what == "start"]
            own = it.own()
            before = {pid: ticks(pid) for pid in own}
            time.sleep(WATCH)
            spent = {pid: (ticks(pid) - before[pid]) / os.sysconf("SC_CLK_TCK") / WATCH for pid in own}
            memory = {pid: proportional(pid) for pid in own}
        finally:
            it.stop()
        # What keeps the programs of this host, without what serves all hosts.
        central = {pid for pid, command in own.items() if "etcd" in command.split()[0] or " controller" in command}
        views = {name: set(own) - central}
        if central:
            views[f"{name}, with its etcd and controller"] = set(own)
        for title, pids in views.items():
            total = sum(memory[pid] for pid in pids)
            cells = [
                ("first start to last", (max(starts) - min(starts)) / 1e9, "s"),
                ("memory", total / 1024, "MiB"),
                ("memory per program", total / given.count, "KiB"),
                ("idle, of a core", 100 * sum(spent[pid] for pid in pids), "%"),
            ]
            print(f"{title:36} " + " ".join(f"{figure:8.2f} {unit:3}" for _, figure, unit in cells))
            row("crowd", title, cells)
            weights[title] = total
    return bar(
        f"memory per program of {given.count}, beside 1/50 of supervisord's in all",
        weights["quaestor"] / given.count / (weights["supervisord"] / 50),
        "",
        most=1,
    )


def ticks(pid: int) -> int:
    """The processor time of a process so far."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def proportional(pid: int) -> int:
    """Its memory in KiB, with its share of what it shares with others."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def row(table: str, name: str, cells: list[tuple[str, float, str]]) -> None:
    append({"row": {"table": table, "name": name, "cells": cells}})


def bar(name: str, figure: float, unit: str, least: float | None = None, most: float | None = None) -> bool:
    """Writes down and says how a bar is met; whether it is."""
    append({"bar": {"name": name, "figure": figure, "unit": unit, "least": least, "most": most}})
    wanted = f"{least} or more" if least is not None else f"{most} or less"
    print(f"{name}: {figure:.2f} {unit}".rstrip() + f" (bar: {wanted})")
    return (least is None or figure >= least) and (most is None or figure <= most)


def append(figure: dict) -> None:
    """To the file that $QUAESTOR_BENCH_FIGURES names: see tests/support/figures.rs."""
    if path := os.environ.get("QUAESTOR_BENCH_FIGURES"):
        with open(path, "a") as figures:
            figures.write(json.dumps(figure) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in NEEDS:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, default=26479, help="of etcd; the next one is used too")
    parser.add_argument("what", choices=["crashes", "crowd"])
    parser.add_argument("count", type=int)
    given = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="quaestor-supervision-"))
    try:
        return 0 if {"crashes": crashes, "crowd": crowd}[given.what](given, directory) else 1
    except Gone as gone:
        print(gone, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
