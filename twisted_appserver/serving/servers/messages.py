"""
The messages between a supervisor and its servers: lines of JSON on pipes.

A server receives the first message, a L{ServerStart}, before it has a reactor.
"""

from __future__ import annotations

from typing import Any

import msgspec

from twisted_appserver.admin.counts import Counts
from twisted_appserver.admin.overview import WantedFigures
from twisted_appserver.admin.present import Present
from twisted_appserver.core.application import Application
from twisted_appserver.settings import Settings

ORDERS = 3  # the descriptor of a server on which it receives messages
REPORTS = 4  # the descriptor of a server on which it sends messages
FIRST_SOCKET = 5  # the descriptor of the first inherited socket; the others follow
SIZE = 65536  # bytes that are read at once


class ServerStart(msgspec.Struct, tag="start"):
    """
    The first message to a server: what it serves, and how.

    @ivar number: the number of the server, counted from 1.
    @ivar sockets: how many sockets each address has: one, or one for each server.
    @ivar search: C{sys.path}.
    @ivar environ: environment variables to set, or to remove if the value is C{None}.
    @ivar reactor: the module of the reactor to install; empty if the application decides.
    @ivar prints_to_log: whether what functions print goes to the log.
    """

    settings: Settings
    application: Application
    number: int
    sockets: list[int]
    search: list[str]
    environ: dict[str, str | None]
    reactor: str = ""
    prints_to_log: bool = False


class AcceptFrom(msgspec.Struct, tag="accept"):
    """
    Accept connections from these sockets, and from no others.

    @ivar owners: the numbers of the servers whose sockets they are.
    """

    owners: list[int]


class Retire(msgspec.Struct, tag="retire"):
    """
    Accept nothing more, and end when the clients have moved to the successor and all calls have ended. If
    this arrives again, do not wait for clients that send nothing.
    """


class ReadCredentials(msgspec.Struct, tag="credentials"):
    """Read the token and the passwords again."""


class ShowProblem(msgspec.Struct, tag="problem"):
    """Show on the status page why the last reload failed."""

    problem: str


class ReportFigures(msgspec.Struct, tag="report"):
    """
    Send a L{FiguresReport}. Calls are counted from now on.

    @ivar collection: a number that the report contains.
    @ivar readiness: whether only readiness is of interest: check the stores, and do not start counting.
    """

    collection: int
    readiness: bool = False


class AllFigures(msgspec.Struct, tag="figures"):
    """
    The figures that the server has requested.

    @ivar request: the number of the request.
    @ivar counts: what all servers have counted, servers that have ended included.
    @ivar servers: what each server does.
    """

    request: int
    counts: Counts
    servers: list[Present]


class Stop(msgspec.Struct, tag="stop"):
    """Accept nothing more, finish the calls that have arrived, and end."""


class ServerReady(msgspec.Struct, tag="ready"):
    """
    The server can perform calls.

    @ivar sizes: the numbers of its threads and workers, for people.
    @ivar facts: what the log shows at the start, by name.
    """

    sizes: str
    facts: dict[str, str]


class ServerClosed(msgspec.Struct, tag="closed"):
    """The server has been told to retire, and accepts nothing more."""


class ServerFailed(msgspec.Struct, tag="failed"):
    """The server cannot start; one line gives the reason."""

    reason: str


class FiguresWanted(msgspec.Struct, tag="wanted"):
    """
    Send the figures of all servers as L{AllFigures}.

    @ivar request: a number that the message with the figures contains.
    """

    request: int
    wanted: WantedFigures


class FiguresReport(msgspec.Struct, tag="figures", omit_defaults=True):
    """
    What the server has counted since its last report. It is also sent every few seconds, and shows that the
    server is not frozen.

    @ivar collection: the number of the L{ReportFigures}; 0 if the report was not requested.
    @ivar present: what the server does, if the report was requested.
    """

    counts: Counts
    collection: int = 0
    present: Present | None = None


class Logged(msgspec.Struct, tag="logged", omit_defaults=True):
    """
    An entry of the log.

    @ivar level: the name of a C{twisted.logger.LogLevel}.
    @ivar traceback: the traceback, if the entry has one.
    @ivar fields: further values of the event, by name.
    """

    time: float
    level: str
    namespace: str
    text: str
    traceback: str = ""
    fields: dict[str, Any] = {}


Order = ServerStart | AcceptFrom | ReadCredentials | ShowProblem | Retire | Stop | ReportFigures | AllFigures
Report = ServerReady | ServerClosed | ServerFailed | FiguresWanted | FiguresReport | Logged
encoder = msgspec.json.Encoder(enc_hook=str)
decode_order = msgspec.json.Decoder(Order).decode
decode_report = msgspec.json.Decoder(Report).decode


def encode(message: Order | Report) -> bytes:
    """Return a message as a line."""
    return encoder.encode(message) + b"\n"


class MessageLines:
    """Collects the lines that arrive on a pipe."""

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        return lines
