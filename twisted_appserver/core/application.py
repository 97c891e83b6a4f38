"""The user's application: a table of patterns that can be imported by name, here or in a worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module, invalidate_caches
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType
from typing import Any

import msgspec

from twisted_appserver.core.shadowed_modules import advice
from twisted_appserver.errors import ConfigurationError

DEFAULT = "twisted_appserver.example"
_loading: list[str] = []


class Application(msgspec.Struct, frozen=True):
    """
    Where a table of patterns is found.

    @ivar module: the name of its module, if that can be imported by name.
    @ivar file: else the path of its file, if it has one.
    @ivar name: of the table in it; empty if it has none.
    """

    module: str = ""
    file: str = ""
    name: str = "url_patterns"

    @classmethod
    def parse(cls, target: str | None) -> Application:
        """
        What C{--app} names: C{module}, C{module:name}, C{file.py} or C{file.py:name}. Nothing means urls.py
        or app.py of the current folder, or else the example that the package carries.
        """
        if not target:
            target = next(filter(os.path.isfile, ("urls.py", "app.py")), DEFAULT)
        place, colon, name = target.rpartition(":")
        if not colon or not name.isidentifier():
            place, name = target, "url_patterns"
        if not place:
            raise ConfigurationError(f"an application is module, module:name or a .py file, not {target!r}")
        if not place.endswith(".py"):
            return cls(module=place, name=name)
        if not os.path.isfile(place):
            raise ConfigurationError(f"there is no file {place}")
        return cls(file=os.path.abspath(place), name=name)

    @classmethod
    def of(cls, module: dict[str, Any], patterns: Sequence[Any] | None) -> Application:
        """
        Where the table of a running module is, as C{multiprocessing} finds what a script defines.

        @param module: its globals.
        @param patterns: the table; C{None} for its variable url_patterns.
        """
        if patterns is None and "url_patterns" not in module:
            raise ConfigurationError(
                f"{module['__name__']} has no variable url_patterns; define it or pass it"
            )
        name = "url_patterns"
        if patterns is not None:
            name = next((key for key, value in module.items() if value is patterns), "")
        spec = module.get("__spec__")
        if spec is not None:
            return cls(module=spec.name, name=name)
        file = os.path.abspath(module.get("__file__", ""))
        return cls(file=file if os.path.isfile(file) else "", name=name)

    def check(self) -> None:
        """
        @raise ConfigurationError: when the table has no file or no name by which it could be imported.
        """
        if not (self.module or self.file):
            raise ConfigurationError(
                "worker processes and reloads import the application from a file, and there is none: "
                "it came from standard input or the like"
            )
        if not self.name:
            place = self.module or self.file
            raise ConfigurationError(f"the table must be a global variable of {place}, to be imported")

    def load(self, fresh: bool = False) -> Sequence[Any]:
        """
        Import it.

        @param fresh: whether it is imported again, with whatever of its folder or package was before.

        @raise ConfigurationError: when it cannot be imported, or has no such table.
        """
        self.check()
        place = self.module or self.file
        if self.module and os.getcwd() not in sys.path:  # an installed script's path has its own folder there
            sys.path.insert(0, os.getcwd())
        with _mark(place), self._without_modules() if fresh else nullcontext():
            try:
                module = import_module(self.module) if self.module else _import_file(self.file)
            except ConfigurationError:
                raise
            except (Exception, SystemExit) as error:
                folders = {os.getcwd(): None, os.path.dirname(self.file) or os.getcwd(): None}
                what = f"{type(error).__name__}: {error}{advice(folders, error)}"
                raise ConfigurationError(f"the application {place} cannot be imported: {what}") from error
        try:
            return getattr(module, self.name)  # type: ignore[no-any-return]
        except AttributeError:
            raise ConfigurationError(f"{place} has no variable {self.name}") from None

    @contextmanager
    def _without_modules(self) -> Iterator[None]:
        """Forget the modules that belong to it; if it cannot be imported then, they are what they were."""
        before = dict(sys.modules)
        top = self.module.partition(".")[0]
        root = os.path.dirname(os.path.abspath(self.file or getattr(before.get(top), "__file__", None) or ""))
        whole = not os.path.isfile(os.path.join(root, "pyvenv.cfg"))  # whether all of its folder is its own

        def belongs(name: str, path: str) -> bool:
            if top == __package__ or name == "__main__" or f"{name}.".startswith(f"{__package__}."):
                return False
            if name in (top, "__mp_main__") or name.startswith(f"{top}."):
                return True
            return whole and "site-packages" not in path and path.startswith(root + os.sep)

        for name, module in before.items():
            path = os.path.abspath(getattr(module, "__file__", None) or "/")
            if name == self.module or belongs(name, path):
                del sys.modules[name]
        invalidate_caches()
        try:
            yield
        except BaseException:
            sys.modules.update(before)
            raise


@contextmanager
def _mark(place: str) -> Iterator[None]:
    _loading.append(place)
    try:
        yield
    finally:
        _loading.pop()


def refuse_while_loading(what: str) -> None:
    """
    Keep a script that is imported as an application from starting a server of its own.

    @raise ConfigurationError: when an application is being imported.
    """
    if _loading:
        raise ConfigurationError(
            f"{_loading[-1]} calls {what} when imported; put it under if __name__ == '__main__':"
        )


def _import_file(path: str) -> ModuleType:
    """Import a script the way C{multiprocessing} does: as a module that is not __main__."""
    name = os.path.splitext(os.path.basename(path))[0]
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        name = "__mp_main__"
    spec = spec_from_file_location(name, path)
    if spec is None:  # its name does not tell that it is Python
        spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    assert spec is not None
    assert spec.loader is not None
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
