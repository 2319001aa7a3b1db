"""A stock gRPC client that finds services by xDS: grpcio alone, of any version, with no generated code.

Reads one command per line, as JSON, and answers each with one line of JSON:

    {"do": "calls", "service": S, "count": N, "seconds": T, "wait": B, "work": M}
                                        N calls, one after the other, of work that takes M milliseconds
    {"do": "begin", "service": S}       calls without end, in the background
    {"do": "seen"}                      what these saw since the last question

Answers are {"by": {INSTANCE: CALLS}, "errors": [TEXT, ...], "millis": M}.
"""

import collections
import functools
import json
import sys
import threading
import time

import grpc


class Tally:
    """What came of calls."""

    def __init__(self):
        self.lock = threading.Lock()
        self.clear()

    def clear(self):
        self.by = collections.Counter()
        self.errors = []
        self.begun = time.monotonic()

    def answer(self):
        with self.lock:
            millis = round((time.monotonic() - self.begun) * 1000)
            told = {"by": self.by, "errors": self.errors, "millis": millis}
            self.clear()
        return told

    def call(self, service, seconds=30, wait=False, work=0):
        try:
            answer = stub(service)(request(work), timeout=seconds, wait_for_ready=wait)
            with self.lock:
                self.by[instance(answer)] += 1
        except grpc.RpcError as error:
            with self.lock:
                self.errors.append(f"{error.code().name}: {error.details()}")


@functools.cache
def stub(service):
    channel = grpc.insecure_channel(f"xds:///{service}")
    return channel.unary_unary("/quaestor.demo.DemoWorker/Work")


def request(work):
    """A WorkRequest: its first field is how long the work takes."""
    varint = b""
    while work >= 128:
        varint += bytes([work % 128 + 128])
        work //= 128
    return b"\x08" + varint + bytes([work])


def instance(answer):
    """Field 1 of a WorkResponse, its first, and shorter than 128 bytes."""
    return answer[2 : 2 + answer[1]].decode()


def without_end(tally, service):
    while True:
        tally.call(service)
        time.sleep(0.002)


def main():
    background = Tally()
    for line in sys.stdin:
        command = json.loads(line)
        match command["do"]:
            case "calls":
                tally = Tally()
                for _ in range(command["count"]):
                    given = {name: command[name] for name in ("service", "seconds", "wait", "work")}
                    tally.call(**given)
                answer = tally.answer()
            case "begin":
                for _ in range(2):
                    arguments = (background, command["service"])
                    threading.Thread(target=without_end, args=arguments, daemon=True).start()
                answer = background.answer()
            case "seen":
                answer = background.answer()
        print(json.dumps(answer), flush=True)


main()
