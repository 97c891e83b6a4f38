"""Trusted proxies and their headers: X-Forwarded-For, X-Forwarded-Host and Forwarded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec.structs import replace

from twisted_appserver.core.call import Call
from twisted_appserver.errors import OptionError

PAIR = re.compile(rb"""([\w!#$%&*+.^`|~-]+)=("[^"\\]*"|[^\s",;\\]+)""")
FORWARDED = re.compile(rb"[\s,]*(?:%b(?:[\s,;]+|$))*" % PAIR.pattern)  # RFC 7239, section 4
# An address with or without a port. Addresses with a zone (RFC 4007, section 11) are rejected: a zone may be
# any text.
ADDRESS = re.compile(r"\[([^\]%]+)\](?::\d+)?|([\d.]+):\d+|([^%]*)")


class Proxies:
    """
    Take the client's address and the host from the headers of trusted proxies.

    The address is in X-Forwarded-For and the host in X-Forwarded-Host, or both are in Forwarded (RFC 7239).
    If any other client sends these headers, they are removed.

    @param names: IP addresses and networks, and C{"unix"} for clients of a unix socket.
    @raise OptionError: when a name is neither an address nor a network nor C{unix}.
    """

    def __init__(self, names: Iterable[str]) -> None:
        given = list(names)
        self._unix = "unix" in given
        self._networks = [_network(name) for name in given if name != "unix"]

    def _is_trusted(self, text: str) -> bool:
        if not text:
            return self._unix
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)

    def apply(self, call: Call) -> Call:
        """
        Return the call with the client and the host from its forwarding headers, if a trusted proxy sent
        them. Otherwise return the call without these headers.

        The client is the last address in the chain that is not a trusted proxy.
        """
        headers = call.raw_headers
        forwarding = [
            each for each in headers if each[0] == b"forwarded" or each[0].startswith(b"x-forwarded-")
        ]
        if not forwarding:
            return call
        if not self._is_trusted(call.client):
            return replace(call, raw_headers=tuple(each for each in headers if each not in forwarding))
        clients, host = _parse_forwarding(forwarding)
        nearest = call.client
        for client in reversed(clients):
            address = _address(client)
            if address is None:  # the rest of the chain cannot be trusted; keep the last known address
                break
            nearest = str(address)
            if not self._is_trusted(nearest):
                break
        headers = tuple((name, host if host and name == b"host" else value) for name, value in headers)
        return replace(call, raw_headers=headers, client=nearest)


def _network(text: str) -> IPv4Network | IPv6Network:
    """Parse a value of C{--proxied}. IPv4 networks that are mapped to IPv6 become IPv4 networks."""
    try:
        network = ip_network(text)
    except ValueError:
        expected = "must be an IP address, a network such as 10.0.0.0/8, or unix"
        raise OptionError(f"--proxied {text!r}: {expected}{_hint(text)}") from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return ip_network((mapped, network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network


def _hint(text: str) -> str:
    """Return the end of an error message: what to write instead, if that can be guessed."""
    try:
        return f"; write {ip_network(text, strict=False)}"
    except ValueError:
        address = "127.0.0.1" if text.lower() == "localhost" else _address(text)
        return f"; write {address}" if address else ""


def client_network(client: str) -> str:
    """Return the addresses that probably belong to one client: an IPv4 address, or an IPv6 network (/64)."""
    address = _address(client)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address or "")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """
    Parse an IP address, with or without a port. IPv4 addresses that are mapped to IPv6 become IPv4 addresses.
    """
    found = ADDRESS.fullmatch(text.strip())
    try:
        address = ip_address(next(filter(None, found.groups()), "")) if found else None
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _parse_forwarding(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[str], bytes]:
    """
    Return the chain of clients, the nearest last, and the host.

    X-Forwarded headers take precedence over Forwarded.
    """
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        fields[name] = fields[name] + b"," + value if name in fields else value
    if b"x-forwarded-for" in fields or b"x-forwarded-host" in fields:
        chain = fields.get(b"x-forwarded-for", b"").split(b",")
        host = fields.get(b"x-forwarded-host", b"").rpartition(b",")[2].strip()
    else:
        value = fields.get(b"forwarded", b"")
        # A client can open a quote that the text of its proxy would close. Then the header is ignored.
        pairs = PAIR.findall(value) if FORWARDED.fullmatch(value) else []
        chain = [text.strip(b'"') for name, text in pairs if name.lower() == b"for"]
        host = next((text.strip(b'"') for name, text in reversed(pairs) if name.lower() == b"host"), b"")
    return [each.decode("latin-1") for each in chain if each.strip()], host
