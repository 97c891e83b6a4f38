"""Who makes a request: bearer tokens, and names with passwords that C{twisted.cred} checkers verify.

Secrets are compared by their digests in constant time, and never shown: errors name files, not contents.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from time import monotonic
from typing import Any

from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.cred.strcred import InvalidAuthArgumentString, InvalidAuthType, makeChecker
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.passwords import HashedPasswords
from twisted_appserver.access.private_files import read_private
from twisted_appserver.access.proxies import network_of
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.settings import Settings

SHORTEST = 16  # characters of a token
MOST = 64  # passwords that are checked at the same time: each takes a while, on purpose
EACH = (
    8  # the same for one client: more than a browser's connections, and few enough to leave room for others
)
KEPT = 60.0  # seconds for which a password that was right is not checked again
RENEWED = 40.0  # seconds after which one that is in use is checked again, so that its user never waits
REMEMBERED = 1024  # passwords that were right


def read_token(path: str) -> bytes:
    """
    The token in a file: its first line.

    @raise ConfigurationError: when the file cannot be read, other users can read or write it, or the token is
        shorter than 16 characters.
    """
    try:
        token = read_private(path, 4096).split(b"\n")[0].strip()
    except OSError as error:
        raise ConfigurationError(f"--token-file {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"--token-file {error}") from None
    if len(token) < SHORTEST:
        raise ConfigurationError(f"--token-file {path}: a token needs at least {SHORTEST} characters")
    return token


def checkers(reactor: Any, texts: Iterable[str]) -> list[Any]:
    """
    The checkers that C{--auth} names: C{hashed:FILE}, or those that C{twistd --help-auth} lists.

    @raise ConfigurationError: when there is no such checker, it does not check passwords, or its file cannot
        be used.
    """
    found: list[Any] = []
    for text in texts:
        kind, _, rest = text.partition(":")
        try:
            checker = HashedPasswords(rest, reactor) if kind == "hashed" else makeChecker(text)
            if isinstance(checker, FilePasswordDB):
                read_private(checker.filename)
        except InvalidAuthType:
            known = "use hashed:FILE or one that twistd --help-auth lists"
            raise ConfigurationError(f"--auth {kind}: there is no such checker; {known}") from None
        except (InvalidAuthArgumentString, OSError, ValueError) as error:
            raise ConfigurationError(f"--auth {kind}: {error}") from None
        if IUsernamePassword not in ICredentialsChecker(checker).credentialInterfaces:
            raise ConfigurationError(f"--auth {kind}: it does not check names and passwords")
        found.append(checker)
    return found


class Credentials:
    """
    What a request must carry in C{Authorization}: the token (RFC 6750, section 2.1), or a name and a password
    (RFC 7617) that one of the checkers accepts.

    Strategy: checking a password is slow on purpose, so one that was right is remembered, by the digest of
    what was sent, whatever else the request contains. While it is in use it is checked again before it
    expires. Each client may have only a few others checked at a time, so that guessing does not lock other
    clients out.

    @param token: C{None} if there is none.
    """

    log = Logger()

    def __init__(self, token: bytes | None = None, checkers: Sequence[Any] = ()) -> None:
        self._token = None if token is None else sha256(token).digest()
        self._checkers = checkers
        self._asking: dict[bytes, list[Deferred[str]]] = {}  # waiting for the same name and password
        self._busy: Counter[str] = Counter()  # checks that clients wait for
        self._known: dict[bytes, tuple[str, float]] = {}  # names, and when they were checked, by digests
        challenges = ['Bearer realm="appserver"'] if token is not None else []
        if checkers:
            challenges.append('Basic realm="appserver", charset="UTF-8"')
        self._challenge = (("www-authenticate", ", ".join(challenges)),)

    def known(self, authorization: bytes) -> str | None:
        """
        @return: the name of the user, empty for the bearer of the token; C{None} if that is wrong, or must be
            checked first.
        """
        scheme, _, value = authorization.partition(b" ")
        scheme, digest = scheme.lower(), sha256(value.strip()).digest()
        if scheme == b"bearer" and self._token is not None:
            return "" if compare_digest(digest, self._token) else None
        if scheme != b"basic" or digest not in self._known:
            return None
        name, since = self._known[digest]
        age = monotonic() - since
        if age > KEPT:
            del self._known[digest]
            return None
        if age > RENEWED and digest not in self._asking:
            self._begin(digest, *self._read(value.strip()), [])
        return name

    def check(self, authorization: bytes, client: str = "") -> Deferred[str]:
        """
        @param client: the address of the client.
        @return: fires with the name of the user, empty for the bearer of the token; fails with L{HTTPError}
            401, or 429 or 503 when too many passwords are being checked, for this client or for all.
        """
        name = self.known(authorization)
        if name is not None:
            return succeed(name)
        scheme, _, value = authorization.partition(b" ")
        scheme, value = scheme.lower(), value.strip()
        if scheme == b"bearer" and self._token is not None:
            return fail(self._refusal("wrong token"))
        if scheme != b"basic" or not self._checkers:
            return fail(self._refusal(self._required))
        try:
            name, password = self._read(value)
        except ValueError:
            return fail(self._refusal("malformed Authorization header"))
        return self._asked(sha256(value).digest(), name, password, network_of(client))

    @property
    def _required(self) -> str:
        ways = ["`Authorization: Bearer TOKEN`"] if self._token is not None else []
        if self._checkers:
            ways.append("a name and a password (HTTP Basic)")
        return f"authentication required: send {' or '.join(ways)}"

    def _read(self, value: bytes) -> tuple[str, bytes]:
        """
        The name and the password in a Basic C{Authorization}.

        @raise ValueError: when it is malformed.
        """
        name, colon, password = b64decode(value, validate=True).partition(b":")
        if not (name and colon):
            raise ValueError("a name and a colon are required")
        return name.decode(), password

    def _asked(self, digest: bytes, name: str, password: bytes, client: str) -> Deferred[str]:
        """Have a password checked that is not known; of many equal ones, once."""
        asked: Deferred[str] = Deferred()
        later = [("retry-after", "1")]
        if digest in self._asking:
            self._asking[digest].append(asked)
        elif self._busy[client] >= EACH:
            return fail(HTTPError(429, "too many passwords from this address are being checked", later))
        elif self._busy.total() >= MOST:
            return fail(HTTPError(503, "too many passwords are being checked", later))
        else:
            self._busy[client] += 1
            asked.addBoth(self._done, client)
            self._begin(digest, name, password, [asked])
        return asked

    def _done(self, result: Any, client: str) -> Any:
        self._busy[client] -= 1
        if not self._busy[client]:
            del self._busy[client]
        return result

    def _begin(self, digest: bytes, name: str, password: bytes, waiting: list[Deferred[str]]) -> None:
        self._asking[digest] = waiting
        verified = Deferred.fromCoroutine(self._verify(name, password))
        verified.addBoth(self._tell, digest)

    def _tell(self, result: Any, digest: bytes) -> None:
        self._known.pop(digest, None)
        if isinstance(result, str):
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]  # the oldest
            self._known[digest] = (result, monotonic())
        for asked in self._asking.pop(digest):
            asked.callback(result)  # a Failure too

    async def _verify(self, name: str, password: bytes) -> str:
        for checker in self._checkers:
            try:
                await maybeDeferred(checker.requestAvatarId, UsernamePassword(name.encode(), password))
                return name
            except LoginFailed:
                continue
            except Exception:
                self.log.error("a checker failed\n{trace}", trace=Failure().getBriefTraceback())
        raise self._refusal("wrong name or password")

    def _refusal(self, detail: str) -> HTTPError:
        return HTTPError(401, detail, self._challenge)


def credentials(reactor: Any, settings: Settings) -> Credentials | None:
    """
    What the settings require of every request; C{None} if nothing.

    @raise ConfigurationError: when secrets cannot be read.
    """
    if settings.token_file is None and not settings.auth:
        return None
    token = None if settings.token_file is None else read_token(settings.token_file)
    return Credentials(token, checkers(reactor, settings.auth))
