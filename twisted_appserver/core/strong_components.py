"""Strongly connected components of a graph. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def strong_components(
    starts: Iterable[Node], successors: Callable[[Node], Iterable[Node]]
) -> list[list[Node]]:
    """
    Return the strongly connected components that can be reached, the last ones first.

    This is Tarjan's algorithm with an explicit stack instead of recursion (R. Tarjan, Depth-first search and
    linear graph algorithms, 1972).
    """
    index: dict[Node, int] = {}
    lowest: dict[Node, int] = {}
    open_nodes: dict[Node, None] = {}  # in order of discovery, until their component is complete
    found: list[list[Node]] = []

    def discover(node: Node) -> None:
        index[node] = lowest[node] = len(index)
        open_nodes[node] = None
        walk.append((node, iter(successors(node))))

    for start in starts:
        if start in index:
            continue
        walk: list[tuple[Node, Iterable[Node]]] = []
        discover(start)
        while walk:
            node, following = walk[-1]
            for there in following:
                if there not in index:
                    discover(there)
                    break
                if there in open_nodes:
                    lowest[node] = min(lowest[node], index[there])
            else:
                walk.pop()
                if walk:
                    lowest[walk[-1][0]] = min(lowest[walk[-1][0]], lowest[node])
                if lowest[node] == index[node]:
                    found.append(_take_component(open_nodes, node))
    return found


def _take_component(open_nodes: dict[Node, None], root: Node) -> list[Node]:
    """Remove a component from the open nodes: its root, and all nodes discovered after the root."""
    component: list[Node] = []
    while not component or component[-1] != root:
        component.append(open_nodes.popitem()[0])
    return component
