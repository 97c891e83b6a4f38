"""
Checks of requests before a function is chosen: Host, Origin and credentials.

Every web page that a user opens can send requests to a service on loopback. Two checks of the request head
prevent this. First, the Host header must name this service, which defeats DNS rebinding. Second, a request
must not come from a web page of another origin (Fetch, section 3.1; Fetch Metadata, section 2.2), unless an
option allows that origin; then the reply allows the page to read it (Fetch, section 3.3). A third check,
L{access.credentials}, authenticates the client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.origins import read_host, read_origin
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.request_target import HOST
from twisted_appserver.errors import HTTPError, PreflightError

LOOPBACK = (b"localhost", b"127.0.0.1", b"[::1]")
ALLOW_ORIGIN = "--allow-origin allows further origins"
ALLOW_METHODS = "access-control-allow-methods"
EVERY_METHOD = "GET, HEAD, POST, PUT, PATCH, DELETE, QUERY"
MAX_LOGGED = 32  # refused hosts and origins that are logged; clients can send any number of them
MAX_ACCEPTED = 1024  # request heads that are remembered
OWN_SITES = frozenset((b"same-origin", b"none"))  # Sec-Fetch-Site from our own pages and from the address bar


class RequestGuard:
    """
    Decide if a request may be performed.

    @param hosts: the host names, without port, that requests may name in addition to names of the loopback
        interface; C{"*"} for any.
    @param origins: the origins, such as C{https://example.org}, whose pages may call the service.
    @param proxies: the trusted L{access.proxies.Proxies}; C{None} if there are none.
    @ivar credentials: the L{access.credentials.Credentials} that requests need; C{None} if they need none.
    @ivar is_public: returns true for calls that need no credentials, such as files of pages without data.
    @ivar decisions_reusable: true if identical requests may reuse an earlier decision.
    @ivar cors: true if pages of other origins may call the service.
    @raise ConfigurationError: when a host name or an origin is invalid.
    """

    log = Logger()

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = (), proxies: Any = None) -> None:
        self.proxies = proxies
        self.credentials: Any = None
        self.is_public: Callable[[Call], bool] = _nothing_is_public
        self.decisions_reusable = proxies is None
        self._hosts = {*LOOPBACK, *map(read_host, hosts)}
        self._origins = set(map(read_origin, origins))
        self.cors = bool(self._origins)
        self._accepted: set[Any] = set()  # request heads that were accepted; they are not checked again
        self._logged: set[str] = set()

    def require(self, credentials: Any) -> None:
        """Require these L{access.credentials.Credentials}, and no others, of every request from now on."""
        self.credentials, self.decisions_reusable = credentials, False
        self._accepted.clear()

    def check(self, call: Call) -> str | Deferred[str]:
        """
        Check a call, after L{access.proxies.Proxies.apply} if there are proxies.

        @return: the name of the user, which is empty if there is none; or a Deferred that fires with it, or
            fails with L{HTTPError} 401 if the credentials are missing or wrong.
        @raise HTTPError: 421 when the request names another host, 403 when it comes from a page of another
            origin.
        @raise PreflightError: for a CORS preflight request.
        """
        if call.raw_headers in self._accepted:
            return ""
        fields = dict(call.raw_headers)
        self._check_host(fields)
        self._check_origin(fields)
        if (
            call.method == "OPTIONS"
            and self._has_allowed_origin(fields)
            and b"access-control-request-method" in fields
        ):
            raise self._preflight(fields)
        if self.credentials is not None and self.is_public(call):
            return ""
        return self._authenticate(fields.get(b"authorization", b""), call)

    def _authenticate(self, authorization: bytes, call: Call) -> str | Deferred[str]:
        credentials = self.credentials
        user = "" if credentials is None else credentials.remembered_user(authorization)
        if user is None:
            authenticated = credentials.authenticate(authorization, call.client)
            authenticated.addCallback(self._authenticated, authorization, call, credentials)
            return _result_or_deferred(authenticated)
        return self._accept(user, call)

    def _authenticated(
        self, user: str, authorization: bytes, call: Call, credentials: Any
    ) -> str | Deferred[str]:
        if credentials is self.credentials:
            return self._accept(user, call)
        return self._authenticate(authorization, call)  # the credentials were replaced in the meantime

    def _accept(self, user: str, call: Call) -> str:
        if not user:
            if len(self._accepted) >= MAX_ACCEPTED:
                self._accepted.clear()
            self._accepted.add(call.raw_headers)
        return user

    def _preflight(self, fields: dict[bytes, bytes]) -> PreflightError:
        """Return the answer to a CORS preflight request (Fetch, section 3.3.3)."""
        headers = [("access-control-max-age", "600")]
        if requested := fields.get(b"access-control-request-headers", b"").decode("latin-1"):
            headers.append(("access-control-allow-headers", requested))
        if self.credentials is not None:  # preflight requests carry none; show no paths
            headers.append((ALLOW_METHODS, EVERY_METHOD))
        return PreflightError(headers)

    def _has_allowed_origin(self, fields: dict[bytes, bytes]) -> bool:
        return fields.get(b"origin", b"").lower() in self._origins

    def with_cors(self, call: Call, reply: Reply) -> Reply:
        """
        Return the reply with the headers that let a page of an allowed origin read it (Fetch, section 3.3.3).
        """
        headers = [*reply.headers, ("vary", "origin")]
        fields = dict(call.raw_headers)
        if self._has_allowed_origin(fields):
            headers.append(("access-control-allow-origin", fields[b"origin"].decode("latin-1")))
            headers.append(("access-control-expose-headers", "x-request-id, location, retry-after"))
        return msgspec.structs.replace(reply, headers=tuple(headers))

    def _check_host(self, fields: dict[bytes, bytes]) -> None:
        host = fields.get(b"host", b"")
        if not host or b"*" in self._hosts:
            return
        found = HOST.fullmatch(host)
        if found is None or found[1].lower().removesuffix(b".") not in self._hosts:
            shown = host.decode("latin-1")
            raise self._logged_once(
                HTTPError(421, f"unknown host {shown!r}; --allow-host allows further host names")
            )

    def _check_origin(self, fields: dict[bytes, bytes]) -> None:
        host, origin = fields.get(b"host", b"").lower(), fields.get(b"origin", b"").lower()
        site = fields.get(b"sec-fetch-site", b"")
        if not (origin or site) or origin in self._origins:
            return
        if origin and origin not in (b"http://" + host, b"https://" + host):
            if origin == b"null":
                raise HTTPError(
                    403, "web pages without an origin, such as local files, may not call this service"
                )
            shown = fields[b"origin"].decode("latin-1")
            raise self._logged_once(
                HTTPError(403, f"web pages of {shown!r} may not call this service; {ALLOW_ORIGIN}")
            )
        if site and site not in OWN_SITES:
            raise self._logged_once(
                HTTPError(403, f"web pages of other origins may not call this service; {ALLOW_ORIGIN}")
            )

    def _logged_once(self, error: HTTPError) -> HTTPError:
        """Return the error for a request, and log it the first time: a browser does not show it to anyone."""
        if error.detail not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(error.detail)
            self.log.warn("refused with {status}: {detail}", status=error.status, detail=error.detail)
        return error


def _nothing_is_public(_: Call) -> bool:
    return False


def _result_or_deferred(deferred: Deferred[str]) -> str | Deferred[str]:
    """
    Return the result of a Deferred if it has fired already; otherwise the Deferred.

    @raise Exception: the error of the Deferred if it has failed already.
    """
    if not deferred.called or deferred.paused:
        return deferred
    results: list[str] = []
    failures: list[Failure] = []
    deferred.addCallbacks(results.append, failures.append)
    for failure in failures:
        failure.raiseException()
    return results[0]
