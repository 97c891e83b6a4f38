"""Finds the known name that is most similar to a misspelt one. Worker processes import this module too."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

CUTOFF = 0.6  # the similarity from 0 to 1 that a name must have; the default of C{difflib}


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most similar to a misspelt one; empty if none is similar."""
    bare = {each.lstrip("-"): each for each in known}
    found = get_close_matches(word.lstrip("-"), bare, 1, CUTOFF)
    return bare[found[0]] if found else ""
