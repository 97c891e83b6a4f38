"""
The command line of a server, made from the table of options (L{settings}).

Strategy: C{usage.Options} of Twisted parses the words. Options may also stand after the arguments. A command
line that cannot be used ends the process with one line and status 2, before twistd would print its help.
"""

from __future__ import annotations

import getopt
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, NoReturn

from twisted.logger import FilteringLogObserver, LogEvent, LogLevel, PredicateResult
from twisted.python import usage
from twisted.python.logfile import LogFile
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]

from twisted_appserver.command_line import unknown, version_text
from twisted_appserver.errors import ConfigurationError, OptionError
from twisted_appserver.serving.environment import SERVICE_LINK, unknown_variables, variable_of
from twisted_appserver.serving.logs import make_observer
from twisted_appserver.settings import Settings, cli_name, settings_from_texts

START_ERROR = 1  # the exit status of servers that cannot start
USAGE_ERROR = 2  # the exit status of commands that were called wrongly, as with argparse and getopt
SHORT = {"port": "p"}  # the options that have a short form
COMPLETION = "--_shell-completion"  # the last option but one when zsh completes a command line
ONE_DASH = re.compile(r"-[a-z][a-z-]{2,}")
NO_SERVICE_LINKS = "rename the Service, or set enableServiceLinks: false"
YES, NO = frozenset(("1", "true", "yes", "on")), frozenset(("0", "false", "no", "off", ""))
# Where and how twistd writes its log. It calls log_observer() without arguments, so the arguments are kept
# here.
TWISTD_LOG: dict[str, str] = {}


def log_observer() -> Any:
    """Make the log observer that twistd installs. It leaves out the lines that twistd logs about itself."""
    path = TWISTD_LOG["path"]
    observer = make_observer(LogFile.fromFullPath(path) if path else sys.stdout, TWISTD_LOG["format"])
    predicates: Any = [_is_not_about_twistd]
    return FilteringLogObserver(observer, predicates)


def _is_not_about_twistd(event: LogEvent) -> Any:
    """Reject the version of Python and Twisted, the reactor's class and the like, up to level info."""
    ours = not event.get("log_namespace", "").startswith("twisted.scripts._twistd")
    return PredicateResult.maybe if ours or event.get("log_level") != LogLevel.info else PredicateResult.no


def logs_to_terminal() -> bool:
    """Return whether twistd writes a log for people to a terminal."""
    is_ours = TWISTD_LOG.get("path") == ""
    return is_ours and TWISTD_LOG["format"] != "json" and sys.stdout is not None and sys.stdout.isatty()


def _repeatable(option: Field[Any]) -> Callable[[Any, str], None]:
    """Make the method that C{usage.Options} calls for each occurrence of a repeatable option."""

    def add(self: TableOptions, value: str) -> None:
        self.repeated[option.name].append(value)

    add.__doc__ = option.metadata["help"]
    return add


class StandaloneOptions(ServerOptions):
    """
    The options of twistd, for a command that runs only one plugin. There is no search for plugins.

    @cvar plugin: the C{ServiceMaker} of that plugin.
    """

    plugin: Any

    def _getPlugins(self, interface: Any) -> list[Any]:  # type: ignore[override]
        return [self.plugin]


class TableOptions(usage.Options):
    """
    A command line that is made from the table of options.

    @cvar command: the name of the command; its messages begin with this name.
    @cvar program: the command as the user types it.
    @cvar omitted: the names in L{Settings} of the options that this command does not have.
    @cvar own_defaults: defaults that replace the defaults of the table, by name.
    @cvar environment_prefix: the prefix of the environment variables that set options which the command line
        leaves out.
    """

    command = program = "appserver"
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
                default = None if default == "" else default  # the help then shows no default
                cls.optParameters.append([name, SHORT.get(option.name), default, text])

    def __init__(self) -> None:
        self.repeated: dict[str, list[str]] = {
            option.name: [] for option in self.table if option.default == ()
        }
        super().__init__()
        self._environment: dict[str, str] = {}
        # The environment provides defaults; the command line, which is parsed later, overrides them.
        for name in self._names:
            text = os.environ.get(self.variable(name))
            if text is not None and name not in self.repeated:
                self[cli_name(name)[2:]] = self._environment[name] = text

    @property
    def _names(self) -> list[str]:
        """The names of all options that may be set in the environment."""
        table = {cli_name(option.name): option.name for option in self.table}
        own = {f"--{name}": name for name, *_ in self.optParameters}
        return list((own | table).values())

    def opt_version(self) -> None:
        """Print the versions of this package, Twisted and Python, and exit."""
        print(version_text())
        sys.exit(0)

    def opt_h(self) -> None:
        """Display this help and exit."""
        self.opt_help()

    def getSynopsis(self) -> str:
        return f"Usage: {self.program} {self.synopsis}\n"

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse a command line. Ends the process with one line and status 2 if the command line is wrong.

        @param options: the words; C{None} for the command line of the process.
        """
        words = list(sys.argv[1:] if options is None else options)
        try:
            super().parseOptions(words if COMPLETION in words else self._options_first(words))
        except usage.UsageError as error:
            self.fail(error)

    def fail(self, error: object) -> NoReturn:
        """
        Print one line that begins with the name of the command, and end the process: with status 2 if the
        command line or a value in it is wrong, otherwise with status 1.
        """
        status = USAGE_ERROR if isinstance(error, usage.UsageError | OptionError) else START_ERROR
        text = str(error) if isinstance(error, usage.UsageError) else self.explain(error)
        print(f"{self.command}: {text}", file=sys.stderr, flush=True)
        sys.exit(status)

    def explain(self, error: object) -> str:
        """
        Return the message of an error. An option that was set in the environment appears under the name of
        its variable.
        """
        text = str(error)
        for each in self._names:
            name, variable = cli_name(each), self.variable(each)
            if variable in os.environ and not self.is_given(each):
                text = re.sub(rf"{name}(?![\w-])", variable, text)
                if name == "--port" and SERVICE_LINK.match(os.environ[variable]) and variable in text:
                    text += f"; Kubernetes sets it for a Service named {self.command}: {NO_SERVICE_LINKS}"
        return text

    def _options_first(self, words: list[str]) -> list[str]:
        """
        Return the words in the order that C{usage.Options} needs: options, then arguments.

        @raise UsageError: when there is no such option, or its value is missing.
        """
        for word in words[: words.index("--")] if "--" in words else words:
            if ONE_DASH.match(word) and word[1:].partition("=")[0] in self.synonyms:
                raise usage.UsageError(f"unknown option {word}; write it with two dashes: -{word}")
        self._refuse_abbreviations(words)
        try:
            options, arguments = getopt.gnu_getopt(words, self.shortOpt, self.longOpt)
        except getopt.GetoptError as error:
            raise usage.UsageError(self._explain_option(error)) from None
        flat = []
        for name, value in options:
            takes_value = name[:2] != "--" or f"{name[2:]}=" in self.longOpt
            joined = f"{name}={value}" if name[:2] == "--" else name + value
            flat.append(joined if takes_value else name)
        return [*flat, "--", *arguments]

    def _refuse_abbreviations(self, words: list[str]) -> None:
        """
        Check the names of long options: C{getopt} accepts abbreviations, which new options make ambiguous.

        @raise UsageError: when there is no such option.
        """
        rest = iter(words)
        for word in rest:
            name, equals, _ = word[2:].partition("=")
            if word == "--":
                return
            if word.startswith("--") and not {name, f"{name}="} & set(self.longOpt):
                raise usage.UsageError(self._explain_option(getopt.GetoptError("unknown", name)))
            short_value = len(word) == 2 and word[0] == "-" and f"{word[1]}:" in self.shortOpt
            if short_value or (word.startswith("--") and not equals and f"{name}=" in self.longOpt):
                next(rest, None)  # its value

    def _explain_option(self, error: getopt.GetoptError) -> str:
        """Return why an option cannot be used, and what to write instead."""
        name = error.opt
        option = f"-{name}" if len(name) == 1 else f"--{name}"
        if "requires" in error.msg:
            return f"{option} needs a value; see {self.program} --help"
        if "must not" in error.msg:
            return f"{option} takes no value"
        if self.parent is not None and name in self.parent.synonyms:
            meant = f"twistd {option} {self.command}"
            return f"{option} is an option of twistd; write it before the command: {meant}"
        known = [f"--{each.rstrip('=')}" for each in self.longOpt]
        return unknown("option", option, known, self.program)

    def parseArgs(self, *arguments: str) -> None:
        """Refuse arguments. Subclasses take some."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}; see {self.program} --help")

    def postOptions(self) -> None:
        """Make twistd write our log format to standard output, and to files if a format was chosen."""
        twistd = self.parent
        if twistd is None or twistd.get("logger") or twistd.get("syslog"):
            return
        path, chosen = twistd.get("logfile") or "", self[cli_name("log_format")[2:]] or ""
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

    def settings_or_exit(self) -> Settings:
        """
        Return the settings. Ends the process with one line and status 2 if a value is wrong.

        Prints a warning for each variable of the environment that looks like an option.
        """
        known = [self.variable(name) for name in self._names]
        for warning in unknown_variables(os.environ, self.environment_prefix, known):
            print(f"{self.command}: {warning}", file=sys.stderr, flush=True)
        try:
            return self.settings()
        except ConfigurationError as error:
            self.fail(OptionError(str(error)))

    def is_given(self, name: str) -> bool:
        """Return whether the command line contains an option that takes a value."""
        if name in self.repeated:
            return bool(self.repeated[name])
        value = self[cli_name(name)[2:]]
        return value is not None and value is not self._environment.get(name)

    def variable(self, name: str) -> str:
        """Return the name of an option's environment variable."""
        return variable_of(self.environment_prefix, name)

    def _value(self, option: Field[Any]) -> Any:
        """Return an option's value from the command line or, if it is not there, from the environment."""
        variable = self.variable(option.name)
        if option.name in self.repeated:
            return self.repeated[option.name] or os.environ.get(variable, "").split()
        value = self[cli_name(option.name)[2:]]
        if option.type != "bool" or not isinstance(value, str):
            return option.default if value is None else value
        if value.lower() not in YES | NO:
            raise ConfigurationError(f"{variable} must be 1 or 0, not {value!r}")
        return value.lower() in YES
