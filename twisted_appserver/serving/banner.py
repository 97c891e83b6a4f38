"""The lines that a server logs when it starts: where it listens, what it serves, and how to stop it."""

from __future__ import annotations

import os
import re
import sys
from ipaddress import ip_address
from typing import Any

from twisted_appserver.core.application import EXAMPLE, Application
from twisted_appserver.settings import Settings

EVERY_ADDRESS = re.compile(r"//(?:0\.0\.0\.0|\[::\])(?=:)")  # in a URL; no client can connect to it
SAVED = "when a Python file of the application is saved"


def describe_application(application: Application, routes: int) -> str:
    """
    Return the name of an application, its file, and the number of its routes.

    @param application: an application that has been loaded.
    """
    count = f"{routes} route{'s' * (routes != 1)}"
    if application.module == EXAMPLE:
        return f"the example of this package, {count}; to serve your own: appserver FILE.py"
    file = application.file or getattr(sys.modules.get(application.module), "__file__", None) or ""
    name = application.module or os.path.basename(file).removesuffix(".py") or "a table without a file"
    variable = "" if application.name in ("url_patterns", "") else f":{application.name}"
    return f"{name}{variable}{f' ({file})' if file else ''}, {count}"


def describe_access(settings: Settings) -> str:
    """Return the credentials that requests need; empty if they need none."""
    token = [f"the token in {settings.token_file}"] if settings.token_file else []
    password = ["a name and password"] if settings.auth else []
    return " or ".join(token + password)


def describe_hosts(settings: Settings) -> str:
    """Return which host names requests may use, if the server listens on all addresses; otherwise nothing."""
    if settings.listen or settings.allow_host or not ip_address(settings.host).is_unspecified:
        return ""
    return "only localhost is accepted; allow others with --allow-host NAME"


def docs_url(urls: list[str]) -> str:
    """
    Return where the page of functions is: its URL, or a command if the server has only unix sockets.

    @param urls: URLs, and paths of unix sockets.
    """
    url = next((each for each in urls if "://" in each), "")
    if url:
        return EVERY_ADDRESS.sub("//localhost", url) + "-/docs"
    return f"curl --unix-socket {urls[0]} http://localhost/-/docs" if urls else ""


def banner(first: str, facts: dict[str, Any], on_terminal: bool) -> str:
    """
    Return the entry of the log.

    @param first: its first line.
    @param facts: further facts by their names; empty ones are left out.
    @param on_terminal: whether a person reads the entry and can stop the server with Ctrl-C. Each fact then
        has its own line.
    """
    shown = {name: text for name, text in facts.items() if text}
    if not on_terminal:
        return "; ".join([first, *(f"{name}: {text}" for name, text in shown.items())])
    shown["stop"] = "Ctrl-C"
    return "\n".join([first, *(f"  {name:<11}  {text}" for name, text in shown.items())])
