"""twistd's view of options and service: C{twistd -n appserver}."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.python import usage
from twisted.python.failure import Failure

from twisted_appserver.application import Application, refuse_while_loading
from twisted_appserver.errors import AppserverError
from twisted_appserver.options import Settings, cli_name, settings_from
from twisted_appserver.routing import Router
from twisted_appserver.service import AppService


def _repeatable(each: Field[Any]) -> Callable[[Any, str], None]:
    def add(self: Options, value: str) -> None:
        self.many[each.name].append(value)

    add.__doc__ = each.metadata["help"]
    return add


class Options(usage.Options):
    """The command line, made from the table of options."""

    synopsis = "[options]"
    longdesc = (
        "Serves the functions that url_patterns lists: regular expressions with named groups, and the "
        "functions that get them. Try it without any option, and then: curl localhost:8080/person/get/123/"
    )
    _fields = [(each, cli_name(each.name)[2:]) for each in fields(Settings)]
    optParameters = [
        [name, None, each.default, each.metadata["help"]]
        for each, name in _fields
        if each.type != "bool" and each.default != ()
    ]
    optFlags = [[name, None, each.metadata["help"]] for each, name in _fields if each.type == "bool"]
    for _each, _name in _fields:
        if _each.default == ():
            locals()["opt_" + _name.replace("-", "_")] = _repeatable(_each)

    def __init__(self) -> None:
        self.many: dict[str, list[str]] = {each.name: [] for each, _ in self._fields if each.default == ()}
        super().__init__()

    def texts(self) -> dict[str, Any]:
        """What was given, by the names of L{Settings}."""
        single = {each.name: self[name] for each, name in self._fields if each.name not in self.many}
        return {**single, **self.many}


class CommandService(AppService):
    """A service whose failure to start ends the command with one line on standard error."""

    def startService(self) -> None:
        try:
            super().startService()
        except (AppserverError, CannotListenError) as error:
            _say(error)
            sys.exit(1)
        self.started.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if self.running:
            _say(failure.value)
            atexit.register(os._exit, 1)  # twistd knows no other way to a status once its reactor runs
            self._reactor.stop()


def _say(error: BaseException | None) -> None:
    """To where standard error was before twistd made it part of its log."""
    print(f"appserver: {error}", file=sys.__stderr__, flush=True)


def makeService(options: Options) -> AppService:
    """The service that the command line asks for."""
    from twisted.internet import reactor

    try:
        refuse_while_loading("twistd")
        settings = settings_from(options.texts())
        application = Application.parse(settings.app)
        return CommandService(reactor, settings, application, Router(application.load()))
    except AppserverError as error:
        sys.exit(f"appserver: {error}")
