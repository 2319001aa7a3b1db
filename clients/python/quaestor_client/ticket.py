"""Tickets: an instance for one caller alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from ._proto import reservations_pb2 as messages
from .balancers import Balancers
from .endpoint import Address
from .errors import Error, NotFound, QueueTimeout, TicketLost, is_of_the_balancer, translated

_SERVICE = "/quaestor.v1.Reservations/"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where a caller stands in the queue."""

    place: int
    """1 is the next."""
    length: int
    """How many wait."""
    units: int
    """How many units there are, taken or not."""
    unreachable_nodes: tuple[str, ...]
    """Nodes whose agent cannot be reached: their instances are given to nobody meanwhile."""


class Ticket:
    """A unit of an instance, until it is released or the `with` statement ends.

    It is renewed by a thread of its own. `lost` is set when that failed for so long that another may have the unit:
    the work is to be given up then.
    """

    def __init__(self, balancers: Balancers, message: messages.Ticket, timeout: float):
        self.name = message.ticket
        self.address = Address(message.host, message.port)
        self.instance = message.instance
        self.node = message.node
        self.lost = threading.Event()
        self._balancers = balancers
        self._timeout = timeout
        self._over = threading.Event()
        self._lasts = message.lasts_millis / 1000
        self._ends = time.monotonic() + self._lasts
        self._renewer = threading.Thread(target=self._renew, name=f"renews {self.instance}", daemon=True)
        self._renewer.start()

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *_) -> None:
        self.release()

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def port(self) -> int:
        return self.address.port

    @property
    def target(self) -> str:
        """Host and port as gRPC takes them."""
        return self.address.target

    def check(self) -> None:
        """Raises `TicketLost` if the ticket was lost."""
        if self.lost.is_set():
            raise TicketLost(f"the ticket for {self.instance} came to its end; another may be working there")

    def release(self) -> None:
        """Gives it back. Where no balancer can be told, it ends by itself."""
        if self._over.is_set():
            return
        self._over.set()
        self._renewer.join()
        if self.lost.is_set():
            return
        request = messages.ReleaseRequest(ticket=self.name)
        try:
            self._call("Release", request, messages.ReleaseResponse)
        except Error:
            pass

    def _call(self, method, request, response):
        return self._balancers.ask(
            lambda balancer: balancer.unary(_SERVICE + method, request, response, self._timeout)
        )

    def _renew(self) -> None:
        request = messages.RenewRequest(ticket=self.name)
        pause = self._lasts / 3
        while not self._over.wait(pause):
            asked_at = time.monotonic()
            try:
                renewed = self._call("Renew", request, messages.RenewResponse)
            except NotFound:
                self.lost.set()
                return
            except Error:
                # It lasts as long as was said last; ask more often until then.
                left = self._ends - time.monotonic()
                if left <= 0:
                    self.lost.set()
                    return
                pause = min(self._lasts / 10, left)
            else:
                self._lasts = renewed.lasts_millis / 1000
                self._ends = asked_at + self._lasts
                pause = self._lasts / 3


class Queue:
    """The wait for a ticket, over several balancers if need be."""

    def __init__(self, balancers: Balancers, service: str, timeout: float):
        self._balancers = balancers
        self._service = service
        self._timeout = timeout

    def wait(self, timeout: float | None, on_wait: Callable[[Waiting], None] | None) -> Ticket:
        since = time.monotonic()
        pause = 0.05
        last: Exception | None = None
        # Keeps the place of one who has to ask another balancer.
        stamp: messages.Stamp | None = None
        while True:
            for balancer in self._balancers.in_turn():
                waited = time.monotonic() - since
                left = None if timeout is None else timeout - waited
                if left is not None and left <= 0:
                    raise QueueTimeout(f"no instance of {self._service} was free in {timeout} seconds") from last
                request = messages.AcquireRequest(
                    service=self._service, waited_millis=int(waited * 1000), stamp=stamp
                )
                stream = balancer.stream(_SERVICE + "Acquire", request, messages.AcquireResponse, left)
                try:
                    for message in stream:
                        pause = 0.05
                        balancer.failed_at = None
                        if message.WhichOneof("progress") == "ticket":
                            return Ticket(self._balancers, message.ticket, self._timeout)
                        if message.waiting.HasField("stamp"):
                            stamp = message.waiting.stamp
                        if on_wait:
                            on_wait(_waiting(message.waiting))
                except grpc.RpcError as error:
                    last = error
                    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and left is not None:
                        continue
                    if not is_of_the_balancer(error):
                        raise translated(error) from error
                    balancer.failed_at = time.monotonic()
                finally:
                    stream.cancel()
            time.sleep(pause)
            pause = min(pause * 2, 2.0)


def _waiting(message: messages.Waiting) -> Waiting:
    return Waiting(message.place, message.length, message.units, tuple(message.unreachable_nodes))
