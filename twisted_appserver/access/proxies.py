"""The proxies whose word on their clients is believed: X-Forwarded-For, X-Forwarded-Host and Forwarded."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from msgspec.structs import replace

from twisted_appserver.core.call import Call
from twisted_appserver.errors import ConfigurationError

PAIR = re.compile(rb"""([\w!#$%&*+.^`|~-]+)=("[^"\\]*"|[^\s",;\\]+)""")
FORWARDED = re.compile(rb"[\s,]*(?:%b(?:[\s,;]+|$))*" % PAIR.pattern)  # RFC 7239, section 4
# With a port, or without; not with a zone (RFC 4007, section 11), which is any text behind a %.
ADDRESS = re.compile(r"\[([^\]%]+)\](?::\d+)?|([\d.]+):\d+|([^%]*)")


class Proxies:
    """
    Those whose word on their clients is taken: the address in X-Forwarded-For and the name in
    X-Forwarded-Host, or both in Forwarded (RFC 7239). What anybody else says there is taken away.

    @param names: addresses and networks, and C{"unix"} for whoever comes through a unix socket.
    @raise ConfigurationError: when one of them is neither.
    """

    def __init__(self, names: Iterable[str]) -> None:
        given = list(names)
        self._unix = "unix" in given
        self._networks = [_network(name) for name in given if name != "unix"]

    def _ours(self, text: str) -> bool:
        if not text:
            return self._unix
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)

    def apply(self, call: Call) -> Call:
        """
        Return the call with the client that a proxy names: the last in the chain that is none of our proxies.
        What anybody else says about the client is removed.
        """
        heads = call.raw_headers
        said = [each for each in heads if each[0] == b"forwarded" or each[0].startswith(b"x-forwarded-")]
        if not said:
            return call
        if not self._ours(call.client):
            return replace(call, raw_headers=tuple(each for each in heads if each not in said))
        clients, host = _told(said)
        nearest = call.client
        for client in reversed(clients):
            address = _address(client)
            if address is None:  # nobody can tell who; so it is who is known last
                break
            nearest = str(address)
            if not self._ours(nearest):
                break
        heads = tuple((name, host if host and name == b"host" else value) for name, value in heads)
        return replace(call, raw_headers=heads, client=nearest)


def _network(text: str) -> IPv4Network | IPv6Network:
    """A network as an option names it, in the form in which its addresses are compared."""
    try:
        network = ip_network(text)
    except ValueError:
        expected = "must be an IP address, a network such as 10.0.0.0/8, or unix"
        raise ConfigurationError(f"--proxied {text!r}: {expected}{_hint(text)}") from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return ip_network((mapped, network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network


def _hint(text: str) -> str:
    """What to write instead, if that can be guessed."""
    try:
        return f"; write {ip_network(text, strict=False)}"
    except ValueError:
        address = "127.0.0.1" if text.lower() == "localhost" else _address(text)
        return f"; write {address}" if address else ""


def network_of(client: str) -> str:
    """Those addresses that are likely to be one client's: an IPv4 address, or a network of IPv6 (/64)."""
    address = _address(client)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address) >> 64 << 64, 64)))
    return str(address or "")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, perhaps with a port; one of IPv4 in the guise of IPv6 as what it is."""
    found = ADDRESS.fullmatch(text.strip())
    try:
        address = ip_address(next(filter(None, found.groups()), "")) if found else None
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _told(said: Iterable[tuple[bytes, bytes]]) -> tuple[list[str], bytes]:
    """The chain of clients, the nearest last, and the host; of two ways to tell it, the older one."""
    fields: dict[bytes, bytes] = {}
    for name, value in said:
        fields[name] = fields[name] + b"," + value if name in fields else value
    if b"x-forwarded-for" in fields or b"x-forwarded-host" in fields:
        chain = fields.get(b"x-forwarded-for", b"").split(b",")
        host = fields.get(b"x-forwarded-host", b"").rpartition(b",")[2].strip()
    else:
        value = fields.get(b"forwarded", b"")
        # A client can open a quote that its proxy's words would close. Then nothing is believed.
        pairs = PAIR.findall(value) if FORWARDED.fullmatch(value) else []
        chain = [told.strip(b'"') for name, told in pairs if name.lower() == b"for"]
        host = next((told.strip(b'"') for name, told in reversed(pairs) if name.lower() == b"host"), b"")
    return [each.decode("latin-1") for each in chain if each.strip()], host
