"""What every executor promises, and a call on its way through one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.problem_reply import problem_reply
from twisted_appserver.errors import HTTPError

Answer = Callable[[Call, Reply], None]


class PendingCall(msgspec.Struct, eq=False):
    """
    A call on its way through an executor, with everything that the server keeps about it meanwhile. The
    dispatcher makes it, and the executor calls it back with the reply. A Deferred in its place would cost
    more than most functions.

    @param ended: called once, with the pending call and the reply.
    @param answer: receives the call and the reply in the end; C{ended} calls it.
    @param executor: the executor that has the call; C{None} while credentials are checked.
    @param limit: the L{TimeLimit} that applies to the call, if any.
    @param deadline: when that limit is reached, in seconds since the epoch. Each part of a stream postpones
        it.
    @ivar called: whether the call has its reply or was cancelled. Later replies are ignored.
    @ivar stream: the L{executors.stream.Stream} of a reply that comes in parts.
    @ivar source: the L{executors.parked_generator.Source} of these parts, if threads make them.
    @ivar cost: expected duration in seconds, in executors that plan with it.
    """

    call: Call
    ended: Callable[[PendingCall, Reply], None]
    answer: Answer
    executor: Any = None
    limit: Any = None
    deadline: float = 0.0
    called: bool = False
    stream: Any = None
    source: Any = None
    cost: float = 0.0

    def callback(self, reply: Reply) -> None:
        """Deliver the reply."""
        if not self.called:
            self.called = True
            self.ended(self, reply)

    def begin(self, reply: Reply) -> None:
        """Deliver the beginning of a reply whose body is a L{executors.stream.Stream}."""
        if self.called:
            reply.body.stopProducing()
        else:
            self.stream = reply.body
            if self.call.body:  # It may be large, and the stream may last long.
                self.call = replace(self.call, body=b"")
            self.callback(reply)

    def errback(self, error: HTTPError) -> None:
        """Deliver an error of the executor. A stream that has begun is broken off."""
        if self.stream is not None:
            self.stream.cut(error.detail, problem_reply(error, self.call.request_id))
        else:
            self.callback(problem_reply(error, self.call.request_id))


class IExecutor(Interface):
    """
    A place where calls are performed.

    All methods are called in the reactor's thread, and every Deferred fires there. Calls begin in the order
    in which they were submitted, as soon as a thread or worker is free. No call is performed twice.
    """

    size: int = Attribute("How many calls can run at the same time; 0 if there is no limit.")
    pending: int = Attribute("Calls that were submitted and have not begun.")
    running: int = Attribute(
        "Calls that occupy a thread or worker, abandoned ones included. "
        "A generator occupies no thread or worker while its client is not reading."
    )
    parked: int = Attribute("Generators that wait until their clients read.")
    completed: int = Attribute("Calls that ended with a status below 500.")
    failed: int = Attribute("Calls that ended in any other way.")
    here: bool = Attribute(
        "Optional: C{False} if calls run in other processes; these have their own lifespans."
    )
    reads_bodies: bool = Attribute(
        "Optional: C{True} if functions can read C{Call.stream} while the body arrives."
    )
    now: Any = Attribute(
        "Optional: a function that performs a call without a L{PendingCall}. It saves time if calls end at "
        "once. It returns the reply, or a function that continues the call as a pending call. The "
        "dispatcher calls that function instead of C{submit}."
    )

    kill: Any = Attribute(
        "Optional: a function that kills all worker processes, because the server's process ends at once. It "
        "is called in a signal handler, and nothing is called afterwards."
    )

    def start() -> Deferred[None]:
        """
        Start performing calls. Calls that are submitted before the start is complete wait.

        @return: fires when calls can be performed; fails with L{ConfigurationError} if they never can.
        """

    def submit(pending: PendingCall) -> None:
        """
        Perform a call. Then call L{PendingCall.callback} with the reply, even if the function raised an
        exception, or L{PendingCall.errback} if the executor could not perform the call.
        """

    def cancel(pending: PendingCall, kill: bool = False) -> None:
        """
        Abandon a call, because its reply is no longer wanted. A call that has not begun is dropped, unless a
        worker process has already received it together with quick calls. A running call is abandoned, and its
        thread stays busy until the function returns. A generator that waits for its client is closed.

        @param kill: whether a worker process that runs the call may be killed, because the deadline has
            passed or somebody cancelled the call on purpose. A client that has gone away is no reason to kill
            the process.
        """

    def calls() -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        """Return the calls that run and the calls that wait, in this order."""

    def unready() -> str:
        """Return why no call could begin now, even if no other call waited; empty if a call could begin."""

    def stop() -> Deferred[None]:
        """
        Accept no further calls, and fail the calls in progress with an L{HTTPError} 503. Generators are
        closed.

        @return: fires when no worker process is left. A thread stays busy until its function returns.
        """
