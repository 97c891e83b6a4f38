"""The plugin of TQueueSrv for twistd: C{twistd -n tqueuesrv}."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred

from twisted_appserver.core.application import Application
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError
from twisted_appserver.queue.backends import make_broker, open_store
from twisted_appserver.queue.interface import IBroker
from twisted_appserver.serving.command_options import TableOptions
from twisted_appserver.serving.tap import CommandService
from twisted_appserver.settings import Settings
from twisted_appserver.tqueue.wire import url_patterns


class Options(TableOptions):
    """
    The command line: C{--store}, and the application server's options for listening, limits, access and logs.
    """

    command, program = "tqueuesrv", "twistd tqueuesrv"
    longdesc = (
        "Serves task queues to workers on several hosts. Try it without any option, and then: "
        "tqueue put painter n=1; tqueue get painter"
    )
    omitted = (
        "app",
        "server_type",
        "servers",
        "threads",
        "workers",
        "scheduler",
        "upload",
        "max_pending",
        "timeout",
        "max_requests",
        "max_rss",
        "reload",
        "mcp",
        "store",
    )
    own_defaults = {"port": 8082}
    environment_prefix = "TQUEUESRV_"
    optParameters = [
        [
            "store",
            None,
            "memory:",
            "Where tasks are kept: memory:, sqlite:PATH or postgresql://USER@HOST/DATABASE",
        ]
    ]


class QueueService(CommandService):
    """
    A server with queues. When it stops, it first answers the waiting requests, then closes the store.

    @param store: the place of the tasks, as C{--store} has it.
    """

    command = "tqueuesrv"

    def __init__(self, reactor: Any, settings: Settings, broker: IBroker, store: str = "memory:") -> None:
        self.broker, self.store = broker, store
        patterns = url_patterns(broker=broker, reactor=reactor, max_task=settings.max_body)
        super().__init__(reactor, settings, Application(), Router(patterns), reloadable=False)

    def describe(self) -> str:
        if self.store == "memory:":
            return "TQueueSrv, tasks in memory: they are lost when it ends; --store keeps them"
        return f"TQueueSrv, tasks in {re.sub('//.*@', '//...@', self.store)}"  # no password in the log

    def shown_queues(self) -> tuple[Any, str]:
        return self.broker, ""

    def open(self) -> None:
        self.broker.start()
        super().open()

    def stopService(self) -> Deferred[None]:
        self.broker.stop_waiting()
        return super().stopService().addCallback(lambda _: self.broker.stop())


def makeService(options: Options) -> QueueService:
    """Make the service for a command line."""
    from twisted.internet import reactor

    settings = options.settings_or_exit()
    try:
        service = QueueService(
            reactor, settings, make_broker(reactor, open_store(options["store"])), options["store"]
        )
    except AppserverError as error:
        options.fail(error)
    service.attach_to_twistd(options.parent)
    return service
