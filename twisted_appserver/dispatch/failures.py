"""Replies to calls that were rejected, and log entries about functions that failed."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.request_guard import ALLOW_METHODS, EVERY_METHOD
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.error_advice import reason_of
from twisted_appserver.core.error_page import negotiate_error
from twisted_appserver.core.headers import Headers
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.core.route_table import closest_patterns
from twisted_appserver.core.router import Router
from twisted_appserver.core.slash_redirect import allowed_methods, slash_redirect
from twisted_appserver.dispatch.unstarted_log import show_unless_logged
from twisted_appserver.errors import HTTPError, PreflightError

LINKED = (401, 404, 405)  # statuses whose pages link to the page of functions


class Failures:
    """
    @param display_tracebacks: whether clients see the traceback of a function that failed.
    @param suggests_patterns: whether a 404 lists the patterns that are most similar to the path.
    @ivar observers: each is called with the call and the reply, which has a traceback, when a function
        failed.
    """

    log = Logger()

    def __init__(self, display_tracebacks: bool, suggests_patterns: bool = False) -> None:
        self.display_tracebacks, self.suggests_patterns = display_tracebacks, suggests_patterns
        self.observers: list[Callable[[Call, Reply], None]] = []

    def rejected(self, error: BaseException, call: Call, router: Router) -> Reply:
        """Make the reply to a call that is not performed."""
        if not isinstance(error, HTTPError):
            self.log.failure("an executor failed, {request_id}", Failure(error), request_id=call.request_id)
            error = HTTPError(500, "the executor failed")
        if isinstance(error, PreflightError):
            return Reply(b"", 204, _preflight_headers(error, call, router))
        if error.status == 404:
            try:
                if redirect := slash_redirect(router, call):
                    return redirect
            except HTTPError as wrong_method:
                error = wrong_method
        if (
            error.status == 404
            and self.suggests_patterns
            and (closest := closest_patterns(router, call.path))
        ):
            detail = f"{error.detail}; the most similar pattern is {closest[0]}"
            error = HTTPError(404, detail, error.headers, {"closest_patterns": closest})
        if call.method == "OPTIONS" and (error.status == 405 or (error.status == 404 and call.path == "*")):
            return Reply(b"", 204, error.headers)  # RFC 9110, section 9.3.7
        return problem_reply(error, call.request_id)

    def negotiate(self, reply: Reply, call: Call, admin: Router | None) -> Reply:
        """Return the reply for an error as the client prefers it: as JSON, or as a web page."""
        return negotiate_error(reply, call, self._docs(call, admin) if reply.status in LINKED else "")

    def _docs(self, call: Call, admin: Router | None) -> str:
        """Return the relative address of the page of functions; empty if there is none."""
        if admin is None or call.has_encoded_slash or not call.path.startswith("/"):
            return ""
        try:
            admin.match("GET", "/-/docs")
        except HTTPError:
            return ""
        return "../" * (call.path.count("/") - 1) + "-/docs"

    def report(self, reply: Reply, call: Call) -> Reply:
        """Log the traceback of a function that failed. Returns the reply that the client receives."""
        for observe in self.observers:
            observe(call, reply)
        reason = reason_of(reply.traceback)
        route, request_id = call.handler.name, call.request_id
        text = "" if reply.traceback.strip() == reason else f"\n{reply.traceback}"
        self.log.error(
            "{route} failed: {reason}, {request_id}{text}",
            route=route,
            reason=reason,
            request_id=request_id,
            text=text,
            call=call,
        )
        show_unless_logged(f"{route} failed: {reason}, {request_id}{text}")
        if self.display_tracebacks:
            shown = problem_reply(HTTPError(reply.status, reply.traceback), call.request_id)
            return replace(shown, traceback=reply.traceback)
        return reply


def _preflight_headers(error: PreflightError, call: Call, router: Router) -> Headers:
    """Return the headers of the answer to a CORS preflight request, with the methods of its path."""
    if any(name == ALLOW_METHODS for name, _ in error.headers):
        return error.headers
    return ((ALLOW_METHODS, allowed_methods(router, call) or EVERY_METHOD), *error.headers)
