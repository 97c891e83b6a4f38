"""The one path that every call takes: check the client, route, submit, limit the time, report the reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from os import urandom
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.background_calls import becomes_job
from twisted_appserver.dispatch.calls_in_flight import CallsInFlight
from twisted_appserver.dispatch.failures import Failures
from twisted_appserver.dispatch.retry_after import Refusals
from twisted_appserver.executors.interface import Answer, IExecutor, PendingCall


class Dispatcher:
    """
    Routes each call, submits it to its executor, and applies its time limit.

    @param reactor: an C{IReactorTime}.
    @param executors: by the names that a Route may use. An executor whose attribute C{reactor} is C{None}
        gets this reactor.
    @param default: the name of the executor for routes that name none.
    @param guard: rejects clients that may not call; C{None} to accept every client.
    @param timeout: seconds for a call, counted from its arrival; 0 for no limit.
    @param max_pending: how many calls may wait for one executor before further calls are rejected.
    @param display_tracebacks: whether clients see the traceback of a function that failed.
    @param suggests_patterns: whether a 404 lists the most similar patterns.
    @raise ConfigurationError: if a route names an unknown executor.
    @ivar admin: the table of the server's own pages below C{/-/}; C{None} for none.
    @ivar jobs: the L{jobs.interface.IJobs} for calls whose clients do not wait; C{None} if there are none.
    @ivar calls: the calls that have begun and have not been answered.
    @ivar observers: each is called with every call and its reply; the status is 499 if nobody awaited it.
    @ivar faults: each is called with every call whose function failed, and the reply with its traceback.
    """

    def __init__(
        self,
        reactor: Any,
        router: Router,
        executors: Mapping[str, IExecutor],
        default: str,
        guard: RequestGuard | None = None,
        timeout: float = 60.0,
        max_pending: int = 1000,
        display_tracebacks: bool = False,
        suggests_patterns: bool = False,
    ) -> None:
        self.reactor, self.router, self.guard = reactor, router, guard
        self.executors, self.default = executors, default
        self.max_pending, self.display_tracebacks = max_pending, display_tracebacks
        self.admin: Router | None = None
        self.jobs: Any = None
        self.observers: list[Callable[[Call, Reply], None]] = []
        self._failures = Failures(display_tracebacks, suggests_patterns)
        self.faults = self._failures.observers
        self._refusals = Refusals(reactor)
        self.calls = CallsInFlight(reactor, timeout, self._over, self.add_cors_headers, self._streamed)
        self._limits = self.calls.limits
        for executor in executors.values():
            if getattr(executor, "reactor", reactor) is None:
                executor.reactor = reactor  # type: ignore[attr-defined]
        self._prefix, self._count = urandom(4).hex() + "-", count(1)
        self.check(router)

    def check(self, router: Router) -> None:
        """
        Check whether a table could be served here.

        @raise ConfigurationError: if a route names an unknown executor.
        """
        router.check_executors(self.executors)

    # ---- ways in ----

    def dispatch(self, call: Call) -> Deferred[Reply]:
        """
        Have a call performed.

        @return: fires with the reply and never fails, unless it is cancelled. Cancel the Deferred when the
            reply is no longer wanted.
        """
        deferred: Deferred[Reply] = Deferred(lambda _: None if pending is None else self.cancel(pending))
        pending = self.begin(call, lambda _, reply: deferred.callback(reply))
        return deferred

    def begin(
        self, call: Call, answer: Answer, routed: Callable[[Call], None] | None = None
    ) -> PendingCall | None:
        """
        As L{dispatch}, without the cost of a Deferred.

        @param call: the call as it arrived. The dispatcher makes a new call from it and adds values such as
            the id.
        @param answer: receives the new call and its reply, perhaps before this returns; never after
            L{cancel}.
        @param routed: receives the model for L{again} before the call is performed.
        @return: the pending call; C{None} if it is over.
        """
        guard, arrived = self.guard, self.reactor.seconds()
        user: str | Deferred[str] = ""
        request_id = call.request_id or f"{self._prefix}{next(self._count)}"
        if guard is not None and guard.proxies is not None:
            call = guard.proxies.apply(call)
        try:
            if guard is not None:
                user = guard.check(call)
            if not isinstance(user, str):
                return self._await_user(user, call, arrived, request_id, answer)
            call = self._route(call, user, arrived, request_id)
        except Exception as error:
            call = replace(call, user=user, arrived=arrived, request_id=request_id)
            answer(call, self._over(call, self._rejected(error, call)))
            return None
        if routed is not None:
            routed(replace(call, groups=dict(call.groups), request_id="", body=b""))
        return self._perform(call, answer)

    def admit(
        self, call: Call, rejected: Callable[[Exception, Call], None]
    ) -> Call | Deferred[Call | None] | None:
        """
        Check a call whose body is still to come: whether its client may call, and whether there is a
        function.

        @param rejected: receives the error and the call if the call is rejected. L{refuse} makes the reply.
        @return: the call for L{go_on}; C{None} if it was rejected; or a Deferred that will fire with either.
        """
        if self.guard is not None and self.guard.proxies is not None:
            call = self.guard.proxies.apply(call)
        call = replace(call, arrived=self.reactor.seconds(), request_id=call.request_id or self._new_id())
        route = partial(self._admit, call, rejected)
        try:
            user: str | Deferred[str] = "" if self.guard is None else self.guard.check(call)
        except Exception as error:
            rejected(error, call)
            return None
        if isinstance(user, str):
            return route(user)
        return user.addCallbacks(route, lambda why: rejected(why.value, call))

    def _admit(self, call: Call, rejected: Callable[[Exception, Call], None], user: str) -> Call | None:
        try:
            return self._route(call, user, call.arrived, call.request_id)
        except Exception as error:
            rejected(error, replace(call, user=user))
            return None

    def go_on(self, call: Call, answer: Answer) -> PendingCall | None:
        """As L{begin}, for a call that L{admit} returned, now that its body has arrived."""
        handler = call.handler
        if handler.router not in (self.router, self.admin):  # the application was reloaded
            return self.begin(call, answer)
        arrived = self.reactor.seconds()
        call = replace(call, arrived=arrived, deadline=self._limits.deadline(handler.timeout, arrived))
        return self._perform(call, answer)

    def knows(self, model: Call) -> bool:
        """Return whether L{again} still accepts a model that it accepted earlier."""
        guard = self.guard
        return model.handler.router is self.router and (guard is None or guard.decisions_reusable)

    def again(self, model: Call, body: bytes, client: str, answer: Answer) -> PendingCall | None:
        """
        As L{begin}, for a request that repeats an earlier one, perhaps with another body or from another
        client.

        @param model: the earlier request, as L{begin} passed it to C{routed}.
        """
        handler, arrived = model.handler, self.reactor.seconds()
        limit = self._limits[handler.timeout]
        groups = dict(model.groups) if handler.call_name else model.groups  # the function could change them
        # In the order of the fields: names would cost as much as the object.
        call = Call(
            model.method, model.path, model.query, model.raw_headers, body, client,
            f"{self._prefix}{next(self._count)}", arrived + limit.seconds if limit else 0.0, arrived,
            handler, groups,
        )  # fmt: skip
        return self._perform(call, answer)

    def refuse(self, error: BaseException, call: Call, answer: Answer) -> None:
        """
        Answer a call that is malformed, too large, or was not admitted.

        @param answer: receives the call, which has an id then, and the reply.
        """
        if not call.request_id:
            call = replace(call, request_id=self._new_id())
        answer(call, self._over(call, self._rejected(error, call)))

    # ---- from a call to its executor ----

    def _new_id(self) -> str:
        return f"{self._prefix}{next(self._count)}"

    def _rejected(self, error: BaseException, call: Call) -> Reply:
        is_own = self.admin is not None and call.path.startswith("/-/")
        return self._failures.rejected(error, call, (is_own and self.admin) or self.router)

    def _await_user(
        self, user: Deferred[str], call: Call, arrived: float, request_id: str, answer: Answer
    ) -> PendingCall:
        """Let a call wait until its credentials have been checked."""
        deadline = self._limits.deadline(None, arrived)
        call = replace(call, arrived=arrived, request_id=request_id, deadline=deadline)
        pending = self.calls.begin(call, answer, None, None)
        if pending.limit is not None:
            pending.limit.add(pending)
        user.addCallback(self._identified, pending).addErrback(self._not_identified, pending)
        return pending

    def _identified(self, user: str, pending: PendingCall) -> None:
        if not pending.called:
            pending.call = call = replace(pending.call, user=user)
            pending.call = self._route(call, user, call.arrived, call.request_id)
            self._perform(pending.call, pending.answer, pending)

    def _not_identified(self, why: Any, pending: PendingCall) -> None:
        pending.callback(self._rejected(why.value, pending.call))

    def _route(self, call: Call, user: str, arrived: float, request_id: str) -> Call:
        """
        Return the call as the function sees it.

        @raise HTTPError: if there is no function.
        """
        router = self.router
        if self.admin is not None and call.path.startswith("/-/"):
            router = self.admin
        handler, groups = router.match(call.method, call.path)
        return Call(
            call.method, call.path, call.query, call.raw_headers, call.body, call.client,
            request_id, self._limits.deadline(handler.timeout, arrived), arrived, handler, groups, user,
            call.prefer, call.base,
        )  # fmt: skip

    def _perform(self, call: Call, answer: Answer, pending: PendingCall | None = None) -> PendingCall | None:
        """Have a routed call performed. The call may have become a pending call already."""
        handler = call.handler
        executor = self.executors[handler.executor or self.default]
        submit: Any = executor.submit
        now = getattr(executor, "now", None)
        if now is not None and pending is None and not call.prefer:
            outcome = now(call)
            if type(outcome) is Reply:
                answer(call, self._over(call, outcome))
                return None
            submit = outcome
        if pending is None:
            pending = self.calls.begin(call, answer, executor, handler.timeout)
        else:
            self.calls.hand_over(pending, executor)
        try:
            self._submit(pending, submit)
        except Exception as error:
            pending.callback(self._rejected(error, call))
        return pending

    def _submit(self, pending: PendingCall, submit: Callable[[PendingCall], None]) -> None:
        call, executor = pending.call, pending.executor
        is_job = call.prefer and self.jobs and becomes_job(call, self.admin)
        is_full = self.calls.count > self.max_pending and executor.pending >= self.max_pending  # cheap first
        if is_full and not (is_job and self.jobs.stored):
            raise self._refusals.refusal(executor)
        if not (is_job and self.jobs.take(pending)):
            submit(pending)
        if pending.limit is not None and not pending.called:
            pending.limit.add(pending)

    # ---- from a reply to the client ----

    def cancel(self, pending: PendingCall, kill: bool = False) -> None:
        """
        Abandon a pending call, because its reply is no longer awaited or read.

        @param kill: whether a worker process that runs it may be killed; see L{IExecutor.cancel}.
        """
        self.calls.cancel(pending, kill)

    def _over(self, call: Call, reply: Reply) -> Reply:
        """Report the reply to a call that is over. Returns the reply for the client."""
        if reply.traceback:
            reply = self._failures.report(reply, call)
        if reply.status >= 400:
            reply = self._failures.negotiate(reply, call, self.admin)
        reply = self.add_cors_headers(call, reply)
        for observe in self.observers:
            observe(call, reply)
        return reply

    def _streamed(self, pending: PendingCall, reply: Reply) -> None:
        """Report the end of a stream."""
        if pending.stream.fault:
            self._failures.report(Reply(b"", 500, traceback=pending.stream.fault), pending.call)
        for observe in self.observers:
            observe(pending.call, reply)

    def add_cors_headers(self, call: Call, reply: Reply) -> Reply:
        """Return the reply with CORS headers if the guard allows other origins."""
        return reply if self.guard is None or not self.guard.cors else self.guard.with_cors(call, reply)

    # ---- the end ----

    @property
    def in_flight(self) -> int:
        """How many calls have begun and have not been answered."""
        return self.calls.count

    def drained(self) -> Deferred[None]:
        """Return a Deferred that fires when no call is in flight and the last reply has been passed on."""
        return self.calls.drained()

    def stop(self) -> None:
        """Stop the timers. Calls in flight have no time limit any more."""
        self.calls.stop()
