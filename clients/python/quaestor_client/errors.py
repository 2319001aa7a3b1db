"""What can go wrong, in the words of the balancer where one answered."""

from __future__ import annotations

import grpc


class Error(Exception):
    """A call that did not get what it asked for."""


class NoBalancer(Error):
    """No balancer could be reached, or none is ready to answer yet."""


class NotFound(Error):
    """No service is found under this name."""


class NothingHealthy(Error):
    """The service is known, but none of its instances takes requests now."""


class Overloaded(Error):
    """Every balancer that was asked has more to do than it can."""


class Refused(Error):
    """The service is not for this call, or the call makes no sense; asking again does not help."""


class QueueTimeout(Error):
    """No instance became free in the time that the caller wanted to wait."""


class TicketLost(Error):
    """A ticket came to its end before it was given back: another may be working there."""


# What a balancer says of itself when it cannot answer: the metadata that comes with such an error.
REASON = "quaestor-reason"


def reason(error: grpc.RpcError) -> str | None:
    """Why a balancer said UNAVAILABLE; none if nobody said anything."""
    for key, value in error.trailing_metadata() or ():
        if key == REASON:
            return value
    return None


def is_of_the_balancer(error: grpc.RpcError) -> bool:
    """Whether another balancer may do better: this one cannot be reached, is not ready or has too much to do."""
    code = error.code()
    if code == grpc.StatusCode.UNAVAILABLE:
        return reason(error) not in ("NothingHealthy", "AllExcluded")
    return code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED)


def translated(error: grpc.RpcError) -> Error:
    """The error as one of ours."""
    kinds: dict[grpc.StatusCode, type[Error]] = {
        grpc.StatusCode.NOT_FOUND: NotFound,
        grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    }
    kind = kinds.get(error.code(), Refused)
    if is_of_the_balancer(error) and kind is Refused:
        kind = NoBalancer
    elif error.code() == grpc.StatusCode.UNAVAILABLE:
        kind = NothingHealthy
    return kind(error.details() or error.code().name)
