"""Several balancers as one: each call asks the next in turn, and goes on to another when one does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import grpc

from .errors import NoBalancer, is_of_the_balancer, translated

T = TypeVar("T")

# A balancer that did not answer comes after the others for this long, in seconds.
PASSED_OVER = 10.0


class Balancer:
    """A connection to one balancer."""

    def __init__(self, target: str, credentials: grpc.ChannelCredentials | None):
        self.target = target
        options = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000)]
        self.channel = (
            grpc.secure_channel(target, credentials, options)
            if credentials
            else grpc.insecure_channel(target, options)
        )
        self.failed_at: float | None = None

    def unary(self, method: str, request, response: type[T], timeout: float) -> T:
        """Calls a method that answers once."""
        call = self.channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        return call(request, timeout=timeout)

    def stream(self, method: str, request, response: type[T], timeout: float | None):
        """Calls a method that goes on answering."""
        call = self.channel.unary_stream(
            method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        return call(request, timeout=timeout)


class Balancers:
    """All balancers of a cluster."""

    def __init__(self, targets: str | Sequence[str], credentials: grpc.ChannelCredentials | None):
        names = targets.split(",") if isinstance(targets, str) else targets
        names = [name.strip() for name in names if name.strip()]
        if not names:
            raise ValueError("name at least one balancer, as in balancer-1:5150")
        self._all = [Balancer(name, credentials) for name in names]
        self._lock = threading.Lock()
        self._next = 0

    def close(self) -> None:
        for balancer in self._all:
            balancer.channel.close()

    def in_turn(self) -> Iterator[Balancer]:
        """Each of them once, another one first each time, those that failed lately last."""
        with self._lock:
            first = self._next
            self._next = (first + 1) % len(self._all)
        now = time.monotonic()
        order = self._all[first:] + self._all[:first]

        def is_passed_over(balancer: Balancer) -> bool:
            return balancer.failed_at is not None and now - balancer.failed_at < PASSED_OVER

        yield from sorted(order, key=is_passed_over)

    def ask(self, call: Callable[[Balancer], T]) -> T:
        """What the first balancer says that can answer.

        Raises `NoBalancer` where none can, and what a balancer refuses.
        """
        failures = []
        for balancer in self.in_turn():
            try:
                answer = call(balancer)
            except grpc.RpcError as error:
                if not is_of_the_balancer(error):
                    raise translated(error) from error
                balancer.failed_at = time.monotonic()
                failures.append((balancer, error))
            else:
                balancer.failed_at = None
                return answer
        raise _none_of(failures)


def _none_of(failures: list[tuple[Balancer, grpc.RpcError]]) -> Exception:
    said = "; ".join(f"{balancer.target}: {error.details() or error.code().name}" for balancer, error in failures)
    kinds = {type(translated(error)) for _, error in failures}
    kind = kinds.pop() if len(kinds) == 1 else NoBalancer
    return kind(f"no balancer answered: {said}")
