"""
The table of options. The command line, the environment variables and the keyword arguments are made from it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from ipaddress import ip_address
from typing import Any, Literal, get_type_hints

import msgspec

from twisted_appserver.closest_name import closest
from twisted_appserver.errors import ConfigurationError

THREADED_SERVER = "threaded"
FORKED_SERVER = "forked"
CLUSTER_SERVER = "cluster"
LOOPBACK = "127.0.0.1"
MEMORY = "memory:"
CHANNELS = ("llhttp", "twisted")
CHOICES = {
    "server_type": (THREADED_SERVER, FORKED_SERVER, CLUSTER_SERVER),
    "log_format": ("", "text", "json"),
    "log_requests": ("auto", "always", "never"),
    "channel": CHANNELS,
}
TYPE_NAMES = {
    "int": "an integer",
    "int | None": "an integer",
    "int | Literal['auto']": "an integer or auto",
    "float": "a number",
    "str": "a string",
    "str | None": "a string",
    "bool": "True or False",
    "tuple[str, ...]": "a tuple of strings",
}


def _option(default: Any, metavar: str, help: str, minimum: int | None = None) -> Any:
    """
    @param metavar: the name of the value in the output of C{--help}.
    @param minimum: the smallest value that is allowed; C{None} for options that are not numbers.
    """
    return field(default=default, metadata={"metavar": metavar, "help": help, "minimum": minimum})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    Hold the value of every option, under its name as a keyword argument.

    The annotation is the type to which text from the command line is converted. An option whose type is a
    tuple may be given several times; a C{bool} takes no value.

    @raise ConfigurationError: when a value has the wrong type or is out of range.
    """

    port: int = _option(8080, "N", "Listen on this TCP port; 0 picks a free port", 0)
    host: str = _option(
        LOOPBACK, "ADDRESS", "Listen on this IP address, such as ::1, or 0.0.0.0 for all of this machine"
    )
    listen: tuple[str, ...] = _option(
        (),
        "ENDPOINT",
        "Listen on this Twisted endpoint instead, such as tcp:8080 or unix:/run/app.sock; repeatable",
    )
    app: str | None = _option(
        None,
        "TARGET",
        "The application, if no argument names it: a .py file, a module, or module:name [urls.py or app.py]",
    )
    server_type: str = _option(
        THREADED_SERVER,
        "TYPE",
        "Where functions run: threaded, forked (worker processes) or cluster (Dask)",
    )
    servers: int | Literal["auto"] = _option(
        1, "N", "Number of server processes that share the port; auto for one for each available core", 1
    )
    threads: int = _option(10, "N", "Number of threads that run functions", 1)
    workers: int | None = _option(
        None, "N", "Number of worker processes, or of Dask workers on this machine [one for each core]", 1
    )
    scheduler: str = _option(
        "", "ADDRESS", "Address of the Dask scheduler, such as tcp://host:8786 [start one on this machine]"
    )
    upload: bool = _option(False, "", "Send the application's file to the Dask workers")
    timeout: float = _option(
        60.0, "S", "Time limit for a call in seconds, counted from its arrival; 0 for no limit", 0
    )
    graceful_timeout: float = _option(30.0, "S", "Seconds to wait for running calls when the server stops", 0)
    max_pending: int = _option(
        1000, "N", "Maximum number of calls waiting for a thread or worker; further calls get 503", 1
    )
    max_body: int = _option(1024 * 1024, "BYTES", "Maximum size of a request body; a larger one gets 413", 0)
    max_bodies: int = _option(
        256 * 1024 * 1024,
        "BYTES",
        "Maximum memory for all incomplete requests together; further ones get 503",
        0,
    )
    compress: int = _option(
        0, "BYTES", "Compress responses from this size on, if the client accepts it; 0 for never", 0
    )
    max_connections: int = _option(
        10000, "N", "Maximum number of open connections; further ones wait until one is closed", 1
    )
    header_timeout: float = _option(
        10.0, "S", "Seconds to receive the headers of a request, counted from its first byte", 0
    )
    idle_timeout: float = _option(
        60.0, "S", "Close a connection after this many seconds without a request; 0 for never", 0
    )
    max_requests: int = _option(
        0, "N", "Replace a worker process, or one of several servers, after about N calls; 0 for never", 0
    )
    max_rss: int = _option(
        0,
        "BYTES",
        "Replace a worker process, or one of several servers, when its memory exceeds this; 0 for never",
        0,
    )
    allow_host: tuple[str, ...] = _option(
        (), "NAME", "Accept requests for this host name, in addition to localhost; repeatable"
    )
    allow_origin: tuple[str, ...] = _option(
        (), "ORIGIN", "Allow web pages of this origin to call the service (CORS); repeatable"
    )
    token_file: str | None = _option(
        None,
        "FILE",
        "Require the token in this file: Authorization: Bearer TOKEN [no token is required]",
    )
    auth: tuple[str, ...] = _option(
        (),
        "CHECKER",
        "Require a name and password: hashed:FILE, or a checker from twistd --help-auth; repeatable",
    )
    insecure: bool = _option(False, "", "Allow calls from other machines without authentication")
    proxied: tuple[str, ...] = _option(
        (),
        "ADDRESS",
        "Trust X-Forwarded-For and Forwarded from this proxy: an address, a network or unix; repeatable",
    )
    store: str = _option(
        MEMORY,
        "STORE",
        "Where jobs are kept: memory:, sqlite:PATH or postgresql://USER@HOST/DATABASE",
    )
    max_jobs: int = _option(1000, "N", "Maximum number of jobs kept, finished ones included", 1)
    max_job_bytes: int = _option(
        64 * 1024 * 1024,
        "BYTES",
        "Maximum memory for the results of all jobs; old results make room, and a larger result fails",
        0,
    )
    job_age: float = _option(3600.0, "S", "Seconds to keep a finished job", 0)
    no_admin: bool = _option(False, "", "Serve no pages, probes and jobs under /-/, and follow no schedules")
    mcp: bool = _option(
        False, "", "Let AI assistants call all functions as tools at /-/mcp (Model Context Protocol)"
    )
    channel: str = _option("llhttp", "NAME", "HTTP parser: llhttp, or twisted for the parser of twisted.web")
    access_log: str | None = _option(
        None,
        "FILE",
        "Write one line per request to this file, in the combined log format; - for standard output",
    )
    log_format: str = _option(
        "", "FORMAT", "Format of the log: text, or json for JSON lines [text on a terminal, otherwise json]"
    )
    log_requests: str = _option(
        "auto", "WHEN", "Log requests: auto (if the log is on a terminal), always or never"
    )
    reload: bool = _option(
        False, "", "Reload the application when a file is saved; for development only (extra reload)"
    )
    display_tracebacks: bool = _option(
        False, "", "Send clients the traceback of a function that failed; for development only"
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
                object.__setattr__(self, option.name, value)
            _check(option, value)
        if self.token_file == "":  # an empty name would switch authentication off
            raise ConfigurationError("--token-file must name a file; omit it if no token is required")
        if self.no_admin and self.store != MEMORY:
            raise ConfigurationError("--store has no effect with --no-admin, which switches jobs off")
        if self.no_admin and self.mcp:
            raise ConfigurationError("--mcp has no effect with --no-admin, which switches /-/mcp off")
        _check_host(self.host, self.listen)
        if self.port > 65535:
            raise ConfigurationError(f"--port must be at most 65535, not {self.port}")


def cli_name(name: str) -> str:
    """Return the name of an option on the command line."""
    return "--" + {"server_type": "type"}.get(name, name).replace("_", "-")


def _check_host(host: str, listen: tuple[str, ...]) -> None:
    """
    @raise ConfigurationError: when the host is not an IP address, or is given together with an endpoint.
    """
    try:
        ip_address(host)
    except ValueError:
        meant = LOOPBACK if host == "localhost" else "0.0.0.0 for all addresses of this machine"
        raise ConfigurationError(f"--host must be an IP address, not {host!r}; write {meant}") from None
    if listen and host != LOOPBACK:
        raise ConfigurationError(f"--host {host} has no effect on --listen; write interface= in the endpoint")


OPTION_TYPES = get_type_hints(Settings)
METAVARS = {option.name: option.metadata["metavar"] for option in fields(Settings)}


def _check(option: Field[Any], value: Any) -> None:
    """
    @raise ConfigurationError: when the value has the wrong type, is not one of the choices, or is too small.
    """
    name = cli_name(option.name)
    if option.default == () and isinstance(value, str):
        raise ConfigurationError(f"{option.name} must be a tuple such as ({value!r},), not {value!r}")
    _convert(option.name, value)
    choices = CHOICES.get(option.name)
    if choices is not None and value not in choices:
        allowed = " or ".join(filter(None, choices))
        raise ConfigurationError(f"{name} must be {allowed}, not {value!r}")
    minimum = option.metadata["minimum"]
    if minimum is None or not isinstance(value, int | float):
        return
    if not value < float("inf"):  # true for NaN too
        raise ConfigurationError(f"{name} must be a finite number, not {value}")
    if value < minimum:
        raise ConfigurationError(f"{name} must be at least {minimum}, not {value}")


def _convert(name: str, value: Any, strict: bool = True) -> Any:
    """
    Return the value of an option, converted to its type.

    @param strict: if false, text is converted to numbers and booleans too.
    @raise ConfigurationError: when the value cannot be converted.
    """
    try:
        return msgspec.convert(value, OPTION_TYPES[name], strict=strict)
    except msgspec.ValidationError:
        expected = TYPE_NAMES[Settings.__annotations__[name]]
        if METAVARS[name] == "BYTES":
            expected = "a number of bytes, such as 1048576 for 1 MiB"
        raise ConfigurationError(f"{cli_name(name)} must be {expected}, not {value!r}") from None


def settings_from_keywords(**options: Any) -> Settings:
    """
    Make settings from keyword arguments.

    @raise ConfigurationError: when an option does not exist, or its value is wrong.
    """
    for name in options.keys() - OPTION_TYPES.keys():
        keywords = [each for each in OPTION_TYPES if cli_name(each) == f"--{name}"]
        hint = f"; use {keywords[0]}, the keyword argument for --{name}" if keywords else ""
        if not hint and (near := closest(name, OPTION_TYPES)):
            hint = f"; did you mean {near!r}?"
        hint = hint or f"; use one of {', '.join(OPTION_TYPES)}"
        raise ConfigurationError(f"unknown option {name!r}{hint}")
    return Settings(**options)


def settings_from_texts(texts: Mapping[str, Any]) -> Settings:
    """
    Make settings from the values of a command line: texts, sequences of texts, or booleans.

    @raise ConfigurationError: when a value cannot be converted to the type of its option.
    """
    return Settings(**{name: _convert(name, text, strict=False) for name, text in texts.items()})
