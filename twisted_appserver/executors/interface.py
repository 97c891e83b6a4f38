"""What every executor promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from twisted_appserver.calls import Call, Reply


class Job(Deferred[Reply]):
    """
    A call that an executor has taken, and what fires with its reply.

    @ivar cost: seconds that it is expected to take, where the executor keeps account of that.
    """

    cost = 0.0

    def __init__(self, call: Call, canceller: Callable[[Deferred[Any]], None]) -> None:
        super().__init__(canceller)
        self.call = call


class IExecutor(Interface):
    """
    A place where calls are performed.

    Everything here is called in the reactor's thread, and every Deferred fires there. Calls begin in the
    order in which they were submitted, as far as there are threads or workers. No call is performed twice.
    """

    size: int = Attribute("How many calls it performs at the same time; 0 if that has no bound.")
    pending: int = Attribute("Calls submitted and not begun.")
    running: int = Attribute("Calls begun and not ended, also those whose answer nobody awaits any more.")
    completed: int = Attribute("Calls ended by a reply with a status below 500.")
    failed: int = Attribute("Calls ended in any other way.")

    def start() -> Deferred[None]:
        """
        Begin to take calls; a call submitted earlier waits.

        @return: fires when calls can be performed; fails with L{ConfigurationError} when they never can.
        """

    def submit(call: Call) -> Deferred[Reply]:
        """
        Have a call performed.

        @return: fires with the reply, also where the function raised; fails with L{HTTPError} where the
            executor itself could not perform it. When cancelled, a call that has not begun is dropped. One
            that runs is abandoned: a thread stays busy with it; a worker process is killed if the call's
            deadline has passed.
        """

    def stop() -> Deferred[None]:
        """
        Take no further calls, and give up those that run: their Deferreds fail with L{HTTPError} 503.

        @return: fires when no worker process is left; a thread stays with the call that it runs.
        """
