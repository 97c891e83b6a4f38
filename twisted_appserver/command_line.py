"""Shared by all commands: the message for an unknown word, the text of C{--version}, an exit status."""

from __future__ import annotations

import platform
import signal
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from twisted_appserver.closest_name import closest

INTERRUPTED = 128 + signal.SIGINT  # the exit status after Ctrl-C, as shells report it
PACKAGES = {"twisted_appserver": "twisted_appserver", "Twisted": "twisted"}


def unknown(kind: str, word: str, known: Iterable[str], command: str) -> str:
    """
    Return the message for a word that a command does not know.

    @param kind: what the word should be, such as C{option}.
    @param command: the name of the command, whose C{--help} lists the known words.
    """
    near = closest(word, known)
    hint = f"did you mean {near}? See" if near else "see"
    return f"unknown {kind} {word}; {hint} {command} --help"


def own_version() -> str:
    """Return the version of this package; empty if it is not installed."""
    try:
        return version(PACKAGES["twisted_appserver"])
    except PackageNotFoundError:
        return ""


def version_text() -> str:
    """Return what C{--version} prints: the versions of this package, of Twisted and of Python."""
    found = []
    for name, package in PACKAGES.items():
        try:
            found.append(f"{name} {version(package)}")
        except PackageNotFoundError:  # it runs from a folder in PYTHONPATH
            found.append(f"{name} (not installed)")
    return ", ".join([*found, f"Python {platform.python_version()}"])
