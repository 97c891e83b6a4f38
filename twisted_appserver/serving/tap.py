"""The C{twistd} command: C{twistd -n appserver}."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from glob import glob
from typing import Any, NoReturn

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from twisted_appserver.command_line import INTERRUPTED
from twisted_appserver.core.application import DEFAULT_FILES, EXAMPLE, Application, refuse_while_loading
from twisted_appserver.core.route_table import format_table
from twisted_appserver.core.router import Router
from twisted_appserver.errors import AppserverError
from twisted_appserver.executors.processes.head_start import HeadStart
from twisted_appserver.serving.check import check, load
from twisted_appserver.serving.command_options import (
    START_ERROR,
    StandaloneOptions,
    TableOptions,
    logs_to_terminal,
)
from twisted_appserver.serving.daemon import StartReport, make_start_report, remove_pidfile
from twisted_appserver.serving.endpoints import explain_start_error
from twisted_appserver.serving.file_watcher import prepare_to_watch
from twisted_appserver.serving.process_exit import EXIT_TIMEOUT, exit_handler
from twisted_appserver.serving.reactor_choice import REACTOR, asyncio_by_default, choose_reactor
from twisted_appserver.serving.server_process import (
    handle_stop_signals,
    install_reload_triggers,
    limit_exit_time,
    raise_file_limit,
    take_over,
)
from twisted_appserver.serving.servers.server_start import count_servers
from twisted_appserver.serving.servers.supervisor import Supervisor
from twisted_appserver.serving.service import AppService
from twisted_appserver.settings import FORKED_SERVER, Settings

# The options with which twistd changes its process before it starts the service.
PROCESS_OPTIONS = ("uid", "gid", "chroot", "umask")


class Options(TableOptions):
    """The command line of the application server."""

    synopsis = "[options] [APPLICATION]"
    longdesc = (
        "Serves the functions in url_patterns, a table of regular expressions and Python functions. "
        "APPLICATION is a .py file, a module or module:name; by default urls.py or app.py. To try it, run "
        "appserver --example, then curl localhost:8080/person/get/123/ or open http://localhost:8080/-/docs. "
        "Options may also be set in the environment, such as APPSERVER_PORT."
    )
    optFlags = [
        ["example", None, "Serve the example that comes with this package"],
        ["check", None, "Import the application, check its table, report problems, and exit"],
        ["show-routes", None, "Print the table of routes, and exit"],
    ]

    def parseArgs(self, *arguments: str) -> None:
        """
        Take the application.

        @raise UsageError: when there is more than one.
        """
        super().parseArgs(*arguments[1:])
        for target in arguments:
            if target.isdecimal():
                raise usage.UsageError(f"{target} is not an application; write --port {target}")
            if self.is_given("app"):
                raise usage.UsageError(f"the application is given twice: {target} and --app {self['app']}")
            self["app"] = target

    def application(self, settings: Settings) -> Application:
        """
        Return the application to serve. Only C{twistd appserver} without any application serves the example,
        as it always did.

        @raise UsageError: when no application is given and none is found.
        @raise ConfigurationError: when the given application has the wrong form, or its file does not exist.
        """
        if self["example"]:
            if settings.app:
                raise usage.UsageError(f"--example and the application {settings.app} exclude each other")
            return Application.parse(EXAMPLE)
        if settings.app or any(map(os.path.isfile, DEFAULT_FILES)):
            return Application.parse(settings.app)
        if self["check"] or self["show-routes"] or isinstance(self.parent, StandaloneOptions):
            raise usage.UsageError(_advice_without_application())
        return Application.parse(EXAMPLE)


def _advice_without_application() -> str:
    """Return the message for a command that has no application to serve."""
    found = next(filter(_has_table, sorted(glob("*.py"))), "")
    example = "" if found else ", or try appserver --example"
    return (
        f"no application: {os.getcwd()} contains neither {' nor '.join(DEFAULT_FILES)}; "
        f"name a file or module, such as appserver {found or 'shop.py'}{example}"
    )


def _has_table(path: str) -> bool:
    """Return whether a file seems to define a table of patterns."""
    with suppress(OSError), open(path, errors="replace") as file:
        return any(line.startswith("url_patterns") for line in file)
    return False


class ServerCommand(Service):
    """
    The base of services that run as a command. If a service fails to start, the command ends with one line on
    standard error.

    @cvar command: the name of the command; that line begins with this name.
    """

    command = "appserver"
    log: Logger
    started: Deferred[None]
    on_terminal: bool
    _reactor: Any
    _settings: Settings
    _twistd: Any = None
    _report: StartReport | None = None

    def attach_to_twistd(self, options: Any) -> None:
        """
        Take part in the start and the end of the twistd process.

        @param options: the options of twistd; C{None} if twistd does not run the service.
        """
        self._twistd, self.on_terminal = options, options is not None and logs_to_terminal()
        self._report = make_start_report(self.command, options)

    def startService(self) -> None:
        raise_file_limit(self._settings)
        if self._twistd is not None:  # the process runs only this service
            handle_stop_signals(self, self._reactor, lambda: remove_pidfile(self._twistd))
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
        if self._twistd is not None:
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
        stopped: Any = super().stopService()
        if self._twistd is not None:  # the process ends with the service
            stopped.addCallback(lambda _: limit_exit_time(self, EXIT_TIMEOUT))
        return stopped  # type: ignore[no-any-return]

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
            print(f"{self.command}: {explain_start_error(error)}", file=sys.__stderr__, flush=True)
        else:
            self._report.problem = explain_start_error(error)
            self.log.critical("{error}", error=explain_start_error(error))


class CommandService(ServerCommand, AppService):
    """One server that runs as a command."""


class SupervisorCommand(ServerCommand, Supervisor):
    """Several servers that run as a command, under a supervisor."""


def start_workers_early(options: Options, settings: Settings, application: Application) -> HeadStart | None:
    """
    Start worker processes that import the application while this process imports it too.

    @return: C{None} if no workers are needed, or if twistd changes its process before it starts the service:
        workers that are already running would not be changed.
    """
    twistd = options.parent or {"nodaemon": False}
    changes_process = any(twistd.get(name) is not None for name in PROCESS_OPTIONS)
    changes_process |= twistd.get("rundir", ".") != "." or not twistd.get("nodaemon", True)
    only_checks = options["check"] or options["show-routes"] or settings.reload
    if settings.server_type != FORKED_SERVER or only_checks or changes_process:
        return None
    from twisted.internet import reactor

    return HeadStart(reactor, application, settings.workers or os.cpu_count() or 1)


def _print(text: str) -> None:
    """Print text. Characters that standard output cannot encode are escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding))


def _check(options: Options, settings: Settings) -> NoReturn:
    """Print the problems of the application and the options, and end the process."""
    with asyncio_by_default():
        loaded = load(lambda: options.application(settings))
    choose_reactor(settings, loaded.router)
    from twisted.internet import reactor

    if options["show-routes"]:
        _print(format_table(loaded.router))
    text, passed = check(reactor, settings, loaded)
    _print(options.explain(text))
    sys.exit(0 if passed else START_ERROR)


def _make_supervisor(options: Options, settings: Settings, count: int) -> SupervisorCommand:
    """
    Make the service for several servers. They get the reactor that twistd was given.

    @raise AppserverError: when the servers could not start.
    """
    module = getattr(sys.modules.get(REACTOR), "__module__", "")
    from twisted.internet import reactor

    application = options.application(settings)
    prepare_to_watch(settings)
    return SupervisorCommand(reactor, settings, application, count, module, prints_to_log=True)


def makeService(options: Options) -> ServerCommand:
    """Make the service that the command line describes. Ends the process if that is impossible."""
    settings = options.settings_or_exit()
    try:
        refuse_while_loading("twistd")
        if options["check"]:
            _check(options, settings)
        count = count_servers(settings)
        if count > 1 and not options["show-routes"]:
            supervisor = _make_supervisor(options, settings, count)
            supervisor.attach_to_twistd(options.parent)
            return supervisor
        application = options.application(settings)
        prepare_to_watch(settings)
        with asyncio_by_default():
            early_workers = start_workers_early(options, settings, application)
            router = Router(*application.load_all())
        choose_reactor(settings, router)
        from twisted.internet import reactor

        service = CommandService(reactor, settings, application, router, early_workers)
    except (usage.UsageError, AppserverError) as error:
        options.fail(error)
    except KeyboardInterrupt:  # while the application is imported
        sys.exit(INTERRUPTED)
    service.attach_to_twistd(options.parent)
    if options["show-routes"]:
        _print(format_table(router))
        sys.exit(0)
    return service
