"""Variables of the environment that look like options of a command, but have no effect."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from twisted_appserver.closest_name import closest
from twisted_appserver.settings import cli_name

# What Kubernetes puts into the environment of all pods for a Service of this name, apart from NAME_PORT.
SERVICE_VARIABLE = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?")
# The value of NAME_PORT there.
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


def variable_of(prefix: str, option: str) -> str:
    """Return the name of an option's environment variable."""
    return prefix + cli_name(option)[2:].replace("-", "_").upper()


def unknown_variables(environment: Mapping[str, str], prefix: str, known: Collection[str]) -> Iterator[str]:
    """
    Yield a warning for each variable that has the prefix of a command and is none of its options.

    @param prefix: such as C{APPSERVER_}.
    @param known: the variables of the command.
    """
    for name in sorted(environment):
        if not name.startswith(prefix) or name in known:
            continue
        if SERVICE_VARIABLE.fullmatch(name.removeprefix(prefix)):
            continue
        near = closest(name.removeprefix(prefix), [each.removeprefix(prefix) for each in known])
        advice = f"did you mean {prefix}{near}?" if near else "no option has this name"
        yield f"the variable {name} has no effect; {advice}"


def ignored_variables(environment: Mapping[str, str], prefix: str, options: Iterable[str]) -> Iterator[str]:
    """
    Yield a warning for each variable that is an option of a command, or resembles one. This is for programs
    that call C{run_server()}, which reads no variables.

    @param options: the names of all options as keyword arguments.
    """
    known = {variable_of("", each): each for each in options}
    for name in sorted(environment):
        rest = name.removeprefix(prefix)
        if rest == name or SERVICE_VARIABLE.fullmatch(rest) or SERVICE_LINK.match(environment[name]):
            continue
        near = rest if rest in known else closest(rest, known)
        if near:
            yield (
                f"run_server() ignores the variable {name}: pass {known[near]}= instead; "
                "only commands, such as appserver, read options from the environment"
            )
