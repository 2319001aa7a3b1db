"""The supervisors that scripts/bench-supervision compares. Each keeps copies of the same tiny program (crasher.c) running,
with no pause before a restart; the program itself notes when it starts and ends."""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable

PATIENCE = 60

YAML = """\
apiVersion: quaestor/v1
kind: Service
metadata: {{name: crasher}}
spec:
  replicas: {copies}
  command: [{crasher}, {log}]
  restart: {{delay: 0s, resetAfter: 1s}}
"""


class Gone(Exception):
    """A supervisor does not do what it should."""


class Supervisor:
    """One of the measured: its processes, and what its copies of the program wrote."""

    def __init__(self, name: str, directory: pathlib.Path, crasher: str, copies: int = 1):
        self.name = name
        self.directory = directory / name
        self.directory.mkdir()
        self.crasher = crasher
        self.copies = copies
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

    def pids(self) -> dict[int, str]:
        """All processes that belong to it, with their command lines; the programs are among them."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                command, environment = (words_of(entry / name) for name in ("cmdline", "environ"))
                if str(self.directory) in command or f"HOME={self.directory}" in environment:
                    found[int(entry.name)] = command
        return found

    def own(self) -> dict[int, str]:
        """The same without the programs."""
        return {pid: command for pid, command in self.pids().items() if not command.startswith(self.crasher)}

    def stop(self) -> None:
        """Ends what was started, and then whatever is left of it, as an agent leaves its programs running."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        while pids := self.pids():
            # Supervisors first: they would start their programs again.
            for pid in sorted(pids, key=lambda pid: pids[pid].startswith(self.crasher)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)


def words_of(path: pathlib.Path) -> str:
    """What a file of /proc says, with spaces for zeros; nothing if the process is gone."""
    try:
        return path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


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
    manifest = it.file("service.yaml", YAML.format(copies=it.copies, crasher=json.dumps(it.crasher), log=json.dumps(str(it.log))))
    # Until the store is there.
    while it.run(given.quaestor, "apply", "-f", manifest, **environment).wait(PATIENCE) != 0:
        time.sleep(0.2)


def runit(it: Supervisor, given: argparse.Namespace) -> None:
    for copy in range(it.copies):
        # No shell in between: the program is the script's interpreter.
        os.chmod(it.file(f"services/{copy}/run", f"#!{it.crasher} {it.log}\n"), 0o700)
    path = f"{pathlib.Path(given.runit)}:{os.environ['PATH']}"
    it.run(f"{given.runit}/runsvdir", str(it.directory / "services"), PATH=path)


def pm2(it: Supervisor, given: argparse.Namespace) -> None:
    apps = [
        {
            "name": f"crasher{copy}",
            "script": it.crasher,
            "args": [str(it.log)],
            "interpreter": "none",
            "autorestart": True,
            "restart_delay": 0,
            "max_restarts": 1_000_000,
        }
        for copy in range(it.copies)
    ]
    ecosystem = it.file("ecosystem.config.js", f"module.exports = {json.dumps({'apps': apps})}\n")
    it.run(given.node, given.pm2, "start", ecosystem, "--no-daemon", PM2_HOME=str(it.directory / "home"))


def circus(it: Supervisor, given: argparse.Namespace) -> None:
    sockets = "\n".join(
        f"{name} = ipc://{it.directory}/{name}" for name in ("endpoint", "pubsub_endpoint", "stats_endpoint")
    )
    configuration = it.file(
        "circus.ini",
        f"[circus]\ncheck_delay = 1\n{sockets}\n[watcher:crasher]\ncmd = {it.crasher} {it.log}\n"
        f"numprocesses = {it.copies}\nwarmup_delay = 0\nmax_retry = -1\n",
    )
    it.run(given.python, f"{given.packages}/bin/circusd", configuration, PYTHONPATH=given.packages)


def supervisord(it: Supervisor, given: argparse.Namespace) -> None:
    configuration = it.file(
        "supervisord.conf",
        f"[supervisord]\nnodaemon=true\nlogfile={it.directory}/supervisord.log\npidfile={it.directory}/pid\n"
        f"[program:crasher]\ncommand={it.crasher} {it.log}\nnumprocs={it.copies}\n"
        "process_name=%(process_num)s\nautorestart=true\nstartsecs=0\nstartretries=1000000\n",
    )
    it.run(given.python, f"{given.packages}/bin/supervisord", "-c", configuration, PYTHONPATH=given.packages)


def monit(it: Supervisor, given: argparse.Namespace) -> None:
    # It only looks at pids in files: the program has to go into the background by itself.
    start = it.file("start", f'#!/bin/sh\nsetsid {it.crasher} {it.log} &\necho $! >{it.directory}/$1.pid\n')
    os.chmod(start, 0o700)
    checks = "".join(
        f'check process crasher{copy} with pidfile {it.directory}/{copy}.pid\n    start program = "{start} {copy}"\n'
        for copy in range(it.copies)
    )
    files = "\n".join(f"set {name}file {it.directory}/monit.{name}" for name in ("log", "pid", "id", "state"))
    configuration = it.file("monitrc", f"set daemon 1\n{files}\n{checks}")
    os.chmod(configuration, 0o600)
    it.run(given.monit, "-I", "-c", configuration)


SUPERVISORS: dict[str, Callable[[Supervisor, argparse.Namespace], None]] = {
    "bare": bare,
    "quaestor": quaestor,
    "runit": runit,
    "pm2": pm2,
    "circus": circus,
    "supervisord": supervisord,
    "monit": monit,
}

# What each needs, as options of the command line.
NEEDS = ("quaestor", "etcd", "crasher", "runit", "node", "pm2", "python", "packages", "monit")
