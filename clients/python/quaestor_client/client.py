"""The client: pick, watch, acquire."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import grpc

from ._proto import balancer_pb2 as messages
from .balancers import Balancers
from .endpoint import Address, Answer, Endpoint, address, endpoint
from .errors import NoBalancer, is_of_the_balancer, translated
from .ticket import Queue, Ticket, Waiting

# So many answers are kept for when no balancer can be reached.
CACHED_ANSWERS = 1024


class Client:
    """Asks the balancers of a cluster.

    `balancers`: their `host:port`, as a list or separated by commas. `credentials`: as grpcio makes them, for
    balancers with TLS. `timeout`: how long one balancer may take to answer, in seconds.
    """

    def __init__(
        self,
        balancers: str | Sequence[str] = "127.0.0.1:5150",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float = 2.0,
    ):
        self._balancers = Balancers(balancers, credentials)
        self._timeout = timeout
        # Reports of one client are told from those of another by it.
        self._name = uuid.uuid4().hex
        self._last: dict[tuple[str, int], Answer] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections. Tickets that are still held end by themselves."""
        self._balancers.close()

    def pick(
        self,
        service: str,
        *,
        attributes: Mapping[str, str] | None = None,
        affinity_key: str = "",
        exclude: Iterable[Address | Endpoint] = (),
    ) -> Endpoint:
        """The instance that the next request should go to."""
        return self.pick_many(service, 1, attributes=attributes, affinity_key=affinity_key, exclude=exclude)[0]

    def pick_many(
        self,
        service: str,
        count: int,
        *,
        attributes: Mapping[str, str] | None = None,
        affinity_key: str = "",
        exclude: Iterable[Address | Endpoint] = (),
    ) -> Answer:
        """Up to `count` different instances, the best first; at least one.

        `attributes`: what is known of the request, for the service's policy. `affinity_key`: requests with the same
        key go to the same instance, where the policy is `hash`. `exclude`: instances that are not wanted, such as
        one that has just failed.
        """
        excluded = {one.address if isinstance(one, Endpoint) else one for one in exclude}
        request = messages.PickRequest(
            service=service,
            count=count,
            attributes=attributes or {},
            affinity_key=affinity_key,
            exclude=[messages.Address(host=one.host, port=one.port) for one in excluded],
        )
        try:
            response = self._balancers.ask(
                lambda balancer: balancer.unary(
                    "/quaestor.v1.Balancer/Pick", request, messages.PickResponse, self._timeout
                )
            )
        except NoBalancer:
            cached = self._cached(service, count, excluded)
            if not cached:
                raise
            return cached
        answer = Answer([endpoint(one) for one in response.endpoints], response.view_age_millis / 1000)
        self._keep(service, count, answer)
        return answer

    def _keep(self, service: str, count: int, answer: Answer) -> None:
        if len(self._last) >= CACHED_ANSWERS:
            self._last.clear()
        self._last[service, count] = answer

    def _cached(self, service: str, count: int, excluded: set[Address]) -> Answer:
        """What was told last, without what is not wanted; empty if there is nothing."""
        last = self._last.get((service, count), Answer((), 0.0))
        return Answer([one for one in last if one.address not in excluded], last.view_age, is_cached=True)

    def report(self, service: str, endpoint: Address | Endpoint, *, failed: bool) -> None:
        """Says how a call to an instance ended, so that one to which calls fail comes after the others for a while.

        `failed`: the instance is to be blamed, as it did not answer or broke down. Optional; raises nothing when no
        balancer can be told.
        """
        request = messages.ReportOutcomeRequest(
            service=service,
            client=self._name,
            outcomes=[
                messages.Outcome(
                    address=messages.Address(host=endpoint.host, port=endpoint.port),
                    successes=int(not failed),
                    failures=int(failed),
                )
            ],
        )
        try:
            self._balancers.ask(
                lambda balancer: balancer.unary(
                    "/quaestor.v1.Balancer/ReportOutcome", request, messages.ReportOutcomeResponse, self._timeout
                )
            )
        except NoBalancer:
            pass

    def watch(self, service: str) -> Iterator[list[Endpoint]]:
        """All healthy instances, now and whenever they change; empty while there is none.

        Goes on at another balancer when one is lost, and ends only when the service is not known any more, or by
        `close()` of the generator. While no balancer can be reached nothing changes.
        """
        known: dict[Address, Endpoint] = {}
        pause = 0.1
        told: list[Endpoint] | None = None
        while True:
            for balancer in self._balancers.in_turn():
                request = messages.WatchRequest(service=service)
                stream = balancer.stream("/quaestor.v1.Balancer/Watch", request, messages.WatchResponse, None)
                try:
                    for message in stream:
                        pause = 0.1
                        balancer.failed_at = None
                        if message.complete:
                            known.clear()
                        for gone in message.removed:
                            known.pop(address(gone), None)
                        for changed in map(endpoint, message.changed):
                            known[changed.address] = changed
                        now = list(known.values())
                        if now != told:
                            told = now
                            yield list(now)
                except grpc.RpcError as error:
                    if not is_of_the_balancer(error):
                        raise translated(error) from error
                    balancer.failed_at = time.monotonic()
                finally:
                    stream.cancel()
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def acquire(
        self,
        service: str,
        *,
        timeout: float | None = None,
        on_wait: Callable[[Waiting], None] | None = None,
    ) -> Ticket:
        """An instance for this caller alone; to be used in a `with` statement.

        Waits in a fair queue for `timeout` seconds, or for ever. `on_wait` is told the place in it whenever that
        changes. The ticket is renewed until it is given back.
        """
        return Queue(self._balancers, service, self._timeout).wait(timeout, on_wait)
