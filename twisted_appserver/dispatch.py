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

from twisted_appserver.calls import Call, Reply
from twisted_appserver.deadlines import TimeLimits
from twisted_appserver.errors import ConfigurationError, HTTPError
from twisted_appserver.executors.interface import IExecutor, Job
from twisted_appserver.guard import Guard
from twisted_appserver.hints import near
from twisted_appserver.overload import Refusals
from twisted_appserver.results import problem
from twisted_appserver.routing import Router

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
    @ivar jobs: the L{jobs.Jobs} that take calls whose clients do not wait; C{None} if none may.
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
        deferred: Deferred[Reply] = Deferred(lambda _: self.cancel(job))
        job = self.begin(call, deferred.callback)
        return deferred

    def begin(
        self, call: Call, answer: Callable[[Reply], None], routed: Callable[[Call], None] | None = None
    ) -> Job:
        """
        As L{dispatch}, without the costs of a Deferred.

        @param answer: gets the reply, perhaps before this returns; never after L{cancel}.
        @param routed: gets what L{again} takes, before the call is performed.
        """
        job = self._take(call, answer)
        try:
            asked = None if self.guard is None else self.guard.check(call)
            if asked is None:
                self._perform(None, job, routed)
            else:
                job.executor = self.executors["inline"]  # should it be cancelled meanwhile, or be late
                self._limit(job, self.timeout)
                if job.limit is not None:
                    job.limit.add(job)
                asked.addCallback(self._perform, job).addErrback(lambda why: self._fail(job, why.value))
        except Exception as error:
            self._fail(job, error)
        return job

    def again(self, model: Call, body: bytes, client: str, answer: Callable[[Reply], None]) -> Job | None:
        """
        As L{begin}, for a request that equals an earlier one but for its body, when it came, and from whom.

        @param model: the earlier one, as L{begin} gave it.
        @return: C{None} if this one must be looked at all the same.
        """
        guard = self.guard
        if model.handler.router is not self.router or not (guard is None or guard.settled):
            return None
        call = _copy(model)
        if body:
            force_setattr(call, "body", body)
        if call.client != client:
            force_setattr(call, "client", client)
        job = self._take(call, answer)
        try:
            self._submit(job)
        except Exception as error:
            self._fail(job, error)
        return job

    def _take(self, call: Call, answer: Callable[[Reply], None]) -> Job:
        if not call.request_id:
            force_setattr(call, "request_id", self._prefix + str(next(self._count)))
        if self.observers:
            force_setattr(call, "arrived", self.reactor.seconds())
        self.in_flight += 1
        return Job(call, self._ended, answer)

    def _fail(self, job: Job, error: BaseException) -> None:
        call = job.call
        if not isinstance(error, HTTPError):
            self.log.failure("an executor failed, {request_id}", Failure(error), request_id=call.request_id)
            error = HTTPError(500, "the executor failed")
        if error.status == 404 and self.display_tracebacks:
            error = HTTPError(404, f"{error.detail}; {near(self.router, call.path)}")
        if error.status == 405 and call.method == "OPTIONS":
            job.callback(Reply(b"", 204, error.headers))
        else:
            job.errback(error)

    def _perform(self, _: None, job: Job, routed: Callable[[Call], None] | None = None) -> None:
        if not job.called:
            self._route(job.call)
            if routed is not None:
                routed(msgspec.structs.replace(_copy(job.call), request_id="", body=b""))
            self._submit(job)

    def _route(self, call: Call) -> None:
        router = self.router
        if self.admin is not None and call.path.startswith("/-/"):
            router = self.admin
        handler, groups = router.match(call.method, call.path)
        force_setattr(call, "handler", handler)
        force_setattr(call, "groups", groups)

    def _submit(self, job: Job) -> None:
        """Hand a call to what performs it, with its time limit."""
        call = job.call
        handler = call.handler
        job.executor = executor = self.executors[handler.executor or self.default]
        if executor.pending >= self.max_pending:
            seconds = str(self._refusals.retry_after(executor))
            raise HTTPError(503, f"{executor.pending} calls are waiting already", [("retry-after", seconds)])
        timeout = self.timeout if handler.timeout is None else handler.timeout
        if timeout or job.limit is not None:
            self._limit(job, timeout)
        if call.prefer and self.jobs and handler.router is not self.admin and ASYNC.search(call.prefer):
            self.jobs.take(job)
        executor.submit(job)
        if job.limit is not None and not job.called:  # as a call on the reactor may be
            job.limit.add(job)

    def _limit(self, job: Job, timeout: float) -> None:
        """Say when a call must end, counted from its arrival. It may be under another limit already."""
        began, limit = self.reactor.seconds(), job.limit
        if limit is not None:
            if limit.seconds == timeout:
                return
            began = job.call.deadline - limit.seconds
            limit.jobs.pop(job, None)
        job.limit = self._limits[timeout] if timeout else None
        force_setattr(job.call, "deadline", began + timeout if timeout else 0.0)

    def cancel(self, job: Job) -> None:
        """Nobody awaits the reply to this job, or reads it, any more."""
        if job.stream is not None:
            job.stream.stopProducing()
            job.executor.cancel(job)
        elif not job.called:
            job.answer = lambda _: None
            self._abandon(job, Reply(b"", 499))

    def _expired(self, job: Job) -> None:
        if job.stream is not None:
            job.stream.cut("no part came, or was read, within the time limit")
            job.executor.cancel(job)
        else:
            error = HTTPError(504, "the call took longer than its time limit")
            self._abandon(job, problem(error, job.call.request_id))

    def _abandon(self, job: Job, reply: Reply) -> None:
        job.called = True
        job.executor.cancel(job)
        self._ended(job, reply)

    def refuse(
        self, error: HTTPError, client: str = "", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Reply:
        """The answer to a request that is too malformed or too large for a call."""
        call = Call("", "", raw_headers=headers, client=client)
        reply = self.marked(call, problem(error, self._prefix + str(next(self._count))))
        for observe in self.observers:
            observe(call, reply)
        return reply

    def marked(self, call: Call, reply: Reply) -> Reply:
        """The reply, as pages of other origins may read it that are named."""
        return reply if self.guard is None or not self.guard.cors else self.guard.mark(call, reply)

    def _ended(self, job: Job, reply: Reply) -> None:
        if reply.traceback:
            reply = self._fault(reply, job.call)
        if type(reply.headers) is list:  # from another process
            reply = msgspec.structs.replace(reply, headers=tuple(map(tuple, reply.headers)))
        reply = self.marked(job.call, reply)
        if job.stream is None:
            self._over(job, reply)
        else:  # each part has as long as the whole of another answer has
            job.stream.ended = partial(self._streamed, job, reply)
            if job.limit is not None:
                job.limit.add(job)
                job.stream.made = partial(job.limit.prolong, job)
        job.answer(reply)

    def _streamed(self, job: Job, reply: Reply) -> None:
        if job.stream.failure:
            self._fault(Reply(b"", 500, traceback=job.stream.failure), job.call)
        self._over(job, reply)

    def _over(self, job: Job, reply: Reply) -> None:
        """Nothing is left to do for a call."""
        if job.limit is not None:
            job.limit.jobs.pop(job, None)
        self.in_flight -= 1
        if self._drained and not self.in_flight:
            self.reactor.callLater(0, self._tell)
        for observe in self.observers:
            observe(job.call, reply)

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


def _copy(call: Call) -> Call:
    """One with groups of its own, where the function sees the call, and could change them."""
    copied: Call = call.__copy__()  # type: ignore[attr-defined]
    if call.handler.call_name:
        force_setattr(copied, "groups", dict(call.groups))
    return copied
