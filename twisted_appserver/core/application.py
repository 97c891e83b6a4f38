"""The user's application: a table of patterns that can be imported by name, here and in worker processes."""

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

from twisted_appserver.core.import_errors import (
    import_problem,
    missing_file_advice,
    missing_module_advice,
    missing_variable_advice,
)
from twisted_appserver.core.shadowed_modules import shadowing_advice
from twisted_appserver.errors import ConfigurationError

EXAMPLE = "twisted_appserver.example"
DEFAULT_FILES = ("urls.py", "app.py")  # the first that exists is served if no application is given
DEFAULT_LIFESPAN = "lifespan"
_loading: list[str] = []


class Application(msgspec.Struct, frozen=True):
    """
    The place of a table of patterns.

    @ivar module: the name of its module; empty if it cannot be imported by name.
    @ivar file: the path of its file; empty if it has a module or no file.
    @ivar name: the name of the variable that holds the table; empty if there is no such variable.
    @ivar lifespan: the name of the variable that holds the lifespan; empty if there is no such variable. A
        variable with the default name need not exist.
    """

    module: str = ""
    file: str = ""
    name: str = "url_patterns"
    lifespan: str = DEFAULT_LIFESPAN

    @classmethod
    def parse(cls, target: str | None) -> Application:
        """
        Parse the value of C{--app}.

        @param target: C{module}, C{module:name}, C{file.py} or C{file.py:name}. If it is empty, the
            application is urls.py or app.py in the current folder, or the example of this package.
        @raise ConfigurationError: when the value has another form, or the file does not exist.
        """
        if not target:
            target = next(filter(os.path.isfile, DEFAULT_FILES), EXAMPLE)
        place, colon, name = target.rpartition(":")
        if not colon or not name.isidentifier():
            place, name = target, "url_patterns"
        file = f"{place.removesuffix('.py')}.py" if os.sep in place else place
        if not place or (file != place and os.path.isfile(file)):
            hint = f"; did you mean {file}?" if file else ""
            raise ConfigurationError(
                f"an application must be module, module:name or a .py file, not {target!r}{hint}"
            )
        place = file
        if not place.endswith(".py"):
            return cls(module=place, name=name)
        if not os.path.isfile(place):
            raise ConfigurationError(missing_file_advice(place))
        return cls(file=os.path.abspath(place), name=name)

    @classmethod
    def of(cls, module: dict[str, Any], patterns: Sequence[Any] | None, lifespan: Any = None) -> Application:
        """
        Find the place of a table in a running module, in the way that C{multiprocessing} finds definitions.

        @param module: the globals of the module.
        @param patterns: the table; C{None} for the variable url_patterns.
        @param lifespan: the lifespan; C{None} for the variable lifespan, if there is one.
        @raise ConfigurationError: when C{patterns} is C{None} and the module has no such variable.
        """
        if patterns is None and "url_patterns" not in module:
            raise ConfigurationError(
                f"{module['__name__']} has no variable url_patterns; define it or pass the table"
            )
        name = "url_patterns"
        if patterns is not None:
            name = _name_of(patterns, module)
        given = DEFAULT_LIFESPAN if lifespan is None else _name_of(lifespan, module)
        spec = module.get("__spec__")
        if spec is not None:
            return cls(module=spec.name, name=name, lifespan=given)
        file = os.path.abspath(module.get("__file__", ""))
        return cls(file=file if os.path.isfile(file) else "", name=name, lifespan=given)

    def check(self) -> None:
        """
        @raise ConfigurationError: when the table cannot be imported, because it has no file or no name.
        """
        if not (self.module or self.file):
            raise ConfigurationError(
                "worker processes and reloads need a file to import the application from, and there is none; "
                "save the program to a file"
            )
        if not self.name:
            place = self.module or self.file
            raise ConfigurationError(f"the table cannot be imported: make it a global variable of {place}")
        if not self.lifespan:
            place = self.module or self.file
            raise ConfigurationError(f"the lifespan cannot be imported: make it a global variable of {place}")

    def load(self, fresh: bool = False) -> Sequence[Any]:
        """As L{load_all}, without the lifespan."""
        return self.load_all(fresh)[0]

    def load_all(self, fresh: bool = False) -> tuple[Sequence[Any], Any]:
        """
        Import the application.

        @return: its table, and its lifespan or C{None}.
        @param fresh: whether to import it again, together with all modules of its folder or package.
        @raise ConfigurationError: when the application cannot be imported or has no such table.
        """
        self.check()
        place = self.module or self.file
        # For an installed script, sys.path starts with the script's folder.
        if self.module and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        with _loading_from(place), self._forget_modules() if fresh else nullcontext():
            try:
                module = import_module(self.module) if self.module else _import_file(self.file)
            except ConfigurationError:
                raise
            except (Exception, SystemExit) as error:
                raise ConfigurationError(self._import_problem(error)) from error
        for name in (self.name, self.lifespan):
            if name != DEFAULT_LIFESPAN and not hasattr(module, name):
                raise ConfigurationError(missing_variable_advice(module, name))
        kind = type(getattr(module, self.name))
        if kind in (str, bytes) or not hasattr(kind, "__iter__"):
            place = getattr(module, "__file__", None) or module.__name__
            raise ConfigurationError(
                f"{self.name} in {place} must be a sequence of (regex, function) pairs, not {kind.__name__}"
            )
        return getattr(module, self.name), getattr(module, self.lifespan, None)

    def _import_problem(self, error: BaseException) -> str:
        """Return one line that names the file, the line and the error."""
        if missing := missing_module_advice(self.module, error):
            return f"the application cannot be imported: {missing}"
        place, reason = import_problem(error)
        folders = {os.getcwd(): None, os.path.dirname(self.file) or os.getcwd(): None}
        where = "" if place else f" {self.module or self.file}"
        return f"the application{where} cannot be imported: {place}{reason}{shadowing_advice(folders, error)}"

    @contextmanager
    def _forget_modules(self) -> Iterator[None]:
        """Forget the modules of the application, and restore them if it cannot be imported again."""
        before = dict(sys.modules)
        top = self.module.partition(".")[0]
        root = os.path.dirname(os.path.abspath(self.file or getattr(before.get(top), "__file__", None) or ""))
        owns_folder = not os.path.isfile(os.path.join(root, "pyvenv.cfg"))  # it is not a virtual environment

        def belongs(name: str, path: str) -> bool:
            if top == __package__ or name == "__main__" or f"{name}.".startswith(f"{__package__}."):
                return False
            if name in (top, "__mp_main__") or name.startswith(f"{top}."):
                return True
            return owns_folder and "site-packages" not in path and path.startswith(root + os.sep)

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


def _name_of(value: Any, module: dict[str, Any]) -> str:
    """Return the name of the global variable that holds a value; empty if there is none."""
    return next((key for key, each in module.items() if each is value), "")


@contextmanager
def _loading_from(place: str) -> Iterator[None]:
    """Mark an application as being imported."""
    _loading.append(place)
    try:
        yield
    finally:
        _loading.pop()


def refuse_while_loading(what: str) -> None:
    """
    Prevent a script that is imported as an application from starting a server of its own.

    @param what: the function that the script calls, for the message.
    @raise ConfigurationError: when an application is being imported.
    """
    if _loading:
        raise ConfigurationError(
            f"{_loading[-1]} calls {what} when it is imported; move this below if __name__ == '__main__':"
        )


def _import_file(path: str) -> ModuleType:
    """Import a script like C{multiprocessing} does, as a module that is not __main__."""
    name = os.path.splitext(os.path.basename(path))[0]
    if not name.isidentifier() or name in sys.modules or name in sys.stdlib_module_names:
        name = "__mp_main__"
    spec = spec_from_file_location(name, path)
    if spec is None:  # its name does not end with .py
        spec = spec_from_file_location(name, path, loader=SourceFileLoader(name, path))
    assert spec is not None
    assert spec.loader is not None
    folder = os.path.dirname(path)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)  # as import_module does
        raise
    return module
