"""Data that a connection has written but its client has not taken yet."""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection


class UnsentData:
    """
    Observes the buffers of a transport, also below TLS. Twisted's interfaces do not show them.

    @param transport: any transport. If it is not TCP, no data counts as unsent.
    """

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._before = 0  # bytes at the last call of is_being_read

    @property
    def _tcp(self) -> Any:
        """The transport that owns the socket, which TLS wraps; C{None} if there is none."""
        transport = self._transport
        while transport is not None and not isinstance(transport, Connection):
            transport = getattr(transport, "transport", None)
        return transport

    def is_being_read(self) -> bool:
        """Return whether the client has taken data since the last call of this method, but not all of it."""
        tcp, before, self._before = self._tcp, self._before, 0
        if tcp is not None:
            self._before = len(tcp.dataBuffer) - tcp.offset + sum(map(len, tcp._tempDataBuffer))
        return self._before > 0 and self._before != before

    def close(self) -> None:
        """Cut a connection that is closing. Data that the operating system already has still arrives."""
        tcp = self._tcp
        if tcp is None or tcp is self._transport or self._before:
            self._transport.abortConnection()
        else:
            tcp.loseConnection()
