"""
The names of operations, from which client generators make the names of functions.

Strategy: a name depends only on the operation itself: the function's name, its path and its method. So a name
stays the same if other entries, or functions of the same name, are added. The functions of a generated client
keep their names. The parts of the path that repeat the function's name are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from hashlib import sha256

PART = re.compile(r"\{(\w+)\}|([^\W_]+)")

Operation = tuple[str, str, str]  # the name of a function, its path template and its method


def operation_ids(operations: Iterable[Operation]) -> dict[Operation, str]:
    """
    Name the operations of a document.

    Two operations get the same name if their paths differ only in punctuation, such as C{/a-b} and C{/a/b/}.
    The most regular of these paths gets the plain name. The others get the name with a digest.
    """
    namesakes: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        namesakes[_normalized(operation_id(*operation))].append(operation)
    found = {}
    for same in namesakes.values():
        for place, operation in enumerate(sorted(set(same), key=_regularity)):
            name, path, method = operation
            digest = f"_{sha256(f'{name} {path}'.encode()).hexdigest()[:6]}" if place else ""
            found[operation] = operation_id(name, path, method) + digest
    return found


def _normalized(text: str) -> str:
    """Return the part of a name that every generator keeps: some change its case and its punctuation."""
    return re.sub(r"[\W_]", "", text).lower()


def _regularity(operation: Operation) -> tuple[bool, int, Operation]:
    return not operation[1].endswith("/"), len(operation[1]), operation


def operation_id(name: str, path: str, method: str) -> str:
    """
    Name an operation: C{order_get} for C{/order/}, C{order_by_id_get} for C{/order/{id}/} and
    C{order_at_shop_order_get} for C{/shop/order/}.

    @param name: the name of the function.
    @param path: a path template.
    """
    own = name.rpartition("<locals>.")[2]
    first, *rest = [segment for segment in path.split("/") if segment] or [""]
    plain = all(re.fullmatch(r"\{\w+\}", segment) for segment in rest)
    if plain and "{" not in first and _words(first) == _words(own.rpartition(".")[2]):
        where = _words("/".join(rest))
    else:
        where = f"at_{_words(path) or 'root'}"
    return "_".join(filter(None, (_words(own) or "function", where, method.lower())))


def _words(text: str) -> str:
    """Return the words of a text, with C{by_} in front of the name of a variable."""
    return "_".join(f"by_{found[1]}" if found[1] else found[2] for found in PART.finditer(text))
