"""One table of options: the command line and the keyword arguments are made from it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, get_type_hints

import msgspec

from twisted_appserver.errors import ConfigurationError

THREADED_SERVER = "threaded"
FORKED_SERVER = "forked"
CLUSTER_SERVER = "cluster"
TYPES = (THREADED_SERVER, FORKED_SERVER, CLUSTER_SERVER)
FORMATS = ("", "text", "json")
CHANNELS = ("llhttp", "twisted")


def _option(default: Any, metavar: str, help: str) -> Any:
    return field(default=default, metadata={"metavar": metavar, "help": help})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """
    Every option of a service, by the name that it has as a keyword argument.

    The annotation is the type that a text from the command line is converted to; a tuple may be given
    several times; a C{bool} takes no value.
    """

    port: int = _option(8080, "N", "Listen on this TCP port of the loopback interface; 0 for any free one")
    listen: tuple[str, ...] = _option(
        (),
        "ENDPOINT",
        "Listen on this Twisted endpoint instead, like tcp:8080 or unix:/run/app.sock; repeatable",
    )
    app: str | None = _option(
        None, "TARGET", "The application: module, module:name or a .py file [urls.py, app.py, or an example]"
    )
    server_type: str = _option(
        THREADED_SERVER,
        "TYPE",
        "Where functions run: threaded, forked (worker processes) or cluster (Dask)",
    )
    threads: int = _option(10, "N", "How many threads, for the threaded type")
    workers: int | None = _option(
        None,
        "N",
        "How many worker processes, also of a cluster of our own [one for each core]",
    )
    scheduler: str = _option(
        "", "ADDRESS", "Of the Dask cluster, like tcp://host:8786 [a cluster on this machine is started]"
    )
    upload: bool = _option(False, "", "Send the application's file to the workers of the Dask cluster")
    timeout: float = _option(60.0, "S", "Seconds for one call, counted from its arrival; 0 for no limit")
    graceful_timeout: float = _option(30.0, "S", "Seconds that a stop waits for running calls")
    max_pending: int = _option(1000, "N", "Calls that may wait for a thread or worker; further ones get 503")
    max_body: int = _option(1024 * 1024, "BYTES", "The longest body of a request; a longer one gets 413")
    max_bodies: int = _option(
        256 * 1024 * 1024,
        "BYTES",
        "Memory for all requests together that have not arrived completely; further ones get 503",
    )
    max_connections: int = _option(10000, "N", "Connections open at the same time; no more are accepted")
    header_timeout: float = _option(
        10.0, "S", "Seconds from the first byte of a request to the end of its headers"
    )
    idle_timeout: float = _option(
        60.0, "S", "Seconds that a connection may stay open without a request; 0 for no limit"
    )
    max_requests: int = _option(
        0, "N", "Replace a worker process after so many calls, a few more; 0 for never"
    )
    max_rss: int = _option(
        0, "BYTES", "Replace a worker process whose resident memory has grown above this; 0 for never"
    )
    allow_host: tuple[str, ...] = _option(
        (), "NAME", "Answer to this host name too, besides loopback's; repeatable"
    )
    allow_origin: tuple[str, ...] = _option((), "ORIGIN", "Let web pages of this origin call; repeatable")
    token_file: str | None = _option(
        None, "FILE", "Ask every request for the token in this file: Authorization: Bearer TOKEN [ask nobody]"
    )
    auth: tuple[str, ...] = _option(
        (), "CHECKER", "Ask for a name and password: hashed:FILE, or as twistd --help-auth says; repeatable"
    )
    insecure: bool = _option(False, "", "Let anybody call who can reach the server, also from other machines")
    proxied: tuple[str, ...] = _option(
        (), "ADDRESS", "Believe the proxy at this address or network, or unix, about its clients; repeatable"
    )
    max_jobs: int = _option(
        1000,
        "N",
        "Calls that may be jobs at the same time (Prefer: respond-async), those that are over included",
    )
    max_job_bytes: int = _option(
        64 * 1024 * 1024,
        "BYTES",
        "Memory for the results of all jobs; the oldest make room, and a larger one fails",
    )
    job_age: float = _option(3600.0, "S", "Seconds for which a job that is over is kept")
    no_admin: bool = _option(False, "", "Without the pages, probes and jobs under /-/")
    channel: str = _option(
        "llhttp", "NAME", "Who parses HTTP: llhttp, or twisted for twisted.web's own channel"
    )
    access_log: str | None = _option(
        None, "FILE", "Write a line for each request, in the combined format, to this file; - for stdout"
    )
    log_format: str = _option(
        "",
        "FORMAT",
        "How the log is written: text, or json for lines of JSON [text on a terminal, else json]",
    )
    reload: bool = _option(False, "", "Serve code as soon as it is saved: for development only")
    display_tracebacks: bool = _option(False, "", "Show the client the traceback of a function that failed")

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.default == () and isinstance(value, str):
                raise ConfigurationError(f"{each.name} must be a tuple like ({value!r},), not {value!r}")
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
                object.__setattr__(self, each.name, value)
            _convert(each.name, value)
        if self.server_type not in TYPES:
            raise ConfigurationError(f"the type must be {' or '.join(TYPES)}, not {self.server_type!r}")
        if self.log_format not in FORMATS:
            raise ConfigurationError(f"the log format must be text or json, not {self.log_format!r}")
        if self.channel not in CHANNELS:
            raise ConfigurationError(f"the channel must be {' or '.join(CHANNELS)}, not {self.channel!r}")
        for name in ("threads", "workers", "max_pending", "max_connections", "max_jobs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigurationError(f"{cli_name(name)} must be at least 1, not {value}")
        for name in (
            "timeout",
            "graceful_timeout",
            "max_body",
            "max_bodies",
            "port",
            "header_timeout",
            "idle_timeout",
            "max_requests",
            "max_rss",
            "max_job_bytes",
            "job_age",
        ):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigurationError(f"{cli_name(name)} must be 0 or more, not {getattr(self, name)}")
        if self.token_file == "":  # nobody would be asked
            raise ConfigurationError("--token-file must name a file, or be left out")
        if self.port > 65535:
            raise ConfigurationError(f"--port must be at most 65535, not {self.port}")


def cli_name(name: str) -> str:
    """How the command line calls an option."""
    return "--" + {"server_type": "type"}.get(name, name).replace("_", "-")


HINTS = get_type_hints(Settings)


def _convert(name: str, value: Any, strict: bool = True) -> Any:
    """
    The value of an option, of its type.

    @raise ConfigurationError: when it has another.
    """
    try:
        return msgspec.convert(value, HINTS[name], strict=strict)
    except msgspec.ValidationError:
        kind = Settings.__annotations__[name]
        raise ConfigurationError(f"{cli_name(name)}: {value!r} is not a {kind}") from None


def settings_of(**options: Any) -> Settings:
    """
    Settings from keyword arguments.

    @raise ConfigurationError: when there is no such option, or its value is wrong.
    """
    for name in options.keys() - HINTS.keys():
        meant = [f"; {cli_name(each)} is {each} here" for each in HINTS if cli_name(each) == f"--{name}"]
        raise ConfigurationError(f"there is no option {name!r}{''.join(meant)}")
    return Settings(**options)


def settings_from(texts: Mapping[str, Any]) -> Settings:
    """
    Settings from what the command line gave: texts, sequences of texts, or booleans.

    @raise ConfigurationError: when a value is not of its option's type.
    """
    return Settings(**{name: _convert(name, text, strict=False) for name, text in texts.items()})
