"""Who someone is: bearer tokens, passwords by L{twisted.cred}, and what proxies say of their clients.

Secrets are compared by their digests in constant time, and never shown: errors name files, not contents.
"""

from __future__ import annotations

import os
import stat
from base64 import b64decode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address, ip_network
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
from twisted_appserver.passwords import HashedPasswords

SHORTEST = 16  # characters of a token


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
    What C{--auth} names: C{hashed:FILE}, or a L{twisted.cred} checker as C{twistd --help-auth} lists them.

    @raise ConfigurationError: when there is none of that name, or it does not check passwords.
    """
    found: list[Any] = []
    for text in texts:
        kind, _, rest = text.partition(":")
        try:
            checker = HashedPasswords(rest, reactor) if kind == "hashed" else makeChecker(text)
        except (InvalidAuthType, InvalidAuthArgumentString, OSError, ValueError) as error:
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
        challenges = ['Bearer realm="appserver"'] if token is not None else []
        if checkers:
            challenges.append('Basic realm="appserver", charset="UTF-8"')
        self._challenge = (("www-authenticate", ", ".join(challenges)),)

    def check(self, authorization: bytes) -> Deferred[str]:
        """
        @return: fires with the name of whoever asks, empty for the bearer of the token; fails with
            L{HTTPError} 401.
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
                asked = Deferred.fromCoroutine(self._ask(UsernamePassword(name, password)))
                return asked.addCallback(lambda _: text)
        return fail(self._refusal("this service asks who is there"))

    async def _ask(self, credentials: UsernamePassword) -> None:
        for checker in self._checkers:
            try:
                await maybeDeferred(checker.requestAvatarId, credentials)
                return
            except LoginFailed:
                continue
            except Exception:
                self.log.error("a checker failed\n{trace}", trace=Failure().getBriefTraceback())
        raise self._refusal("this name and password are not right")

    def _refusal(self, detail: str) -> HTTPError:
        return HTTPError(401, detail, self._challenge)


class Proxies:
    """
    Those whose word on their clients is taken: the address in X-Forwarded-For and the name in
    X-Forwarded-Host. Whatever anybody else says there is not.

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
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def apply(self, call: Call) -> None:
        """Take over what is said of the client, if one of ours says it: the last who is none of ours."""
        if not self._ours(call.client):
            return
        fields = dict(call.raw_headers)  # the last of several
        chain = b",".join(value for name, value in call.raw_headers if name == b"x-forwarded-for")
        for part in reversed(chain.decode("latin-1").split(",")):
            if client := part.strip():
                force_setattr(call, "client", client)
                if not self._ours(client):
                    break
        if host := fields.get(b"x-forwarded-host", b"").rpartition(b",")[2].strip():
            headers = tuple((name, host if name == b"host" else value) for name, value in call.raw_headers)
            force_setattr(call, "raw_headers", headers)
