"""What every executor promises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.perform import problem
from twisted_appserver.errors import HTTPError

Answer = Callable[[Call, Reply], None]


class PendingCall(msgspec.Struct, eq=False):
    """
    A call on its way, that is not over at once. The dispatcher makes it, an executor takes it and calls it
    back with the reply. What a Deferred would do for it costs more than most functions.

    @param ended: told the job and its reply, once.
    @param answer: what C{ended} hands the call and its reply on to.
    @ivar called: whether it has its reply, or nobody awaits that any more; later ones are ignored.
    @ivar executor: what took it; set by the dispatcher, like C{limit}, the L{TimeLimit} that it is under.
    @ivar stream: the L{executors.stream.Stream} of an answer that comes in parts.
    @ivar source: the L{executors.parked_generator.Source} of these parts, where they are made in threads.
    @ivar cost: seconds that it is expected to take, where the executor keeps account of that.
    """

    call: Call
    ended: Callable[[PendingCall, Reply], None]
    answer: Answer
    called: bool = False
    executor: Any = None
    limit: Any = None
    stream: Any = None
    source: Any = None
    cost: float = 0.0

    def callback(self, reply: Reply) -> None:
        if not self.called:
            self.called = True
            self.ended(self, reply)

    def begin(self, reply: Reply) -> None:
        """The reply begins, and its body is a L{executors.stream.Stream}."""
        if self.called:
            reply.body.stopProducing()
        else:
            self.stream = reply.body
            if self.call.body:  # which may be large, and the answer long
                self.call = replace(self.call, body=b"")
            self.callback(reply)

    def errback(self, error: HTTPError) -> None:
        """The executor could not perform it, or not to its end."""
        if self.stream is not None:
            self.stream.cut(error.detail, problem(error, self.call.request_id))
        else:
            self.callback(problem(error, self.call.request_id))


class IExecutor(Interface):
    """
    A place where calls are performed.

    Everything here is called in the reactor's thread, and every Deferred fires there. Calls begin in the
    order in which they were submitted, as far as there are threads or workers. No call is performed twice.
    """

    size: int = Attribute("How many calls it performs at the same time; 0 if that has no bound.")
    pending: int = Attribute("Calls submitted and not begun.")
    running: int = Attribute(
        "Calls that occupy a thread or worker, also those whose answer nobody awaits any more. "
        "A generator does not while its client does not read."
    )
    parked: int = Attribute("Generators that wait for their clients to read.")
    completed: int = Attribute("Calls ended by a reply with a status below 500.")
    failed: int = Attribute("Calls ended in any other way.")

    def start() -> Deferred[None]:
        """
        Begin to take calls; a call submitted earlier waits.

        @return: fires when calls can be performed; fails with L{ConfigurationError} when they never can.
        """

    def submit(job: PendingCall) -> None:
        """
        Have a call performed, and the job called back in the reactor's thread with the reply, also where the
        function raised; or L{PendingCall.errback} called where the executor itself could not perform it.
        """

    def cancel(job: PendingCall) -> None:
        """
        Nobody awaits the reply any more. A call that has not begun is dropped, but for one that a worker has
        been given already behind quick ones. One that runs is abandoned: a
        thread stays busy with it; a worker process is killed if the call's deadline has passed. A generator
        that waits for its client is closed.
        """

    def calls() -> tuple[Sequence[PendingCall], Sequence[PendingCall]]:
        """Those that run, and those that wait, in this order."""

    def unready() -> str:
        """Why no call would begin now, however few wait; empty if one would."""

    def stop() -> Deferred[None]:
        """
        Take no further calls, and give up those that run with a L{HTTPError} 503. Generators are closed.

        @return: fires when no worker process is left; a thread stays with the call that it runs.
        """
