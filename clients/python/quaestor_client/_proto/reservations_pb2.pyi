from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GrantOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRANT_OUTCOME_UNSPECIFIED: _ClassVar[GrantOutcome]
    GRANT_OUTCOME_GRANTED: _ClassVar[GrantOutcome]
    GRANT_OUTCOME_TAKEN: _ClassVar[GrantOutcome]
    GRANT_OUTCOME_OVER: _ClassVar[GrantOutcome]
GRANT_OUTCOME_UNSPECIFIED: GrantOutcome
GRANT_OUTCOME_GRANTED: GrantOutcome
GRANT_OUTCOME_TAKEN: GrantOutcome
GRANT_OUTCOME_OVER: GrantOutcome

class AcquireRequest(_message.Message):
    __slots__ = ("service", "waited_millis", "forwarded", "stamp")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    WAITED_MILLIS_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    service: str
    waited_millis: int
    forwarded: bool
    stamp: Stamp
    def __init__(self, service: _Optional[str] = ..., waited_millis: _Optional[int] = ..., forwarded: bool = ..., stamp: _Optional[_Union[Stamp, _Mapping]] = ...) -> None: ...

class AcquireResponse(_message.Message):
    __slots__ = ("waiting", "ticket")
    WAITING_FIELD_NUMBER: _ClassVar[int]
    TICKET_FIELD_NUMBER: _ClassVar[int]
    waiting: Waiting
    ticket: Ticket
    def __init__(self, waiting: _Optional[_Union[Waiting, _Mapping]] = ..., ticket: _Optional[_Union[Ticket, _Mapping]] = ...) -> None: ...

class Waiting(_message.Message):
    __slots__ = ("place", "length", "units", "unreachable_nodes", "stamp")
    PLACE_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_NODES_FIELD_NUMBER: _ClassVar[int]
    STAMP_FIELD_NUMBER: _ClassVar[int]
    place: int
    length: int
    units: int
    unreachable_nodes: _containers.RepeatedScalarFieldContainer[str]
    stamp: Stamp
    def __init__(self, place: _Optional[int] = ..., length: _Optional[int] = ..., units: _Optional[int] = ..., unreachable_nodes: _Optional[_Iterable[str]] = ..., stamp: _Optional[_Union[Stamp, _Mapping]] = ...) -> None: ...

class Stamp(_message.Message):
    __slots__ = ("queue", "at_nanos")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    AT_NANOS_FIELD_NUMBER: _ClassVar[int]
    queue: int
    at_nanos: int
    def __init__(self, queue: _Optional[int] = ..., at_nanos: _Optional[int] = ...) -> None: ...

class Ticket(_message.Message):
    __slots__ = ("ticket", "host", "port", "instance", "node", "lasts_millis")
    TICKET_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LASTS_MILLIS_FIELD_NUMBER: _ClassVar[int]
    ticket: str
    host: str
    port: int
    instance: str
    node: str
    lasts_millis: int
    def __init__(self, ticket: _Optional[str] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., instance: _Optional[str] = ..., node: _Optional[str] = ..., lasts_millis: _Optional[int] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("ticket",)
    TICKET_FIELD_NUMBER: _ClassVar[int]
    ticket: str
    def __init__(self, ticket: _Optional[str] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("lasts_millis",)
    LASTS_MILLIS_FIELD_NUMBER: _ClassVar[int]
    lasts_millis: int
    def __init__(self, lasts_millis: _Optional[int] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("ticket",)
    TICKET_FIELD_NUMBER: _ClassVar[int]
    ticket: str
    def __init__(self, ticket: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GrantRequest(_message.Message):
    __slots__ = ("node", "instance", "serial")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    node: str
    instance: str
    serial: str
    def __init__(self, node: _Optional[str] = ..., instance: _Optional[str] = ..., serial: _Optional[str] = ...) -> None: ...

class GrantResponse(_message.Message):
    __slots__ = ("outcome", "message", "lasts_millis", "units", "sequence", "host", "port")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LASTS_MILLIS_FIELD_NUMBER: _ClassVar[int]
    UNITS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    outcome: GrantOutcome
    message: str
    lasts_millis: int
    units: InstanceUnits
    sequence: int
    host: str
    port: int
    def __init__(self, outcome: _Optional[_Union[GrantOutcome, str]] = ..., message: _Optional[str] = ..., lasts_millis: _Optional[int] = ..., units: _Optional[_Union[InstanceUnits, _Mapping]] = ..., sequence: _Optional[int] = ..., host: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class RenewGrantRequest(_message.Message):
    __slots__ = ("node", "instance", "serial")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    node: str
    instance: str
    serial: str
    def __init__(self, node: _Optional[str] = ..., instance: _Optional[str] = ..., serial: _Optional[str] = ...) -> None: ...

class RenewGrantResponse(_message.Message):
    __slots__ = ("lasts_millis",)
    LASTS_MILLIS_FIELD_NUMBER: _ClassVar[int]
    lasts_millis: int
    def __init__(self, lasts_millis: _Optional[int] = ...) -> None: ...

class ReleaseGrantRequest(_message.Message):
    __slots__ = ("node", "instance", "serial")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    node: str
    instance: str
    serial: str
    def __init__(self, node: _Optional[str] = ..., instance: _Optional[str] = ..., serial: _Optional[str] = ...) -> None: ...

class ReleaseGrantResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchUnitsRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class WatchUnitsResponse(_message.Message):
    __slots__ = ("sequence", "instances")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    instances: _containers.RepeatedCompositeFieldContainer[InstanceUnits]
    def __init__(self, sequence: _Optional[int] = ..., instances: _Optional[_Iterable[_Union[InstanceUnits, _Mapping]]] = ...) -> None: ...

class InstanceUnits(_message.Message):
    __slots__ = ("instance", "capacity", "taken", "open")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    instance: str
    capacity: int
    taken: int
    open: bool
    def __init__(self, instance: _Optional[str] = ..., capacity: _Optional[int] = ..., taken: _Optional[int] = ..., open: bool = ...) -> None: ...
