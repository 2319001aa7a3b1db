"""The client against a whole cluster: `quaestor dev` with demo workers.

    QUAESTOR=target/debug/quaestor python -m unittest discover clients/python/tests
"""

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
from pathlib import Path

import quaestor_client as quaestor
from quaestor_client import Address, Client

SECONDS = 60

MANIFEST = """
apiVersion: quaestor/v1
kind: Service
metadata: {name: worker}
spec:
  replicas: 3
  command: ["{quaestor}", demo-worker, --listen, "{host}:{port}"]
  ports: [{name: grpc}]
  serviceNames: [Worker]
  health: {grpc: {}, interval: 200ms}
  load: {reportLoad: {}, interval: 200ms}
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: solver}
spec:
  replicas: 2
  command: ["{quaestor}", demo-worker, --listen, "{host}:{port}", --service-name, Solver]
  ports: [{name: grpc}]
  serviceNames: [Solver]
  health: {grpc: {}, interval: 200ms}
  load: {reportLoad: {}, interval: 200ms}
  balance: {exclusive: true}
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: failing}
spec:
  replicas: 3
  command: ["{quaestor}", demo-worker, --listen, "{host}:{port}", --service-name, Failing]
  ports: [{name: grpc}]
  serviceNames: [Failing]
  health: {grpc: {}, interval: 200ms}
---
apiVersion: quaestor/v1
kind: Service
metadata: {name: sick}
spec:
  command: ["{quaestor}", demo-worker, --listen, "{host}:{port}", --unhealthy-after, 0s]
  ports: [{name: grpc}]
  health: {grpc: {}, interval: 200ms}
"""


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def eventually(what, condition):
    """Waits until `condition` gives something, and returns that."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not in {SECONDS} s: {what}")


class Cluster:
    """A cluster in one process."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        manifest = Path(self.directory.name, "services.yaml")
        manifest.write_text(MANIFEST)
        self.target = f"127.0.0.1:{free_port()}"
        log = open(Path(self.directory.name, "log"), "w")
        self.process = subprocess.Popen(
            [
                os.environ["QUAESTOR"],
                "dev",
                *("--balancer-listen", self.target),
                *("--store-listen", f"127.0.0.1:{free_port()}"),
                *("--state-dir", str(Path(self.directory.name, "state"))),
                *("-f", str(manifest)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        log.close()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(SECONDS)
        self.directory.cleanup()


def served(client, service):
    """The endpoints of a service, empty while there are none."""
    try:
        return client.pick_many(service, 10)
    except quaestor.Error:
        return ()


class OverACluster(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.stop)
        cls.client = Client(cls.cluster.target)
        cls.addClassCleanup(cls.client.close)
        eventually("three workers are served", lambda: len(served(cls.client, "Worker")) == 3)

    def test_callers_in_a_row_are_sent_to_different_instances(self):
        # Earlier picks count until the load reports tell of them, so not before.
        def apart():
            return len({self.client.pick("Worker").target for _ in range(3)}) == 3

        eventually("ten rounds in a row", lambda: all(apart() for _ in range(10)))

    def test_an_answer_describes_its_endpoints(self):
        def reported():
            answer = self.client.pick_many("Worker", 2)
            return answer if answer[0].load.capacity is not None else None

        answer = eventually("the load is reported", reported)
        self.assertEqual(len(answer), 2)
        self.assertFalse(answer.is_cached)
        self.assertLess(answer.view_age, SECONDS)
        endpoint = answer[0]
        self.assertTrue(endpoint.instance.startswith("worker-"))
        self.assertEqual((endpoint.node, endpoint.load.capacity), ("local", 1))

    def test_what_is_excluded_is_not_answered(self):
        first, *others = self.client.pick_many("Worker", 3)
        left = self.client.pick_many("Worker", 3, exclude=[first])
        self.assertEqual({one.target for one in left}, {one.target for one in others})

    def test_an_instance_to_which_calls_fail_comes_last(self):
        three = eventually("three are served", lambda: found if len(found := served(self.client, "Failing")) == 3 else ())
        for _ in range(5):
            self.client.report("Failing", three[0], failed=True)
            self.client.report("Failing", three[1], failed=False)

        def ejected():
            return [one.target for one in served(self.client, "Failing") if one.ejected]

        self.assertEqual(eventually("it is ejected", ejected), [three[0].target])
        self.assertEqual(served(self.client, "Failing")[2].target, three[0].target)

    def test_an_unknown_service_and_one_without_healthy_instances_are_told_apart(self):
        with self.assertRaises(quaestor.NotFound):
            self.client.pick("Nobody")
        with self.assertRaises(quaestor.NothingHealthy):
            self.client.pick("sick")

    def test_a_service_given_out_by_tickets_is_refused_to_pick(self):
        with self.assertRaisesRegex(quaestor.Refused, "(?i)ticket|acquire|exclusive"):
            self.client.pick("Solver")

    def test_a_balancer_that_does_not_answer_is_passed_over(self):
        with Client([f"127.0.0.1:{free_port()}", self.cluster.target]) as client:
            for _ in range(4):
                self.assertTrue(client.pick("Worker").instance.startswith("worker-"))

    def test_without_any_balancer_the_error_names_all_that_were_asked(self):
        nobody = f"127.0.0.1:{free_port()}"
        with Client(nobody) as client, self.assertRaisesRegex(quaestor.NoBalancer, nobody):
            client.pick("Worker")

    def test_a_watch_tells_the_full_set_and_then_what_changes(self):
        sets = self.client.watch("Worker")
        self.assertEqual(len(next(sets)), 3)
        sets.close()

    def test_tickets_are_for_one_caller_alone(self):
        with self.client.acquire("Solver", timeout=SECONDS) as one, self.client.acquire("Solver", timeout=SECONDS) as two:
            self.assertNotEqual(one.target, two.target)
            places = []
            with self.assertRaises(quaestor.QueueTimeout):
                self.client.acquire("Solver", timeout=1, on_wait=lambda waiting: places.append(waiting.place))
            self.assertEqual(places[0], 1)
            one.check()
        with self.client.acquire("Solver", timeout=SECONDS) as next_one:
            self.assertIn(next_one.target, (one.target, two.target))

    def test_a_released_ticket_goes_to_the_one_who_waits(self):
        first, second = (self.client.acquire("Solver", timeout=SECONDS) for _ in range(2))
        is_waiting, got = threading.Event(), []

        def wait():
            with self.client.acquire("Solver", timeout=SECONDS, on_wait=lambda _: is_waiting.set()) as ticket:
                got.append(ticket.target)

        waiter = threading.Thread(target=wait)
        waiter.start()
        self.assertTrue(is_waiting.wait(SECONDS))
        first.release()
        waiter.join(SECONDS)
        second.release()
        self.assertEqual(got, [first.target])


class AfterTheClusterIsGone(unittest.TestCase):
    def test_the_last_answer_is_given_and_says_that_it_is_old(self):
        cluster = Cluster()
        try:
            with Client(cluster.target) as client:
                eventually("three workers are served", lambda: len(served(client, "Worker")) == 3)
                last = client.pick_many("Worker", 3)
                cluster.stop()
                again = client.pick_many("Worker", 3)
                self.assertTrue(again.is_cached)
                self.assertEqual([one.target for one in again], [one.target for one in last])
                without = client.pick_many("Worker", 3, exclude=[last[0]])
                self.assertNotIn(last[0], list(without))
                with self.assertRaises(quaestor.NoBalancer):
                    client.pick("Never asked before")
        finally:
            if cluster.process.poll() is None:
                cluster.stop()


class Targets(unittest.TestCase):
    def test_addresses_of_ip_version_6_stand_in_brackets(self):
        self.assertEqual(Address("::1", 7).target, "[::1]:7")
        self.assertEqual(Address("host", 7).target, "host:7")

    def test_no_balancer_at_all_is_refused(self):
        with self.assertRaises(ValueError):
            Client(" , ")


if __name__ == "__main__":
    unittest.main()
