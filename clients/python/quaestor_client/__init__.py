"""Asks the balancers of a Quaestor cluster which instance to call.

>>> with Client("balancer-1:5150,balancer-2:5150") as quaestor:
...     endpoint = quaestor.pick("Worker")
"""

from .client import Client
from .endpoint import Address, Answer, Endpoint, Load
from .errors import (
    Error,
    NotFound,
    NothingHealthy,
    NoBalancer,
    Overloaded,
    QueueTimeout,
    Refused,
    TicketLost,
)
from .ticket import Ticket, Waiting

__all__ = [
    "Address",
    "Answer",
    "Client",
    "Endpoint",
    "Error",
    "Load",
    "NoBalancer",
    "NotFound",
    "NothingHealthy",
    "Overloaded",
    "QueueTimeout",
    "Refused",
    "Ticket",
    "TicketLost",
    "Waiting",
]
