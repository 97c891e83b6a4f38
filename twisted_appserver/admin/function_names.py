"""The names of functions on the page of functions, from which its links are made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def function_names(operations: Iterable[tuple[Any, str]]) -> list[str]:
    """
    Name the function of each operation. All operations of a function have the same name.

    A function keeps its own name if no other function has that name. Otherwise its name comes from its first
    operation, such as C{order_by_id}.

    @param operations: the L{Handler} and the id of each operation. The same function with the same name may
        have several handlers, one for each of its patterns.
    """
    listed = list(operations)
    groups: dict[str, list[tuple[Any, str]]] = {}  # by own name: functions, with the ids of their first ones
    chosen: list[tuple[str, int]] = []
    for handler, operation_id in listed:
        same = groups.setdefault(own_name(handler.name), [])
        place = next((n for n, (function, _) in enumerate(same) if function == handler.original), len(same))
        if place == len(same):
            same.append((handler.original, operation_id))
        chosen.append((own_name(handler.name), place))
    names: dict[tuple[str, int], str] = {}
    for name, same in groups.items():
        for place, (_, operation_id) in enumerate(same):
            taken = {*groups, *names.values()}
            candidates = (operation_id.rpartition("_")[0], operation_id, f"{operation_id}_{len(names)}")
            free = next(each for each in candidates if each not in taken)
            names[name, place] = name if len(same) == 1 else free
    return [names[each] for each in chosen]


def own_name(name: str) -> str:
    """Return a name that can be part of an address: C{order} for C{Shop.order}."""
    last = name.rpartition("<locals>.")[2].rpartition(".")[2] or name
    return re.sub(r"\W+", "_", last).strip("_") or "function"
