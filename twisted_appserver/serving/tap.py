"""twistd's view of options and service: C{twistd -n appserver}."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.python import usage
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile

from twisted_appserver.core.application import Application, refuse_while_loading
from twisted_appserver.core.route_table import format_table
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError, ConfigurationError
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.serving.daemon import Report, remove_pidfile, report_for
from twisted_appserver.serving.logs import observer
from twisted_appserver.serving.process import leave, raise_files, reload_when_asked, settle
from twisted_appserver.serving.process_exit import LONGEST, ending
from twisted_appserver.serving.service import AppService
from twisted_appserver.settings import FORKED_SERVER, Settings, cli_name, settings_from

YES, NO = frozenset(("1", "true", "yes", "on")), frozenset(("0", "false", "no", "off", ""))


CHANGES = ("uid", "gid", "chroot", "umask")  # options of twistd, for its process
LOG: dict[str, str] = {}  # where and how twistd shall write it: it knows no more of us than a function's name


def log_observer() -> Any:
    """What writes the log, for twistd."""
    return observer(LogFile.fromFullPath(LOG["name"]) if LOG["name"] else sys.stdout, LOG["kind"])


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
    @cvar prefix: of the variables in the environment that stand for options which are not given.
    """

    synopsis = "[options]"
    omitted: tuple[str, ...] = ()
    presets: Mapping[str, Any] = {}
    prefix = "APPSERVER_"
    table: Sequence[Field[Any]]
    optParameters: list[list[Any]] = []
    optFlags: list[list[Any]] = []

    def __init_subclass__(cls) -> None:
        cls.table = [each for each in fields(Settings) if each.name not in cls.omitted]
        cls.optParameters, cls.optFlags = list(cls.optParameters), list(cls.optFlags)
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
        for each in self.table:  # as defaults, before the command line is read
            text = os.environ.get(self.variable(each.name))
            if text is not None and each.name not in self.many:
                self[cli_name(each.name)[2:]] = text

    def postOptions(self) -> None:
        """Have twistd write the log as we do, where it writes to standard output, or when we are asked to."""
        whole = self.parent
        if whole is None or whole.get("logger") or whole.get("syslog"):
            return
        name, kind = whole.get("logfile") or "", self[cli_name("log_format")[2:]]
        if name in ("", "-") and whole.get("nodaemon"):
            LOG.update(name="", kind=kind)
        elif kind:
            LOG.update(name=name or "twistd.log", kind=kind)
        else:
            return
        whole["logger"] = f"{__name__}.log_observer"

    def settings(self) -> Settings:
        """
        What was given.

        @raise ConfigurationError: when a value is wrong.
        """
        return settings_from({each.name: self._given(each) for each in self.table})

    def variable(self, name: str) -> str:
        """The name of the variable in the environment that stands for an option."""
        return self.prefix + cli_name(name)[2:].replace("-", "_").upper()

    def _given(self, each: Field[Any]) -> Any:
        """What the command line says of an option, or else the environment."""
        if each.name in self.many:
            return self.many[each.name] or os.environ.get(self.variable(each.name), "").split()
        value = self[cli_name(each.name)[2:]]
        if each.type != "bool" or not isinstance(value, str):
            return value
        if value.lower() not in YES | NO:
            raise ConfigurationError(f"{self.variable(each.name)} must be 1 or 0, not {value!r}")
        return value.lower() in YES


class Options(TableOptions):
    """The command line of the application server."""

    longdesc = (
        "Serves the functions that url_patterns lists: regular expressions with named groups, and the "
        "functions that get them. Try it without any option, and then: curl localhost:8080/person/get/123/ "
        "or open http://localhost:8080/-/docs. Every option can be given in the environment too, as "
        "APPSERVER_PORT and so on."
    )
    optFlags = [
        ["check", None, "Import the application, build its table, say what is wrong, and end"],
        ["show-routes", None, "Print the table of patterns, and end"],
    ]


class CommandService(AppService):
    """
    A service whose failure to start ends the command with one line on standard error.

    @cvar command: what the line begins with.
    """

    command = "appserver"
    _twistd: Any = None
    _report: Report | None = None

    def under(self, twistd: Any) -> None:
        """
        Take part in how twistd starts and ends its process.

        @param twistd: its options; C{None} outside of it.
        """
        self._twistd = twistd
        self._report = report_for(self.command, twistd)

    def startService(self) -> None:
        raise_files(self._settings)
        try:
            reload_when_asked(self, self._reactor, self._settings)
            self.open()
        except (AppserverError, CannotListenError) as error:
            self._say(error)
            remove_pidfile(self._twistd)
            sys.exit(1)
        except Exception as error:
            if self._report is not None:
                self._report.problem = f"{type(error).__name__}: {error}"
            raise
        settle()
        if self._twistd is not None:  # the process is ours
            self._reactor.addSystemEventTrigger("after", "shutdown", ending.take_signal, self._reactor)
        self.started.addCallbacks(self._succeeded, self._failed)

    def open(self) -> None:
        """
        Start.

        @raise AppserverError: when that cannot be.
        @raise CannotListenError: when an address is taken.
        """
        super().startService()

    def stopService(self) -> Deferred[None]:
        stopped = super().stopService()
        if self._twistd is not None:  # the process ends too
            stopped.addCallback(lambda _: leave(self, LONGEST))
        return stopped

    def _succeeded(self, _: None) -> None:
        if self._report is not None:
            self._report.started()

    def _failed(self, failure: Failure) -> None:
        if self.running:
            self._say(failure.value)
            ending.status = 1
            self._reactor.stop()

    def _say(self, error: BaseException | None) -> None:
        """To where standard error was before twistd made it part of its log, or to the shell and the log."""
        if self._report is None:
            print(f"{self.command}: {error}", file=sys.__stderr__, flush=True)
        else:
            self._report.problem = str(error)
            self.log.critical("{error}", error=error)


def head_start(
    reactor: Any, options: Options, settings: Settings, application: Application
) -> HeadStart | None:
    """
    Let worker processes import the application while this process does, if they will be needed and twistd
    does not change the process before the service starts.
    """
    whole = options.parent or {"nodaemon": False}
    changed = (
        any(whole[name] is not None for name in CHANGES if name in whole) or whole.get("rundir", ".") != "."
    )
    only_checks = options["check"] or options["show-routes"] or settings.reload
    if settings.server_type != FORKED_SERVER or only_checks or changed or not whole.get("nodaemon", True):
        return None
    return HeadStart(reactor, application, settings.workers or os.cpu_count() or 1)


def summary(router: Router) -> str:
    """The last line of C{--check}."""
    routes, notes = len(router.handlers), len(router.notes)
    found = f"{notes} note{'s' * (notes != 1)}" if notes else "nothing wrong"
    return f"{routes} route{'s' * (routes != 1)}, {found}"


def makeService(options: Options) -> AppService:
    """The service that the command line asks for."""
    from twisted.internet import reactor

    try:
        refuse_while_loading("twistd")
        settings = options.settings()
        application = Application.parse(settings.app)
        early = head_start(reactor, options, settings, application)
        router = Router(application.load())
        service = CommandService(reactor, settings, application, router, early)
    except AppserverError as error:
        sys.exit(f"appserver: {error}")
    service.under(options.parent)
    if options["show-routes"]:
        print(format_table(router))
    if options["check"]:
        print("\n".join([*router.notes, summary(router)]))
    if options["check"] or options["show-routes"]:
        sys.exit(0)
    return service
