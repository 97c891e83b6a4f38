"""twistd's view of TQueueSrv: C{twistd -n tqueuesrv}."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.python import usage

from twisted_appserver.application import Application
from twisted_appserver.errors import AppserverError, ConfigurationError
from twisted_appserver.options import Settings, cli_name, settings_from
from twisted_appserver.routing import Router
from twisted_appserver.service import AppService
from twisted_appserver.tqueue.broker import Broker
from twisted_appserver.tqueue.patterns import url_patterns
from twisted_appserver.tqueue.stores import open_store

PORT = 8082
OF_FUNCTIONS = ("app", "server_type", "threads", "workers", "max_pending", "timeout", "reload")


def _repeatable(each: Field[Any]) -> Callable[[Any, str], None]:
    def add(self: Options, value: str) -> None:
        self.many[each.name].append(value)

    add.__doc__ = each.metadata["help"]
    return add


class Options(usage.Options):
    """
    The command line: C{--store}, and those of the application server's options that concern listening,
    limits, access and logs.
    """

    synopsis = "[options]"
    longdesc = (
        "Serves task queues to workers on several hosts. Try it without any option, and then: "
        "curl -d n=1 localhost:8082/painter/put/; curl localhost:8082/painter/get/"
    )
    _fields = [(each, cli_name(each.name)[2:]) for each in fields(Settings) if each.name not in OF_FUNCTIONS]
    optParameters: list[list[Any]] = [
        ["store", None, "memory:", "Where tasks are kept: memory: or sqlite:PATH"]
    ]
    optFlags = [[name, None, each.metadata["help"]] for each, name in _fields if each.type == "bool"]
    for _each, _name in _fields:
        if _each.default == ():
            locals()["opt_" + _name.replace("-", "_")] = _repeatable(_each)
        elif _each.type != "bool":
            _default = PORT if _name == "port" else _each.default
            optParameters.append([_name, None, _default, _each.metadata["help"]])

    def __init__(self) -> None:
        self.many: dict[str, list[str]] = {each.name: [] for each, _ in self._fields if each.default == ()}
        super().__init__()

    def settings(self) -> Settings:
        """
        @raise ConfigurationError: when a value is wrong.
        """
        single = {each.name: self[name] for each, name in self._fields if each.name not in self.many}
        return settings_from({**single, **self.many})


class QueueService(AppService):
    """A server with queues. When stopped it first sends those away who wait, then closes the store."""

    def __init__(self, reactor: Any, settings: Settings, broker: Broker) -> None:
        self.broker = broker
        patterns = url_patterns(broker=broker, reactor=reactor, max_task=settings.max_body)
        super().__init__(reactor, settings, Application(), Router(patterns))

    def startService(self) -> None:
        try:
            self.broker.start()
            super().startService()
        except (CannotListenError, ConfigurationError) as error:
            # To where standard error was before twistd made it part of its log.
            print(f"tqueuesrv: {error}", file=sys.__stderr__, flush=True)
            sys.exit(1)

    def stopService(self) -> Deferred[None]:
        self.broker.stop_waiting()
        return super().stopService().addCallback(lambda _: self.broker.stop())


def makeService(options: Options) -> QueueService:
    """The service that the command line asks for."""
    from twisted.internet import reactor

    try:
        return QueueService(reactor, options.settings(), Broker(reactor, open_store(options["store"])))
    except AppserverError as error:
        sys.exit(f"tqueuesrv: {error}")
