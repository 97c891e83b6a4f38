"""The narrow waist: whatever wants a call made goes through L{Dispatcher.dispatch}. Knows no HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from os import urandom
from typing import Any

import msgspec
from msgspec.structs import force_setattr
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twisted_appserver.access.request_guard import Guard
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.events import EVENTS
from twisted_appserver.core.perform import problem
from twisted_appserver.core.route_table import near
from twisted_appserver.core.router import Router
from twisted_appserver.dispatch.keep_alive import keep_alive
from twisted_appserver.dispatch.retry_after import Refusals
from twisted_appserver.dispatch.time_limits import TimeLimit, TimeLimits
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.executors.inline import InlineExecutor
from twisted_appserver.executors.interface import Answer, IExecutor, PendingCall

ASYNC = re.compile(r"(?:^|,)[ \t]*respond-async[ \t]*(?:[,;=]|$)", re.IGNORECASE)  # RFC 7240, section 4.1


class Dispatcher:
    """
    Routes each call and has it performed, within its time limit.

    @param reactor: an C{IReactorTime}.
    @param executors: by the names that a Route may give.
    @param default: the name of the executor for routes that give none.
    @param guard: refuses who may not ask; C{None} for nobody.
    @param timeout: seconds for a call, counted from its arrival; 0 for no limit.
    @param max_pending: how many calls may wait for one executor before further ones are refused.
    @param display_tracebacks: whether a client sees the traceback of a function that failed.
    @raise ConfigurationError: when a route names an executor that there is not.
    @ivar admin: the table of what the service tells of itself, below C{/-/}; C{None} for none.
    @ivar jobs: the L{jobs.registry.Jobs} that take calls whose clients do not wait; C{None} if none may.
    @ivar faults: told each call whose function failed, and the reply with its traceback.
    @ivar observers: told each call, and the reply that it got: 499 where nobody awaited it any more.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        router: Router,
        executors: Mapping[str, IExecutor],
        default: str,
        guard: Guard | None = None,
        timeout: float = 60.0,
        max_pending: int = 1000,
        display_tracebacks: bool = False,
    ) -> None:
        self.reactor, self.router, self.guard = reactor, router, guard
        self.executors, self.default = executors, default
        self.timeout, self.max_pending, self.display_tracebacks = timeout, max_pending, display_tracebacks
        self.in_flight = 0
        self.admin: Router | None = None
        self.jobs: Any = None
        self.observers: list[Callable[[Call, Reply], None]] = []
        self.faults: list[Callable[[Call, Reply], None]] = []
        self._refusals = Refusals(reactor)
        self._limits = TimeLimits(reactor, self._expired)
        self._drained: list[Deferred[None]] = []
        for executor in executors.values():
            if isinstance(executor, InlineExecutor) and executor.reactor is None:
                executor.reactor = reactor
        self._prefix, self._count = urandom(4).hex() + "-", count(1)
        self.check(router)

    def check(self, router: Router) -> None:
        """
        Whether its table could be ours.

        @raise ConfigurationError: when a route names an executor that there is not.
        """
        for handler in router.handlers:
            if handler.executor is not None and handler.executor not in self.executors:
                names = ", ".join(self.executors)
                raise ConfigurationError(
                    f"{handler.name}: there is no executor {handler.executor!r} here, only {names}"
                )

    def dispatch(self, call: Call) -> Deferred[Reply]:
        """
        Have a call performed.

        @return: fires with the reply, whatever happens, unless it is cancelled, as it should be when nobody
            awaits the reply any more.
        """
        deferred: Deferred[Reply] = Deferred(lambda _: None if job is None else self.cancel(job))
        job = self.begin(call, lambda _, reply: deferred.callback(reply))
        return deferred

    def begin(
        self, call: Call, answer: Answer, routed: Callable[[Call], None] | None = None
    ) -> PendingCall | None:
        """
        As L{dispatch.dispatcher}, without the costs of a Deferred.

        @param answer: gets the call and its reply, perhaps before this returns; never after L{cancel}.
        @param routed: gets what L{again} takes, before the call is performed.
        @return: the call on its way; C{None} where it is over.
        """
        self._arrived(call)
        try:
            asked = None if self.guard is None else self.guard.check(call)
            if asked is not None:
                return self._ask(asked, call, answer)
            self._route(call)
        except Exception as error:
            answer(call, self._over(call, self._failed(call, error)))
            return None
        if routed is not None:
            routed(msgspec.structs.replace(call, groups=dict(call.groups), request_id="", body=b""))
        return self._perform(call, answer)

    def admit(self, call: Call) -> Deferred[None] | None:
        """
        Check a call whose body is still to come: who sends it, and whether there is a function for it.

        @return: C{None} if it may come, or what fires when that is settled, or fails as this does.
        @raise HTTPError: when it is refused. Then L{refuse} makes the reply.
        """
        self._arrived(call)
        asked: Deferred[None] | None = None if self.guard is None else self.guard.check(call)
        if asked is None:
            self._route(call)
            return None
        asked.addCallback(lambda _: self._route(call))
        if not asked.called or asked.paused:
            return asked
        failures: list[Failure] = []
        asked.addErrback(failures.append)
        for failure in failures:
            failure.raiseException()
        return None

    def go_on(self, call: Call, answer: Answer) -> PendingCall | None:
        """As L{begin}, for a call that L{admit} has let in and that has its body now."""
        if call.handler.router not in (self.router, self.admin):  # the application was loaded again
            return self.begin(call, answer)
        self._arrived(call)
        return self._perform(call, answer)

    def knows(self, model: Call) -> bool:
        """Whether L{again} may be called with a model that was given earlier."""
        guard = self.guard
        return model.handler.router is self.router and (guard is None or guard.settled)

    def again(self, model: Call, body: bytes, client: str, answer: Answer) -> PendingCall | None:
        """
        As L{begin}, for a request that equals an earlier one but for its body, when it came, and from whom.

        @param model: the earlier one, as L{begin} gave it.
        """
        call: Call = model.__copy__()  # type: ignore[attr-defined]
        if model.handler.call_name:  # the function could change them
            force_setattr(call, "groups", dict(model.groups))
        if body:
            force_setattr(call, "body", body)
        if call.client != client:
            force_setattr(call, "client", client)
        self._arrived(call)
        return self._perform(call, answer)

    def _arrived(self, call: Call) -> None:
        force_setattr(call, "arrived", self.reactor.seconds())
        if not call.request_id:
            force_setattr(call, "request_id", f"{self._prefix}{next(self._count)}")

    def _failed(self, call: Call, error: BaseException) -> Reply:
        """The reply to a call that is not performed."""
        if not isinstance(error, HTTPError):
            self.log.failure("an executor failed, {request_id}", Failure(error), request_id=call.request_id)
            error = HTTPError(500, "the executor failed")
        if error.status == 404 and self.display_tracebacks:
            error = HTTPError(404, f"{error.detail}; {near(self.router, call.path)}")
        if call.method == "OPTIONS" and (error.status == 405 or (error.status == 404 and call.path == "*")):
            return Reply(b"", 204, error.headers)
        return problem(error, call.request_id)

    def _ask(self, asked: Deferred[None], call: Call, answer: Answer) -> PendingCall:
        """Have a call wait until it is known who it is from."""
        self.in_flight += 1
        job = PendingCall(call, self._ended, answer)
        job.executor = self.executors["inline"]  # should it be cancelled meanwhile, or be late
        job.limit = self._limit(call)
        if job.limit is not None:
            job.limit.add(job)
        asked.addCallback(self._let_in, job).addErrback(self._shut_out, job)
        return job

    def _let_in(self, _: None, job: PendingCall) -> None:
        if not job.called:
            self._route(job.call)
            self._perform(job.call, job.answer, job)

    def _shut_out(self, why: Any, job: PendingCall) -> None:
        job.callback(self._failed(job.call, why.value))

    def _route(self, call: Call) -> None:
        router = self.router
        if self.admin is not None and call.path.startswith("/-/"):
            router = self.admin
        handler, groups = router.match(call.method, call.path)
        force_setattr(call, "handler", handler)
        force_setattr(call, "groups", groups)

    def _perform(self, call: Call, answer: Answer, job: PendingCall | None = None) -> PendingCall | None:
        """Have a call performed that has been routed. It may have a job already."""
        handler = call.handler
        executor = self.executors[handler.executor or self.default]
        submit: Any
        if type(executor) is InlineExecutor and job is None and not call.prefer:
            if handler.call_name:  # nobody else sees the deadline
                self._limit(call)
            outcome = executor.now(call)
            if type(outcome) is Reply:
                answer(call, self._over(call, outcome))
                return None
            submit = outcome
        else:
            submit = executor.submit
        limit = self._limit(call)
        if job is None:
            self.in_flight += 1
            job = PendingCall(call, self._ended, answer)
        elif job.limit is not None and job.limit is not limit:
            job.limit.jobs.pop(job, None)
        job.executor, job.limit = executor, limit
        try:
            self._submit(job, submit)
        except Exception as error:
            job.callback(self._failed(call, error))
        return job

    def _limit(self, call: Call) -> TimeLimit | None:
        """Tell a call when it must be over. Returns what sees to that."""
        routed = call.handler is not None and call.handler.timeout is not None
        timeout: float = call.handler.timeout if routed else self.timeout
        force_setattr(call, "deadline", call.arrived + timeout if timeout else 0.0)
        return self._limits[timeout] if timeout else None

    def _submit(self, job: PendingCall, submit: Callable[[PendingCall], None]) -> None:
        call, executor = job.call, job.executor
        if executor.pending >= self.max_pending:
            seconds = str(self._refusals.retry_after(executor))
            raise HTTPError(503, f"{executor.pending} calls are waiting already", [("retry-after", seconds)])
        if call.prefer and self.jobs and call.handler.router is not self.admin and ASYNC.search(call.prefer):
            self.jobs.take(job)
        submit(job)
        if job.limit is not None and not job.called:
            job.limit.add(job)

    def cancel(self, job: PendingCall) -> None:
        """Nobody awaits the reply to this job, or reads it, any more."""
        if job.stream is not None:
            job.stream.stopProducing()
            job.executor.cancel(job)
        elif not job.called:
            job.answer = lambda *_: None
            self._abandon(job, Reply(b"", 499))

    def _expired(self, job: PendingCall) -> None:
        if job.stream is not None:
            error = HTTPError(504, "no part came, or was read, within the time limit")
            job.stream.cut(error.detail, problem(error, job.call.request_id))
            job.executor.cancel(job)
        else:
            error = HTTPError(504, "the call took longer than its time limit")
            self._abandon(job, problem(error, job.call.request_id))

    def _abandon(self, job: PendingCall, reply: Reply) -> None:
        job.called = True
        job.executor.cancel(job)
        self._ended(job, reply)

    def refuse(self, error: BaseException, call: Call) -> Reply:
        """The reply to a call that is malformed, too large, or was not admitted."""
        if not call.request_id:
            force_setattr(call, "request_id", self._prefix + str(next(self._count)))
        return self._over(call, self._failed(call, error))

    def marked(self, call: Call, reply: Reply) -> Reply:
        """The reply, as pages of other origins may read it that are named."""
        return reply if self.guard is None or not self.guard.cors else self.guard.mark(call, reply)

    def _ended(self, job: PendingCall, reply: Reply) -> None:
        call, stream = job.call, job.stream
        if stream is None:
            self._leave(job)
            reply = self._over(call, reply)
        else:  # each part has as long to be made, or taken, as the whole of another answer has
            reply = self.marked(call, reply)
            stream.ended = partial(self._streamed, job, reply)
            if job.limit is not None:
                job.limit.add(job)
                stream.moved = partial(job.limit.prolong, job)
        if stream is not None and reply.headers[: len(EVENTS)] == EVENTS:
            keep_alive(self.reactor, stream)
        job.answer(call, reply)

    def _streamed(self, job: PendingCall, reply: Reply) -> None:
        self._leave(job)
        if job.stream.fault:
            self._fault(Reply(b"", 500, traceback=job.stream.fault), job.call)
        for observe in self.observers:
            observe(job.call, reply)

    def _leave(self, job: PendingCall) -> None:
        """A job is not in flight any more."""
        if job.limit is not None:
            job.limit.jobs.pop(job, None)
        self.in_flight -= 1
        if self._drained and not self.in_flight:
            self.reactor.callLater(0, self._tell)

    def _over(self, call: Call, reply: Reply) -> Reply:
        """Nothing is left to do for a call. Returns the reply as the client gets it."""
        if reply.traceback:
            reply = self._fault(reply, call)
        reply = self.marked(call, reply)
        for observe in self.observers:
            observe(call, reply)
        return reply

    def _fault(self, reply: Reply, call: Call) -> Reply:
        name, text = call.handler.name, reply.traceback
        for tell in self.faults:
            tell(call, reply)
        self.log.error(
            "{route} failed, {request_id}\n{text}",
            route=name,
            request_id=call.request_id,
            text=text,
            call=call,
        )
        if self.display_tracebacks:
            return problem(HTTPError(reply.status, reply.traceback), call.request_id)
        return reply

    def _tell(self) -> None:
        while self._drained and not self.in_flight:
            self._drained.pop().callback(None)

    def drained(self) -> Deferred[None]:
        """
        @return: fires when no call is in flight and the last reply has been passed on.
        """
        drained: Deferred[None] = Deferred(self._drained.remove)
        self._drained.append(drained)
        self._tell()
        return drained

    def stop(self) -> None:
        """Stop the timers. Calls in flight have no time limit any more."""
        self._limits.stop()
