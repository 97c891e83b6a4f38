"""twistd's view of options and service: C{twistd -n appserver}."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.python import usage
from twisted.python.failure import Failure

from twisted_appserver.application import Application, refuse_while_loading
from twisted_appserver.errors import AppserverError
from twisted_appserver.options import Settings, cli_name, settings_from
from twisted_appserver.program import leave, raise_files, reload_on_hangup
from twisted_appserver.routing import Router
from twisted_appserver.service import AppService


def _repeatable(each: Field[Any]) -> Callable[[Any, str], None]:
    def add(self: TableOptions, value: str) -> None:
        self.many[each.name].append(value)

    add.__doc__ = each.metadata["help"]
    return add


class TableOptions(usage.Options):
    """
    A command line, made from the table of options.

    @cvar omitted: the names in L{Settings} of those that this command does not have.
    @cvar presets: by name, those that are not the table's.
    """

    synopsis = "[options]"
    omitted: tuple[str, ...] = ()
    presets: Mapping[str, Any] = {}
    table: Sequence[Field[Any]]
    optParameters: list[list[Any]] = []
    optFlags: list[list[Any]] = []

    def __init_subclass__(cls) -> None:
        cls.table = [each for each in fields(Settings) if each.name not in cls.omitted]
        cls.optParameters, cls.optFlags = list(cls.optParameters), []
        for each in cls.table:
            name, text = cli_name(each.name)[2:], each.metadata["help"]
            if each.default == ():
                setattr(cls, "opt_" + name.replace("-", "_"), _repeatable(each))
            elif each.type == "bool":
                cls.optFlags.append([name, None, text])
            else:
                cls.optParameters.append([name, None, cls.presets.get(each.name, each.default), text])

    def __init__(self) -> None:
        self.many: dict[str, list[str]] = {each.name: [] for each in self.table if each.default == ()}
        super().__init__()

    def settings(self) -> Settings:
        """
        What was given.

        @raise ConfigurationError: when a value is wrong.
        """
        names = (each.name for each in self.table if each.name not in self.many)
        return settings_from({name: self[cli_name(name)[2:]] for name in names} | self.many)


class Options(TableOptions):
    """The command line of the application server."""

    longdesc = (
        "Serves the functions that url_patterns lists: regular expressions with named groups, and the "
        "functions that get them. Try it without any option, and then: curl localhost:8080/person/get/123/"
    )


class CommandService(AppService):
    """
    A service whose failure to start ends the command with one line on standard error.

    @cvar command: what the line begins with.
    """

    command = "appserver"

    def startService(self) -> None:
        raise_files(self._settings)
        reload_on_hangup(self, self._reactor)
        try:
            self.open()
        except (AppserverError, CannotListenError) as error:
            self._say(error)
            sys.exit(1)
        self.started.addErrback(self._failed)

    def open(self) -> None:
        """
        Start.

        @raise AppserverError: when that cannot be.
        @raise CannotListenError: when an address is taken.
        """
        super().startService()

    def stopService(self) -> Deferred[None]:
        return super().stopService().addCallback(lambda _: leave(self))

    def _failed(self, failure: Failure) -> None:
        if self.running:
            self._say(failure.value)
            atexit.register(os._exit, 1)  # twistd knows no other way to a status once its reactor runs
            self._reactor.stop()

    def _say(self, error: BaseException | None) -> None:
        """To where standard error was before twistd made it part of its log."""
        print(f"{self.command}: {error}", file=sys.__stderr__, flush=True)


def makeService(options: Options) -> AppService:
    """The service that the command line asks for."""
    from twisted.internet import reactor

    try:
        refuse_while_loading("twistd")
        settings = options.settings()
        application = Application.parse(settings.app)
        return CommandService(reactor, settings, application, Router(application.load()))
    except AppserverError as error:
        sys.exit(f"appserver: {error}")
