"""
Authentication of requests: bearer tokens, and names with passwords that C{twisted.cred} checkers verify.

Secrets are compared by their digests in constant time. Messages name files, and never contain secrets.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from shlex import quote
from time import monotonic
from typing import Any

from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import LoginFailed
from twisted.cred.strcred import InvalidAuthArgumentString, InvalidAuthType, makeChecker
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.passwords import COMMAND, HashedPasswords
from twisted_appserver.access.private_files import read_private
from twisted_appserver.access.proxies import client_network
from twisted_appserver.errors import ConfigurationError, HTTPError, OptionError
from twisted_appserver.settings import Settings

MIN_TOKEN_LENGTH = 16  # characters
# The beginning of a command for a shell; the name of the file follows.
MAKE_TOKEN = "(umask 077; python -c 'import secrets; print(secrets.token_urlsafe())'"
MAX_CHECKS = 64  # passwords that are checked at the same time; a check is slow on purpose
# The same for one client: more than the connections of a browser, and few enough to leave room for other
# clients.
MAX_CHECKS_PER_CLIENT = 8
REMEMBER_TIME = 60.0  # seconds for which a correct password is not checked again
RENEWAL_TIME = 40.0  # seconds after which a password in use is checked again, before it expires
MAX_REMEMBERED = 1024  # correct passwords


def read_token(path: str) -> bytes:
    """
    Read a token from the first line of a file.

    @raise ConfigurationError: when the file cannot be read, other users can read or write it, or the token
        has fewer than 16 characters.
    """
    advice = f"; make a token: {MAKE_TOKEN} > {quote(path)})"
    try:
        token = read_private(path, 4096).split(b"\n")[0].strip()
    except OSError as error:
        missing = advice if isinstance(error, FileNotFoundError) else ""
        raise ConfigurationError(f"--token-file {path}: {error.strerror}{missing}") from None
    except ValueError as error:
        raise ConfigurationError(f"--token-file {error}") from None
    if not token:
        raise ConfigurationError(f"--token-file {path}: its first line is empty{advice}")
    if len(token) < MIN_TOKEN_LENGTH:
        least = f"the token must have at least {MIN_TOKEN_LENGTH} characters, not {len(token)}"
        raise ConfigurationError(f"--token-file {path}: {least}{advice}")
    return token


def make_checkers(reactor: Any, descriptions: Iterable[str]) -> list[Any]:
    """
    Make the checkers for C{--auth}.

    @param descriptions: C{hashed:FILE}, or the description of a checker that C{twistd --help-auth} lists.
    @raise ConfigurationError: when a checker does not exist, does not check passwords, or cannot use its
        file.
    """
    checkers: list[Any] = []
    for description in descriptions:
        kind, _, path = description.partition(":")
        try:
            checker = HashedPasswords(path, reactor) if kind == "hashed" else makeChecker(description)
            if isinstance(checker, FilePasswordDB):
                read_private(checker.filename)
        except InvalidAuthType:
            known = "use hashed:FILE or a checker that twistd --help-auth lists"
            raise OptionError(f"--auth {kind}: unknown checker; {known}") from None
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            if kind == "hashed" and isinstance(error, FileNotFoundError):
                reason += f"; make it: (umask 077; {COMMAND} > {quote(path)})"
            raise ConfigurationError(f"--auth {kind}:{reason}") from None
        except (InvalidAuthArgumentString, ValueError) as error:
            raise ConfigurationError(f"--auth {kind}: {error}") from None
        if IUsernamePassword not in ICredentialsChecker(checker).credentialInterfaces:
            raise ConfigurationError(f"--auth {kind}: this checker does not accept names and passwords")
        checkers.append(checker)
    return checkers


class Credentials:
    """
    Authenticate requests by their C{Authorization} header: by the token (RFC 6750, section 2.1), or by a name
    and a password (RFC 7617) that one of the checkers accepts.

    Strategy: a password check is slow on purpose, so a correct password is remembered by the digest of the
    header's value. A remembered password that is in use is checked again before it expires, and requests do
    not wait for this check. Each client may have only a few passwords checked at a time, so that a client
    that guesses passwords does not lock other clients out.

    @param token: the token; C{None} if tokens are not accepted.
    @ivar schemes: how clients may authenticate: C{bearer}, C{basic} or both.
    """

    log = Logger()

    def __init__(self, token: bytes | None = None, checkers: Sequence[Any] = ()) -> None:
        self._token = None if token is None else sha256(token).digest()
        self._checkers = checkers
        self._waiting: dict[bytes, list[Deferred[str]]] = {}  # requests by the digest that is being checked
        self._checks: Counter[str] = Counter()  # running checks by client
        self._remembered: dict[bytes, tuple[str, float]] = {}  # user and time of the check, by digest
        self.schemes = tuple(
            name for name, used in (("bearer", token is not None), ("basic", checkers)) if used
        )
        challenges = ['Bearer realm="appserver"'] if token is not None else []
        if checkers:
            challenges.append('Basic realm="appserver", charset="UTF-8"')
        self._challenge = (("www-authenticate", ", ".join(challenges)),)

    def remembered_user(self, authorization: bytes) -> str | None:
        """
        Authenticate a request without waiting.

        @param authorization: the value of the C{Authorization} header.
        @return: the name of the user; an empty string for the bearer of the token; C{None} if the value is
            wrong or L{authenticate} must check it.
        """
        scheme, _, value = authorization.partition(b" ")
        scheme, digest = scheme.lower(), sha256(value.strip()).digest()
        if scheme == b"bearer" and self._token is not None:
            return "" if compare_digest(digest, self._token) else None
        if scheme != b"basic" or digest not in self._remembered:
            return None
        name, since = self._remembered[digest]
        age = monotonic() - since
        if age > REMEMBER_TIME:
            del self._remembered[digest]
            return None
        if age > RENEWAL_TIME and digest not in self._waiting:
            self._start_check(digest, *self._decode_basic(value.strip()), [])
        return name

    def authenticate(self, authorization: bytes, client: str = "") -> Deferred[str]:
        """
        Authenticate a request. Checks the password if it is not remembered.

        @param authorization: the value of the C{Authorization} header.
        @param client: the address of the client.
        @return: fires with the name of the user, which is empty for the bearer of the token. Fails with
            L{HTTPError}: 401 if the value is wrong, 429 if too many passwords of this client are being
            checked, 503 if too many passwords of all clients are being checked.
        """
        name = self.remembered_user(authorization)
        if name is not None:
            return succeed(name)
        scheme, _, value = authorization.partition(b" ")
        scheme, value = scheme.lower(), value.strip()
        if scheme == b"bearer" and self._token is not None:
            return fail(self._unauthorized("wrong token"))
        if scheme != b"basic" or not self._checkers:
            return fail(self._unauthorized(self._requirement(bool(authorization))))
        try:
            name, password = self._decode_basic(value)
        except ValueError:
            return fail(self._unauthorized("malformed Authorization header"))
        return self._check_password(sha256(value).digest(), name, password, client_network(client))

    def _requirement(self, is_present: bool) -> str:
        """
        Return what a request without valid credentials must send.

        @param is_present: whether it has a header C{Authorization}.
        """
        ways = ["`Authorization: Bearer TOKEN`"] if self._token is not None else []
        if self._checkers:
            ways.append("a name and a password (HTTP Basic)")
        why = "the header Authorization has another form" if is_present else "authentication required"
        return f"{why}: send {' or '.join(ways)}"

    def _decode_basic(self, value: bytes) -> tuple[str, bytes]:
        """
        Return the name and the password from an C{Authorization} header with the scheme Basic.

        @raise ValueError: when it is malformed.
        """
        name, colon, password = b64decode(value, validate=True).partition(b":")
        if not (name and colon):
            raise ValueError("a name and a colon are required")
        return name.decode(), password

    def _check_password(self, digest: bytes, name: str, password: bytes, client: str) -> Deferred[str]:
        """
        Check a password that is not remembered. Requests with the same name and password share one check.
        """
        checked: Deferred[str] = Deferred()
        retry_after = [("retry-after", "1")]
        if digest in self._waiting:
            self._waiting[digest].append(checked)
        elif self._checks[client] >= MAX_CHECKS_PER_CLIENT:
            return fail(HTTPError(429, "too many passwords from this address are being checked", retry_after))
        elif self._checks.total() >= MAX_CHECKS:
            return fail(HTTPError(503, "too many passwords are being checked", retry_after))
        else:
            self._checks[client] += 1
            checked.addBoth(self._count_finished, client)
            self._start_check(digest, name, password, [checked])
        return checked

    def _count_finished(self, result: Any, client: str) -> Any:
        self._checks[client] -= 1
        if not self._checks[client]:
            del self._checks[client]
        return result

    def _start_check(self, digest: bytes, name: str, password: bytes, waiting: list[Deferred[str]]) -> None:
        self._waiting[digest] = waiting
        verified = Deferred.fromCoroutine(self._verify(name, password))
        verified.addBoth(self._finish_check, digest)

    def _finish_check(self, result: Any, digest: bytes) -> None:
        self._remembered.pop(digest, None)
        if isinstance(result, str):
            if len(self._remembered) >= MAX_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]  # the oldest
            self._remembered[digest] = (result, monotonic())
        for waiting in self._waiting.pop(digest):
            waiting.callback(result)  # a Failure makes it fail

    async def _verify(self, name: str, password: bytes) -> str:
        for checker in self._checkers:
            try:
                await maybeDeferred(checker.requestAvatarId, UsernamePassword(name.encode(), password))
                return name
            except LoginFailed:
                continue
            except Exception:
                self.log.error("a password checker failed\n{trace}", trace=Failure().getBriefTraceback())
        raise self._unauthorized("wrong name or password")

    def _unauthorized(self, detail: str) -> HTTPError:
        return HTTPError(401, detail, self._challenge)


def load_credentials(reactor: Any, settings: Settings) -> Credentials | None:
    """
    Make the credentials that the settings require of every request; C{None} if they require none.

    @raise ConfigurationError: when the token or the passwords cannot be read.
    """
    if settings.token_file is None and not settings.auth:
        return None
    token = None if settings.token_file is None else read_token(settings.token_file)
    return Credentials(token, make_checkers(reactor, settings.auth))
