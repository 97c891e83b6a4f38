"""Checks the options of several servers, and prepares their start."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.machinery import PathFinder

from twisted_appserver.available_cores import available_cores
from twisted_appserver.core.application import Application
from twisted_appserver.errors import OptionError
from twisted_appserver.executors.processes.python_process import original_environment
from twisted_appserver.serving.servers.inherited_sockets import without_systemd
from twisted_appserver.serving.servers.messages import ServerStart
from twisted_appserver.settings import CLUSTER_SERVER, FORKED_SERVER, Settings


def count_servers(settings: Settings) -> int:
    """
    Return how many servers the options require.

    @raise OptionError: when several servers cannot have these options.
    """
    count = available_cores() if settings.servers == "auto" else settings.servers
    if count > 1:
        _refuse_options(settings, count)
    return count


def _refuse_options(settings: Settings, count: int) -> None:
    shown = f"--servers {settings.servers}" + (f" ({count} cores)" if settings.servers == "auto" else "")
    if sys.platform == "win32":
        raise OptionError(f"{shown}: Windows cannot share a listening socket; use --servers 1")
    if any(each.startswith("stdio:") for each in settings.listen):
        raise OptionError(f"{shown} and --listen stdio: exclude each other")
    if settings.store.startswith("sqlite:"):
        raise OptionError(
            f"{shown} and --store sqlite: exclude each other, because one server at a time can use the file; "
            "write --store postgresql://USER@HOST/DATABASE, or --servers 1 with --type forked"
        )
    if settings.server_type == CLUSTER_SERVER and not settings.scheduler:
        raise OptionError(
            f"{shown}: each server would start a cluster of its own; start one, and give its --scheduler"
        )


def folder_of(application: Application) -> str:
    """Return the folder of an application's files, without importing the application."""
    path = application.file
    if not path:
        package = application.module.partition(".")[0]
        path = getattr(PathFinder.find_spec(package, [os.getcwd(), *sys.path]), "origin", None) or ""
    return os.path.dirname(os.path.abspath(path))


def settings_of_servers(settings: Settings, count: int) -> Settings:
    """
    Return the settings that each server gets.

    @param count: the number of servers. Together they have as many worker processes as one would have.
    """
    workers = settings.workers
    if settings.server_type == FORKED_SERVER and workers is None:
        workers = max(1, available_cores() // count)
    return replace(settings, servers=count, workers=workers, listen=without_systemd(settings.listen))


def server_start(
    settings: Settings, application: Application, number: int, sockets: list[int], reactor: str, prints: bool
) -> ServerStart:
    """
    Return the first message to a server. The arguments are described there.

    @param settings: what L{settings_of_servers} returned.
    """
    environ = original_environment()
    return ServerStart(
        settings, application, number, sockets, list(sys.path), environ, reactor, prints_to_log=prints
    )
