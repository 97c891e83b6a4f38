"""C{--check}: finds problems that would keep a service from starting or working, without listening."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from twisted_appserver.access.credentials import load_credentials
from twisted_appserver.core.router import Router
from twisted_appserver.errors import ConfigurationError
from twisted_appserver.serving.service import AppService
from twisted_appserver.settings import CLUSTER_SERVER, Settings


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _check_log(settings: Settings) -> None:
    """
    @raise ConfigurationError: when the access log cannot be written.
    """
    path = settings.access_log or "-"
    folder = os.path.dirname(os.path.abspath(path))
    if path != "-" and not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ConfigurationError(f"--access-log {path}: cannot be written")


def _check_extras(settings: Settings) -> None:
    """
    @raise ConfigurationError: when a package for an option is not installed.
    """
    needed = {"watchfiles": settings.reload, "distributed": settings.server_type == CLUSTER_SERVER}
    for package, is_needed in needed.items():
        if is_needed and find_spec(package) is None:
            option = "--reload" if package == "watchfiles" else "--type cluster"
            raise ConfigurationError(f"{option} needs the package {package}")


def check(reactor: Any, settings: Settings, service: AppService, router: Router) -> tuple[str, bool]:
    """
    Check an application and the options with which it is to be served. The options themselves and the table
    have been read already.

    @return: a line for each problem and note, and a summary; and whether there is no problem.
    """
    secrets = bool(settings.token_file or settings.auth)
    checks: dict[str, tuple[bool, Callable[[], object]]] = {
        "addresses": (True, service.check_addresses),
        "token and passwords": (secrets, lambda: load_credentials(reactor, settings)),
        "access log": (bool(settings.access_log), lambda: _check_log(settings)),
        "packages": (True, lambda: _check_extras(settings)),
    }
    checked = ["patterns", "functions", *(name for name, (is_used, _) in checks.items() if is_used)]
    problems = list(router.problems)
    for is_used, run in checks.values():
        try:
            run() if is_used else None
        except ConfigurationError as error:
            problems.append(str(error))
    notes = [note for note in router.notes if note not in problems]
    counts = ((problems, "problem"), (notes, "note"))
    found = ", ".join(_count(len(each), noun) for each, noun in counts if each) or "no problems"
    summary = f"{service.describe()}: {found}"
    if not problems:
        summary += f"; checked: {', '.join(checked)}"
    return "\n".join([*(f"problem: {each}" for each in problems), *notes, summary]), not problems
