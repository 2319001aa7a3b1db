"""What a balancer answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ._proto import balancer_pb2 as messages


@dataclass(frozen=True, slots=True)
class Address:
    """Where an instance is reached."""

    host: str
    port: int

    @property
    def target(self) -> str:
        """Host and port as gRPC takes them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Load:
    """How busy an instance is, as the balancer sees it."""

    rate: float | None
    """A rate that it computed itself; smaller is less busy."""
    capacity: int | None
    """Requests it can work on at once; negative: it does not know."""
    current_requests: int | None
    """Requests it works on, as it said last."""
    effective: float
    """The part of its capacity that is in use, with what was sent to it since; 1 is fully busy."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A healthy instance."""

    address: Address
    instance: str
    """`<service>-<slot>`"""
    node: str
    """The node it runs on."""
    labels: Mapping[str, str]
    """The labels of that node."""
    load: Load
    tls: bool
    """Whether it expects TLS."""
    suspect: bool
    """Whether its node has not been heard of for a while."""
    ejected: bool = False
    """Whether calls to it fail, as clients report: it comes after all others for now."""

    @property
    def host(self) -> str:
        """Host name or IP address, without brackets."""
        return self.address.host

    @property
    def port(self) -> int:
        return self.address.port

    @property
    def target(self) -> str:
        """Host and port as gRPC takes them."""
        return self.address.target


class Answer(Sequence[Endpoint]):
    """Endpoints, the best first."""

    def __init__(self, endpoints: Sequence[Endpoint], view_age: float, is_cached: bool = False):
        self._endpoints = tuple(endpoints)
        self.view_age = view_age
        """How long ago the balancer had last heard from the store, in seconds."""
        self.is_cached = is_cached
        """Whether this is what was told last, because no balancer can be reached now."""

    def __getitem__(self, index):
        return self._endpoints[index]

    def __len__(self) -> int:
        return len(self._endpoints)

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints)

    def __repr__(self) -> str:
        return f"Answer({[endpoint.target for endpoint in self]}, view_age={self.view_age}, is_cached={self.is_cached})"


def endpoint(message: messages.Endpoint) -> Endpoint:
    """The endpoint that a message describes."""
    load = message.load
    return Endpoint(
        address=address(message.address),
        instance=message.instance,
        node=message.node,
        labels=MappingProxyType(dict(message.labels)),
        load=Load(
            rate=load.rate if load.HasField("rate") else None,
            capacity=load.capacity if load.HasField("capacity") else None,
            current_requests=load.current_requests if load.HasField("current_requests") else None,
            effective=load.effective,
        ),
        tls=message.tls,
        suspect=message.suspect,
        ejected=message.ejected,
    )


def address(message: messages.Address) -> Address:
    """The address that a message names."""
    return Address(message.host, message.port)
