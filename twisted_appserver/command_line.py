"""What all commands share: the closest name to a misspelt one, and the text of C{--version}."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version

PACKAGES = {"twisted_appserver": "twisted_appserver", "Twisted": "twisted"}


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most similar to a misspelt one; empty if none is similar."""
    bare = {each.lstrip("-"): each for each in known}
    found = get_close_matches(word.lstrip("-"), bare, 1, 0.6)
    return bare[found[0]] if found else ""


def unknown(kind: str, word: str, known: Iterable[str], command: str) -> str:
    """
    Return the message for a word that a command does not know.

    @param kind: what the word should be, such as C{option}.
    @param command: the name of the command, whose C{--help} lists the known words.
    """
    near = closest(word, known)
    hint = f"did you mean {near}? See" if near else "see"
    return f"unknown {kind} {word}; {hint} {command} --help"


def version_text() -> str:
    """Return what C{--version} prints: the versions of this package, of Twisted and of Python."""
    found = []
    for name, package in PACKAGES.items():
        try:
            found.append(f"{name} {version(package)}")
        except PackageNotFoundError:  # it runs from a folder in PYTHONPATH
            found.append(f"{name} (not installed)")
    return ", ".join([*found, f"Python {platform.python_version()}"])
