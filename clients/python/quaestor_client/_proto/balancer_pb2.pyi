from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PickRequest(_message.Message):
    __slots__ = ("service", "count", "attributes", "affinity_key", "exclude")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    AFFINITY_KEY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    service: str
    count: int
    attributes: _containers.ScalarMap[str, str]
    affinity_key: str
    exclude: _containers.RepeatedCompositeFieldContainer[Address]
    def __init__(self, service: _Optional[str] = ..., count: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ..., affinity_key: _Optional[str] = ..., exclude: _Optional[_Iterable[_Union[Address, _Mapping]]] = ...) -> None: ...

class PickResponse(_message.Message):
    __slots__ = ("endpoints", "view_age_millis")
    ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    VIEW_AGE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    endpoints: _containers.RepeatedCompositeFieldContainer[Endpoint]
    view_age_millis: int
    def __init__(self, endpoints: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ..., view_age_millis: _Optional[int] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("complete", "changed", "removed", "view_age_millis")
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    VIEW_AGE_MILLIS_FIELD_NUMBER: _ClassVar[int]
    complete: bool
    changed: _containers.RepeatedCompositeFieldContainer[Endpoint]
    removed: _containers.RepeatedCompositeFieldContainer[Address]
    view_age_millis: int
    def __init__(self, complete: bool = ..., changed: _Optional[_Iterable[_Union[Endpoint, _Mapping]]] = ..., removed: _Optional[_Iterable[_Union[Address, _Mapping]]] = ..., view_age_millis: _Optional[int] = ...) -> None: ...

class ReportOutcomeRequest(_message.Message):
    __slots__ = ("service", "client", "outcomes")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    service: str
    client: str
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, service: _Optional[str] = ..., client: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class ReportOutcomeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("address", "successes", "failures")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SUCCESSES_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    address: Address
    successes: int
    failures: int
    def __init__(self, address: _Optional[_Union[Address, _Mapping]] = ..., successes: _Optional[int] = ..., failures: _Optional[int] = ...) -> None: ...

class Address(_message.Message):
    __slots__ = ("host", "port")
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    host: str
    port: int
    def __init__(self, host: _Optional[str] = ..., port: _Optional[int] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("address", "instance", "node", "labels", "load", "tls", "suspect", "ejected")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    SUSPECT_FIELD_NUMBER: _ClassVar[int]
    EJECTED_FIELD_NUMBER: _ClassVar[int]
    address: Address
    instance: str
    node: str
    labels: _containers.ScalarMap[str, str]
    load: Load
    tls: bool
    suspect: bool
    ejected: bool
    def __init__(self, address: _Optional[_Union[Address, _Mapping]] = ..., instance: _Optional[str] = ..., node: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., tls: bool = ..., suspect: bool = ..., ejected: bool = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("rate", "capacity", "current_requests", "effective")
    RATE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    CURRENT_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_FIELD_NUMBER: _ClassVar[int]
    rate: float
    capacity: int
    current_requests: int
    effective: float
    def __init__(self, rate: _Optional[float] = ..., capacity: _Optional[int] = ..., current_requests: _Optional[int] = ..., effective: _Optional[float] = ...) -> None: ...
