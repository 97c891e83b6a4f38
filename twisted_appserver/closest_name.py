"""Finds the known name that is most similar to a misspelt one. Worker processes import this module too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

CUTOFF = 0.6  # the similarity from 0 to 1 that a name must have; the default of C{difflib}
PART_CUTOFF = 0.8  # the same for a part of a name, such as C{token} in C{token-file}


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that is most similar to a misspelt one; empty if none is similar."""
    bare = {each.lstrip("-"): each for each in known}
    found = get_close_matches(word.lstrip("-"), bare, 1, CUTOFF)
    if found:
        return bare[found[0]]
    parts = {part: each for name, each in reversed(bare.items()) for part in re.split("[-_]", name)}
    found = get_close_matches(word.lstrip("-"), parts, 1, PART_CUTOFF)
    return parts[found[0]] if found else ""
