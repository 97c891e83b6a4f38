"""Describes in one line why an application cannot be imported: the file, the line and the error."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Iterator
from types import ModuleType

from twisted_appserver.closest_name import closest

PACKAGE = os.path.dirname(os.path.dirname(__file__))
INSTALLED = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
LIBRARIES = (os.path.abspath(PACKAGE), *INSTALLED)


def _is_users(path: str) -> bool:
    """
    Return whether a file belongs to the application: it is neither in Python nor in an installed package.
    """
    inside = any(path.startswith(folder + os.sep) for folder in LIBRARIES)
    return not inside and "site-packages" not in path


def _places(error: BaseException) -> Iterator[str]:
    """Yield the lines of the application that raised an error, as C{file:line}, the outermost first."""
    for frame, number in traceback.walk_tb(error.__traceback__):
        name = frame.f_code.co_filename
        if not name.startswith("<") and _is_users(path := os.path.abspath(name)):
            yield f"{path}:{number}"
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        yield f"{os.path.abspath(error.filename)}:{error.lineno}"


def import_problem(error: BaseException) -> tuple[str, str]:
    """
    Describe an error that an import raised.

    @return: the innermost line of the application as C{file:line: }, or empty text if the error has no such
        line; and the error. If another file of the application has imported that file, its line is named too.
    """
    places = list(_places(error))
    if isinstance(error, SyntaxError):
        source = (error.text or "").strip()
        text = f"{error.msg} in {source!r}" if source else error.msg
    else:
        text = " ".join(str(error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    if not places:
        return "", line
    file = places[-1].rpartition(":")[0]
    outer = "" if places[0].startswith(f"{file}:") else f" (imported by {places[0]})"
    return f"{places[-1]}: ", f"{line}{outer}"


def missing_module_advice(module: str, error: BaseException) -> str:
    """
    Return the message for an application whose own module does not exist; empty if the error is another one.

    @param module: the name of the application's module.
    """
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if not missing or not f"{module}.".startswith(f"{missing}."):
        return ""
    folder = os.getcwd()
    return f"there is no module {missing} in {folder} or on Python's path{_meant(missing, folder)}"


def module_of(path: str) -> tuple[str, str]:
    """
    Return how Python imports a file.

    @return: the name of its module, and text to append to a message: the folder in which a command has to be
        started. The text is empty for the current folder.
    """
    folder, file = os.path.split(os.path.abspath(path))
    parts, here = [file.removesuffix(".py")], os.getcwd()
    below = folder.removeprefix(here + os.sep).split(os.sep)
    if folder.startswith(here + os.sep) and all(each.isidentifier() for each in below):
        return ".".join([*below, *parts]), ""
    while folder != here and os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    advice = f"; start it in {folder}, or add this folder to PYTHONPATH" if folder != here else ""
    return ".".join(parts), advice


def missing_file_advice(path: str) -> str:
    """Return the message for a file that does not exist, with the most similar name in its folder."""
    folder, name = os.path.split(path)
    return f"file not found: {path}{_meant(name.removesuffix('.py'), folder)}"


def missing_variable_advice(module: ModuleType, name: str) -> str:
    """Return the message for a module that does not define its table, with variables that may be it."""
    tables = [key for key, value in vars(module).items() if _is_table(value) and not key.startswith("_")]
    place = getattr(module, "__file__", None) or module.__name__
    hint = f"did you mean {os.path.basename(place)}:{tables[0]}?" if tables else "define it or name another"
    return f"{place} has no variable {name}; {hint}"


def _is_table(value: object) -> bool:
    """Return whether a value looks like a table of patterns."""
    return isinstance(value, list | tuple) and any(
        isinstance(each, list | tuple) and len(each) == 2 and str(each[0]).startswith(("/", "^/"))
        for each in value
    )


def _meant(name: str, folder: str) -> str:
    """Return a question about the file in a folder whose name is most similar; empty if none is."""
    try:
        found = os.listdir(folder or ".")
    except OSError:
        return ""
    near = closest(name, (each.removesuffix(".py") for each in sorted(found) if each.endswith(".py")))
    return f"; did you mean {near}.py?" if near else ""
