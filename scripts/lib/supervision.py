"""Crash to running again, under several supervisors in turn: see scripts/bench-supervision.

Every supervisor keeps its own copy of the same tiny program (crasher.c) running, all at the same time, with no
pause before a restart. One is crashed after the other, and only once the one before runs again. The program
itself notes when it ends and when it starts, so nothing is in the figures that a supervisor does not do.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

# Supervisors that take a shorter life for a failed start are not to see one; runit's is a second.
LIFE = 1.2
PATIENCE = 30

YAML = """\
apiVersion: quaestor/v1
kind: Service
metadata: {{name: crasher}}
spec:
  command: [{crasher}, {log}]
  restart: {{delay: 0s, resetAfter: 1s}}
"""


class Gone(Exception):
    """A supervisor does not do what it should."""


class Supervisor:
    """One of the measured: its processes, and what its copy of the program wrote."""

    def __init__(self, name: str, directory: pathlib.Path, crasher: str):
        self.name = name
        self.directory = directory / name
        self.directory.mkdir()
        self.crasher = crasher
        self.log = self.directory / "log"
        self.log.touch()
        self.processes: list[subprocess.Popen] = []
        self.times: list[float] = []

    def file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def run(self, *command: str, **environment: str) -> subprocess.Popen:
        output = (self.directory / "output").open("ab")
        process = subprocess.Popen(
            command,
            cwd=self.directory,
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def lines(self) -> list[tuple[str, int, int]]:
        words = [line.split() for line in self.log.read_text().splitlines()]
        return [(what, int(pid), int(at)) for what, pid, at in words]

    def started(self, times: int) -> tuple[int, int]:
        """Waits for that many starts; pid and time of the last."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            starts = [(pid, at) for what, pid, at in self.lines() if what == "start"]
            if len(starts) >= times:
                return starts[-1]
            time.sleep(0.01)
        said = (self.directory / "output").read_text(errors="replace")[-2000:]
        raise Gone(f"{self.name} has not started its program {times} times:\n{said}")

    def crash(self) -> None:
        """Crashes the program and notes how long it takes to run again, in milliseconds."""
        so_far = sum(what == "start" for what, _, _ in self.lines())
        pid, at = self.started(so_far)
        lived = (time.monotonic_ns() - at) / 1e9
        time.sleep(max(0.0, LIFE - lived))
        os.kill(pid, signal.SIGUSR1)
        _, again = self.started(so_far + 1)
        end = next(at for what, ended, at in self.lines() if (what, ended) == ("end", pid))
        self.times.append((again - end) / 1e6)

    def stop(self) -> None:
        """Kills every process in the sessions that were opened here, and the program with its parents."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for what, pid, _ in self.lines()[-1:]:
            # A supervisor that leaves it running, as an agent does.
            if what == "start" and self.is_ours(pid):
                parent = parent_of(pid)
                if parent and self.directory.name in command_of(parent):
                    os.kill(parent, signal.SIGKILL)
                if self.is_ours(pid):
                    os.kill(pid, signal.SIGKILL)

    def is_ours(self, pid: int) -> bool:
        return str(self.log) in command_of(pid)


def command_of(pid: int) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def bare(it: Supervisor, _: argparse.Namespace) -> None:
    it.run(it.crasher, "--supervise", str(it.log))


def quaestor(it: Supervisor, given: argparse.Namespace) -> None:
    """The real thing: etcd, controller, agent; the service is applied as a user would."""
    port = given.port
    client, peer = (f"http://127.0.0.1:{number}" for number in (port, port + 1))
    it.run(
        given.etcd, "--data-dir", "etcd", "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peer,
    )  # fmt: skip
    environment = {"QUAESTOR_ETCD": client}
    it.run(given.quaestor, "controller", **environment)
    it.run(given.quaestor, "agent", "--node", "here", "--state-dir", str(it.directory / "state"), **environment)
    manifest = it.file("service.yaml", YAML.format(crasher=json.dumps(it.crasher), log=json.dumps(str(it.log))))
    # Until the store is there.
    while it.run(given.quaestor, "apply", "-f", manifest, **environment).wait(PATIENCE) != 0:
        time.sleep(0.2)


def runit(it: Supervisor, given: argparse.Namespace) -> None:
    # No shell in between: the program is the script's interpreter.
    run = it.file("service/run", f"#!{it.crasher} {it.log}\n")
    os.chmod(run, 0o700)
    it.run(given.runsv, str(it.directory / "service"))


def pm2(it: Supervisor, given: argparse.Namespace) -> None:
    app = {
        "name": "crasher",
        "script": it.crasher,
        "args": [str(it.log)],
        "interpreter": "none",
        "autorestart": True,
        "restart_delay": 0,
        "max_restarts": 1_000_000,
    }
    ecosystem = it.file("ecosystem.config.js", f"module.exports = {json.dumps({'apps': [app]})}\n")
    it.run(given.node, given.pm2, "start", ecosystem, "--no-daemon", PM2_HOME=str(it.directory / "home"))


def circus(it: Supervisor, given: argparse.Namespace) -> None:
    sockets = "\n".join(
        f"{name} = ipc://{it.directory}/{name}" for name in ("endpoint", "pubsub_endpoint", "stats_endpoint")
    )
    configuration = it.file(
        "circus.ini",
        f"[circus]\ncheck_delay = 1\n{sockets}\n[watcher:crasher]\ncmd = {it.crasher} {it.log}\n"
        "numprocesses = 1\nwarmup_delay = 0\nmax_retry = -1\n",
    )
    it.run(given.python, f"{given.packages}/bin/circusd", configuration, PYTHONPATH=given.packages)


def supervisord(it: Supervisor, given: argparse.Namespace) -> None:
    configuration = it.file(
        "supervisord.conf",
        f"[supervisord]\nnodaemon=true\nlogfile={it.directory}/supervisord.log\npidfile={it.directory}/pid\n"
        f"[program:crasher]\ncommand={it.crasher} {it.log}\n"
        "autorestart=true\nstartsecs=0\nstartretries=1000000\n",
    )
    it.run(given.python, f"{given.packages}/bin/supervisord", "-c", configuration, PYTHONPATH=given.packages)


SUPERVISORS: dict[str, Callable[[Supervisor, argparse.Namespace], None]] = {
    "bare": bare,
    "quaestor": quaestor,
    "runit": runit,
    "pm2": pm2,
    "circus": circus,
    "supervisord": supervisord,
}

# Those that it is to be ahead of.
SLOWER = ("pm2", "circus", "supervisord")


def table(supervisors: list[Supervisor]) -> dict[str, float]:
    """Prints the table; the medians."""
    medians = {it.name: statistics.median(it.times) for it in supervisors}
    least = medians["bare"]
    print(f"{'':12} {'median':>11} {'p99':>11} {'to bare':>9} {'over bare':>12}")
    for it in supervisors:
        p99 = sorted(it.times)[max(0, -(-len(it.times) * 99 // 100) - 1)]
        median = medians[it.name]
        print(f"{it.name:12} {median:8.2f} ms {p99:8.2f} ms {median / least:8.1f}x {median - least:9.2f} ms")
    return medians


def write_down(supervisors: list[Supervisor], medians: dict[str, float]) -> None:
    """Appends the figures to the file that $QUAESTOR_BENCH_FIGURES names: see tests/support/figures.rs."""
    if not (path := os.environ.get("QUAESTOR_BENCH_FIGURES")):
        return
    rows = [
        {"row": {"table": "supervision", "name": it.name, "cells": [("median", medians[it.name], "ms")]}}
        for it in supervisors
    ]
    ahead = sum(medians["quaestor"] < medians[name] for name in SLOWER)
    bars = [
        ("crash to running, beyond fork and exec, median", medians["quaestor"] - medians["bare"], "ms", None, 3),
        ("crash to running, beyond runit, median", medians["quaestor"] - medians["runit"], "ms", None, 1),
        (f"crash to running: ahead of {', '.join(SLOWER)}", ahead, "", len(SLOWER), None),
    ]
    rows += [
        {"bar": {"name": name, "figure": figure, "unit": unit, "least": least, "most": most}}
        for name, figure, unit, least, most in bars
    ]
    with open(path, "a") as figures:
        figures.writelines(json.dumps(row) + "\n" for row in rows)


def judged(medians: dict[str, float]) -> bool:
    """Says how the bars are met; whether they are."""
    over = medians["quaestor"] - medians["bare"]
    behind = [name for name in SLOWER if medians[name] <= medians["quaestor"]]
    verdict = f"quaestor takes {over:.2f} ms more than fork and exec (bar: 3 ms)"
    print(f"{verdict}, {'behind ' + ', '.join(behind) if behind else 'ahead of ' + ', '.join(SLOWER)}")
    return over <= 3 and not behind


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("quaestor", "etcd", "crasher", "runsv", "node", "pm2", "python", "packages"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--port", type=int, default=26479, help="of etcd; the next one is used too")
    parser.add_argument("rounds", type=int)
    given = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="quaestor-supervision-"))
    supervisors = [Supervisor(name, directory, given.crasher) for name in SUPERVISORS]
    try:
        for it in supervisors:
            SUPERVISORS[it.name](it, given)
            it.started(1)
        time.sleep(2)
        # The first round is to warm up.
        for round in range(given.rounds + 1):
            for it in supervisors:
                it.crash()
                if round == 0:
                    it.times.clear()
    except Gone as gone:
        print(gone, file=sys.stderr)
        return 1
    finally:
        for it in supervisors:
            it.stop()
        shutil.rmtree(directory, ignore_errors=True)
    medians = table(supervisors)
    write_down(supervisors, medians)
    return 0 if judged(medians) else 1


if __name__ == "__main__":
    sys.exit(main())
