"""Who someone is: bearer tokens, passwords by C{twisted.cred}, and what proxies say of their clients.

Secrets are compared by their digests in constant time, and never shown: errors name files, not contents.
"""

from __future__ import annotations

import os
import re
import stat
from base64 import b64decode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from msgspec.structs import force_setattr
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.cred.strcred import InvalidAuthArgumentString, InvalidAuthType, makeChecker
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.calls import Call
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.options import Settings
from twisted_appserver.passwords import HashedPasswords

SHORTEST = 16  # characters of a token
MOST = 64  # names with passwords that are checked at the same time: each takes a while, on purpose
PAIR = re.compile(rb"""([\w!#$%&*+.^`|~-]+)=("[^"\\]*"|[^\s",;\\]+)""")
FORWARDED = re.compile(rb"[\s,]*(?:%b(?:[\s,;]+|$))*" % PAIR.pattern)  # RFC 7239, section 4
# With a port, or without; not with a zone (RFC 4007, section 11), which is any text behind a %.
ADDRESS = re.compile(r"\[([^\]%]+)\](?::\d+)?|([\d.]+):\d+|([^%]*)")


def read_token(path: str) -> bytes:
    """
    The token in a file: its first line, which no other user may be able to read.

    @raise ConfigurationError: when there is none, or it is shorter than 16 characters, or not a secret.
    """
    try:
        with open(path, "rb") as file:
            mode, token = os.fstat(file.fileno()).st_mode, file.readline(4096).strip()
    except OSError as error:
        raise ConfigurationError(f"--token-file {path}: {error.strerror}") from None
    if os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise ConfigurationError(f"--token-file {path}: every user can read or write it; chmod 600 it")
    if len(token) < SHORTEST:
        raise ConfigurationError(f"--token-file {path}: a token has at least {SHORTEST} characters")
    return token


def checkers(reactor: Any, texts: Iterable[str]) -> list[Any]:
    """
    What C{--auth} names: C{hashed:FILE}, or a C{twisted.cred} checker as C{twistd --help-auth} lists them.

    @raise ConfigurationError: when there is none of that name, or it does not check passwords.
    """
    found: list[Any] = []
    for text in texts:
        kind, _, rest = text.partition(":")
        try:
            checker = HashedPasswords(rest, reactor) if kind == "hashed" else makeChecker(text)
        except InvalidAuthType:
            known = "hashed:FILE, and what twistd --help-auth lists"
            raise ConfigurationError(f"--auth {kind}: there is no such checker, only {known}") from None
        except (InvalidAuthArgumentString, OSError, ValueError) as error:
            raise ConfigurationError(f"--auth {kind}: {error}") from None
        if IUsernamePassword not in ICredentialsChecker(checker).credentialInterfaces:
            raise ConfigurationError(f"--auth {kind}: it does not check names and passwords")
        found.append(checker)
    return found


class Credentials:
    """
    What a request must carry in C{Authorization}: the token (RFC 6750, section 2.1), or a name and a password
    (RFC 7617) that one of the checkers takes.

    @param token: C{None} if there is none.
    """

    log = Logger()

    def __init__(self, token: bytes | None = None, checkers: Sequence[Any] = ()) -> None:
        self._token = None if token is None else sha256(token).digest()
        self._checkers = checkers
        self._asking: dict[bytes, list[Deferred[str]]] = {}  # who awaits the same name and password
        challenges = ['Bearer realm="appserver"'] if token is not None else []
        if checkers:
            challenges.append('Basic realm="appserver", charset="UTF-8"')
        self._challenge = (("www-authenticate", ", ".join(challenges)),)

    def check(self, authorization: bytes) -> Deferred[str]:
        """
        @return: fires with the name of whoever asks, empty for the bearer of the token; fails with
            L{HTTPError} 401, or 503 when too many passwords are being checked.
        """
        scheme, _, value = authorization.partition(b" ")
        value = value.strip()
        if scheme.lower() == b"bearer" and self._token is not None:
            if compare_digest(sha256(value).digest(), self._token):
                return succeed("")
            return fail(self._refusal("this token is not the right one"))
        if scheme.lower() == b"basic" and self._checkers:
            try:
                name, colon, password = b64decode(value, validate=True).partition(b":")
                text = name.decode()
            except ValueError:
                return fail(self._refusal("the Authorization cannot be read"))
            if colon:
                return self._asked(value, text, UsernamePassword(name, password))
        return fail(self._refusal("this service asks who is there"))

    def _asked(self, value: bytes, name: str, credentials: UsernamePassword) -> Deferred[str]:
        asked: Deferred[str] = Deferred()
        if value in self._asking:
            self._asking[value].append(asked)
        elif len(self._asking) < MOST:
            self._asking[value] = [asked]
            Deferred.fromCoroutine(self._ask(name, credentials)).addBoth(self._tell, value)
        else:
            return fail(HTTPError(503, "too many passwords are being checked", [("retry-after", "1")]))
        return asked

    def _tell(self, result: Any, value: bytes) -> None:
        for asked in self._asking.pop(value):
            asked.callback(result)  # a Failure too

    async def _ask(self, name: str, credentials: UsernamePassword) -> str:
        for checker in self._checkers:
            try:
                await maybeDeferred(checker.requestAvatarId, credentials)
                return name
            except LoginFailed:
                continue
            except Exception:
                self.log.error("a checker failed\n{trace}", trace=Failure().getBriefTraceback())
        raise self._refusal("this name and password are not right")

    def _refusal(self, detail: str) -> HTTPError:
        return HTTPError(401, detail, self._challenge)


def credentials(reactor: Any, settings: Settings) -> Credentials | None:
    """
    What the settings have every request carry; C{None} if nobody is asked.

    @raise ConfigurationError: when secrets cannot be read.
    """
    if not (settings.token_file or settings.auth):
        return None
    token = read_token(settings.token_file) if settings.token_file else None
    return Credentials(token, checkers(reactor, settings.auth))


class Proxies:
    """
    Those whose word on their clients is taken: the address in X-Forwarded-For and the name in
    X-Forwarded-Host, or both in Forwarded (RFC 7239). What anybody else says there is taken away.

    @param names: addresses and networks, and C{"unix"} for whoever comes through a unix socket.
    @raise ConfigurationError: when one of them is neither.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._unix, self._networks = False, []
        for name in names:
            try:
                if name == "unix":
                    self._unix = True
                else:
                    self._networks.append(ip_network(name))
            except ValueError as error:
                raise ConfigurationError(f"--proxied: {error}") from None

    def _ours(self, text: str) -> bool:
        if not text:
            return self._unix
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)

    def apply(self, call: Call) -> None:
        """Take over what is said of the client, if one of ours says it: the last who is none of ours."""
        heads = call.raw_headers
        said = [each for each in heads if each[0] == b"forwarded" or each[0].startswith(b"x-forwarded-")]
        if not said:
            return
        force_setattr(call, "raw_headers", tuple(each for each in heads if each not in said))
        if not self._ours(call.client):
            return
        clients, host = _told(said)
        for client in reversed(clients):
            address = _address(client)
            if address is None:  # nobody can tell who; so it is who is known last
                break
            force_setattr(call, "client", str(address))
            if not self._ours(str(address)):
                break
        heads = tuple((name, host if host and name == b"host" else value) for name, value in heads)
        force_setattr(call, "raw_headers", heads)


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
