"""Finds files of an application that hide modules of the standard library."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from types import TracebackType


def _files(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        yield traceback.tb_frame.f_code.co_filename
        traceback = traceback.tb_next


def _shadows(folder: str) -> dict[str, str]:
    """Return the files and packages in a folder that hide modules of the standard library, by module name."""
    if os.path.abspath(folder) == os.path.dirname(os.__file__):  # The standard library does not hide itself.
        return {}
    try:
        found = sorted(os.listdir(folder or "."))
    except OSError:
        return {}
    names = {entry.removesuffix(".py"): os.path.join(os.path.abspath(folder), entry) for entry in found}
    packages = (name for name, path in names.items() if os.path.isfile(os.path.join(path, "__init__.py")))
    modules = (name for name, path in names.items() if path.endswith(".py"))
    return {name: names[name] for name in (*modules, *packages) if name in sys.stdlib_module_names}


def shadowing_advice(folders: Iterable[str], error: BaseException | None = None) -> str:
    """
    Return advice about files that hide the standard library, to append to a message; empty if there are none.

    @param folders: the folders to search.
    @param error: the error of a failed import. If there is one, a file is reported only if it was imported or
        is in the traceback.
    """
    raised = set(_files(error.__traceback__)) if error is not None else set()
    for folder in folders:
        for name, path in _shadows(folder).items():
            loaded = getattr(sys.modules.get(name), "__file__", None) or ""
            if error is None or path in raised or loaded.startswith(path):
                return f"; {path} hides the module {name} of the standard library: rename it"
    return ""
