"""The title, the version and the description of an application. Pure."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from types import ModuleType
from typing import Any

from twisted_appserver.core.application import Application

DEFAULT_TITLE = "Functions"
DEFAULT_VERSION = "0.1.0"


class ApplicationInfo:
    """
    Finds the title, the version and the description of an application.

    @param application: C{None} if the table was passed as an argument. In that case, the module of the
        functions is used if they all come from one module.
    @param functions: the functions of the table.
    """

    def __init__(self, application: Application | None, functions: list[Any]) -> None:
        self._name = ""
        if application is not None:
            self._name = application.module or os.path.basename(application.file).removesuffix(".py")
            found = _module_of(application)
        else:
            places = {getattr(function, "__module__", None) for function in functions}
            found = sys.modules.get(places.pop() or "") if len(places) == 1 else None
        self._modules = [] if found is None else list(_with_packages(found))

    @property
    def title(self) -> str:
        """C{__title__} of the module or its package. Without C{__title__}, the name of the module."""
        return _first_text(self._modules, "__title__") or self._name or DEFAULT_TITLE

    @property
    def version(self) -> str:
        """
        C{__version__} of the module or its package. Without C{__version__}, the version of the installed
        distribution with the same name as the package, or else 0.1.0.
        """
        own = _first_text(self._modules, "__version__")
        return own or _distribution_version(self._modules) or DEFAULT_VERSION

    @property
    def description(self) -> str:
        """The docstring of the module or its package."""
        return inspect.cleandoc(_first_text(self._modules, "__doc__"))


def _module_of(application: Application) -> ModuleType | None:
    """Return the module that was imported last as this application, or that is running."""
    running = sys.modules.get("__main__")
    if application.module:
        is_running = getattr(getattr(running, "__spec__", None), "name", "") == application.module
        return sys.modules.get(application.module) or (running if is_running else None)
    name = os.path.basename(application.file).removesuffix(".py")
    for each in (sys.modules.get(name), sys.modules.get("__mp_main__"), running):
        if os.path.abspath(getattr(each, "__file__", None) or "/") == application.file:
            return each
    return None


def _with_packages(module: ModuleType) -> Iterator[ModuleType]:
    """Yield a module and the packages that contain it, the innermost first."""
    yield module
    name = getattr(getattr(module, "__spec__", None), "name", module.__name__)
    while name := name.rpartition(".")[0]:
        if name in sys.modules:
            yield sys.modules[name]


def _first_text(modules: list[ModuleType], name: str) -> str:
    """Return the first text with this name in some modules; empty if there is none."""
    values = (getattr(module, name, None) for module in modules)
    return next((value for value in values if isinstance(value, str) and value.strip()), "")


def _distribution_version(modules: list[ModuleType]) -> str:
    """Return the version of the distribution named like the outermost package; empty if there is none."""
    for module in modules[-1:]:
        with suppress(metadata.PackageNotFoundError, ValueError):
            return metadata.version(module.__name__.partition(".")[0])
    return ""
