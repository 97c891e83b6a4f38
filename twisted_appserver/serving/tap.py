"""The C{twistd} command: C{twistd -n appserver}."""

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
from twisted_appserver.serving.daemon import StartReport, make_start_report, remove_pidfile
from twisted_appserver.serving.logs import make_observer
from twisted_appserver.serving.process_exit import EXIT_TIMEOUT, exit_handler
from twisted_appserver.serving.server_process import (
    install_reload_triggers,
    limit_exit_time,
    raise_file_limit,
    take_over,
)
from twisted_appserver.serving.service import AppService
from twisted_appserver.settings import FORKED_SERVER, Settings, cli_name, settings_from_texts

YES, NO = frozenset(("1", "true", "yes", "on")), frozenset(("0", "false", "no", "off", ""))
# The options with which twistd changes its process before it starts the service.
PROCESS_OPTIONS = ("uid", "gid", "chroot", "umask")
# Where and how twistd writes its log. It calls log_observer() without arguments, so they are kept here.
TWISTD_LOG: dict[str, str] = {}


def log_observer() -> Any:
    """Make the log observer that twistd installs."""
    path = TWISTD_LOG["path"]
    return make_observer(LogFile.fromFullPath(path) if path else sys.stdout, TWISTD_LOG["format"])


def _repeatable(option: Field[Any]) -> Callable[[Any, str], None]:
    """Make the method that C{usage.Options} calls for each occurrence of a repeatable option."""

    def add(self: TableOptions, value: str) -> None:
        self.repeated[option.name].append(value)

    add.__doc__ = option.metadata["help"]
    return add


class TableOptions(usage.Options):
    """
    A command line that is made from the table of options.

    @cvar omitted: the names in L{Settings} of the options that this command does not have.
    @cvar own_defaults: the defaults that differ from those in the table, by name.
    @cvar environment_prefix: the prefix of the environment variables from which options are read that the
        command line does not contain.
    """

    synopsis = "[options]"
    omitted: tuple[str, ...] = ()
    own_defaults: Mapping[str, Any] = {}
    environment_prefix = "APPSERVER_"
    table: Sequence[Field[Any]]
    optParameters: list[list[Any]] = []
    optFlags: list[list[Any]] = []

    def __init_subclass__(cls) -> None:
        cls.table = [option for option in fields(Settings) if option.name not in cls.omitted]
        cls.optParameters, cls.optFlags = list(cls.optParameters), list(cls.optFlags)
        for option in cls.table:
            name, text = cli_name(option.name)[2:], option.metadata["help"]
            if option.default == ():
                setattr(cls, "opt_" + name.replace("-", "_"), _repeatable(option))
            elif option.type == "bool":
                cls.optFlags.append([name, None, text])
            else:
                default = cls.own_defaults.get(option.name, option.default)
                cls.optParameters.append([name, None, default, text])

    def __init__(self) -> None:
        self.repeated: dict[str, list[str]] = {
            option.name: [] for option in self.table if option.default == ()
        }
        super().__init__()
        # The environment provides defaults; the command line, which is parsed later, overrides them.
        for option in self.table:
            text = os.environ.get(self.variable(option.name))
            if text is not None and option.name not in self.repeated:
                self[cli_name(option.name)[2:]] = text

    def postOptions(self) -> None:
        """Make twistd write our log format to standard output, and to files if a format was chosen."""
        twistd = self.parent
        if twistd is None or twistd.get("logger") or twistd.get("syslog"):
            return
        path, chosen = twistd.get("logfile") or "", self[cli_name("log_format")[2:]]
        if path in ("", "-") and twistd.get("nodaemon"):
            TWISTD_LOG.update(path="", format=chosen)
        elif chosen:
            TWISTD_LOG.update(path=path or "twistd.log", format=chosen)
        else:
            return
        twistd["logger"] = f"{__name__}.log_observer"

    def settings(self) -> Settings:
        """
        Return the settings from the command line and the environment.

        @raise ConfigurationError: when a value is wrong.
        """
        return settings_from_texts({option.name: self._value(option) for option in self.table})

    def variable(self, name: str) -> str:
        """Return the name of an option's environment variable."""
        return self.environment_prefix + cli_name(name)[2:].replace("-", "_").upper()

    def _value(self, option: Field[Any]) -> Any:
        """Return an option's value from the command line or, if it is not there, from the environment."""
        variable = self.variable(option.name)
        if option.name in self.repeated:
            return self.repeated[option.name] or os.environ.get(variable, "").split()
        value = self[cli_name(option.name)[2:]]
        if option.type != "bool" or not isinstance(value, str):
            return value
        if value.lower() not in YES | NO:
            raise ConfigurationError(f"{variable} must be 1 or 0, not {value!r}")
        return value.lower() in YES


class Options(TableOptions):
    """The command line of the application server."""

    longdesc = (
        "Serves the functions in url_patterns, a table of regular expressions and Python functions. Start it "
        "without options to try it, then run: curl localhost:8080/person/get/123/ or open "
        "http://localhost:8080/-/docs. Options may also be set in the environment, such as APPSERVER_PORT."
    )
    optFlags = [
        ["check", None, "Import the application, check its table, report problems, and exit"],
        ["show-routes", None, "Print the table of routes, and exit"],
    ]


class CommandService(AppService):
    """
    A service that runs as a command. If it fails to start, the command ends with one line on standard error.

    @cvar command: the name of the command, with which that line begins.
    """

    command = "appserver"
    _twistd: Any = None
    _report: StartReport | None = None

    def attach_to_twistd(self, options: Any) -> None:
        """
        Take part in the start and the end of the twistd process.

        @param options: the options of twistd; C{None} if twistd does not run the service.
        """
        self._twistd = options
        self._report = make_start_report(self.command, options)

    def startService(self) -> None:
        raise_file_limit(self._settings)
        try:
            install_reload_triggers(self, self._reactor, self._settings)
            self.open()
        except (AppserverError, CannotListenError) as error:
            self._report_failure(error)
            remove_pidfile(self._twistd)
            sys.exit(1)
        except Exception as error:
            if self._report is not None:
                self._report.problem = f"{type(error).__name__}: {error}"
            raise
        take_over()
        if self._twistd is not None:  # the process runs nothing but this service
            self._reactor.addSystemEventTrigger("after", "shutdown", exit_handler.take_signal, self._reactor)
        self.started.addCallbacks(self._succeeded, self._failed)

    def open(self) -> None:
        """
        Start the service. Subclasses start their own parts first.

        @raise AppserverError: when the service cannot start.
        @raise CannotListenError: when an address is in use.
        """
        super().startService()

    def stopService(self) -> Deferred[None]:
        stopped = super().stopService()
        if self._twistd is not None:  # the process ends with the service
            stopped.addCallback(lambda _: limit_exit_time(self, EXIT_TIMEOUT))
        return stopped

    def _succeeded(self, _: None) -> None:
        if self._report is not None:
            self._report.started()

    def _failed(self, failure: Failure) -> None:
        if self.running:
            self._report_failure(failure.value)
            exit_handler.status = 1
            self._reactor.stop()

    def _report_failure(self, error: BaseException | None) -> None:
        """Print why the start failed, even if twistd has redirected standard error. A daemon logs it too."""
        if self._report is None:
            print(f"{self.command}: {error}", file=sys.__stderr__, flush=True)
        else:
            self._report.problem = str(error)
            self.log.critical("{error}", error=error)


def start_workers_early(
    reactor: Any, options: Options, settings: Settings, application: Application
) -> HeadStart | None:
    """
    Start worker processes that import the application while this process imports it too.

    @return: C{None} if no workers are needed, or if twistd changes its process before it starts the service:
        workers that run already would not take part in that change.
    """
    twistd = options.parent or {"nodaemon": False}
    changes_process = any(twistd.get(name) is not None for name in PROCESS_OPTIONS)
    changes_process |= twistd.get("rundir", ".") != "." or not twistd.get("nodaemon", True)
    only_checks = options["check"] or options["show-routes"] or settings.reload
    if settings.server_type != FORKED_SERVER or only_checks or changes_process:
        return None
    return HeadStart(reactor, application, settings.workers or os.cpu_count() or 1)


def _print(text: str) -> None:
    """Print text. Characters that standard output cannot encode are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def check_summary(router: Router) -> str:
    """Return the last line that C{--check} prints."""
    routes, notes = len(router.handlers), len(router.notes)
    found = f"{notes} note{'s' * (notes != 1)}" if notes else "no problems"
    return f"{routes} route{'s' * (routes != 1)}, {found}"


def makeService(options: Options) -> AppService:
    """Make the service that the command line describes. Ends the process if that is impossible."""
    from twisted.internet import reactor

    try:
        refuse_while_loading("twistd")
        settings = options.settings()
        application = Application.parse(settings.app)
        early_workers = start_workers_early(reactor, options, settings, application)
        router = Router(application.load())
        service = CommandService(reactor, settings, application, router, early_workers)
    except AppserverError as error:
        sys.exit(f"appserver: {error}")
    service.attach_to_twistd(options.parent)
    if options["show-routes"]:
        _print(format_table(router))
    if options["check"]:
        _print("\n".join([*router.notes, check_summary(router)]))
    if options["check"] or options["show-routes"]:
        sys.exit(0)
    return service
