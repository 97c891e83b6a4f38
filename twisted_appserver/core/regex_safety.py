"""Regular expressions that take very long to not match some text. Pure.

Strategy: C{re} tries every way to match a text before it gives up, so the cost is the number of ways in
which the automaton can read it. That number is exponential in the length of the text exactly if a node can
be left and reached again in two ways by reading the same word; and a polynomial if one loop can be read to
its end while another, which follows it, reads the same word. Both can be decided by walking through two or
three copies of the automaton at once (A. Weber and H. Seidl, On the degree of ambiguity of finite automata,
1991; C. Allauzen, M. Mohri and A. Rastogi, General algorithms for testing the ambiguity of finite automata,
2008). Bounded repetitions have neither kind of loop, but can be as bad: their ways are counted along the
word that has the most of them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import cached_property, reduce
from itertools import product
from operator import or_
from typing import TypeVar

from twisted_appserver.core.regex_graph import START, Graph, TooComplexError, parser

EXPONENTIAL = "for ever"
MINUTES = "for minutes"  # the cube of the length, or worse: 8192 ** 3 / 6 steps
SECOND = "for a second"  # its square: 33 million steps
UNKNOWN = "unknown"
MOST = 200_000  # nodes of a product that are visited
LONG = 512  # characters of the word along which ways are counted
HARMFUL = 500_000  # ways, on average over the nodes to begin with

Node = TypeVar("Node", bound=Hashable)


def slowness(regex: str) -> str:
    """
    For how long a path of 8 KiB can occupy C{re} with an expression: C{EXPONENTIAL}, C{MINUTES}, C{SECOND},
    C{UNKNOWN}, or empty if that is no concern.
    """
    if parser is None:
        return UNKNOWN
    try:
        return _slowness(Graph(regex))
    except (TooComplexError, RecursionError):
        return UNKNOWN


def _slowness(graph: Graph) -> str:
    """For how long an expression and its atomic groups, each for itself, can occupy C{re}."""
    found = {_Ambiguity(graph).slowness(), *(_slowness(Graph(*each)) for each in graph.atomic)}
    return next((each for each in (EXPONENTIAL, MINUTES, SECOND) if each in found), "")


class _Ambiguity:
    """In how many ways an automaton can read a word."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._visited = graph, 0
        self._next: dict[int, dict[int, int]] = {}
        self._twice: dict[int, dict[int, int]] = {}
        self._left: dict[int, dict[int, int]] = {}
        for node in (START, *(each for each, reads in enumerate(graph.reads) if reads)):
            self._next[node], self._twice[node], self._left[node] = graph.following(node)
        groups = components([START], lambda node: self._next[node])
        groups.reverse()  # the first ones read first
        self._loops = [set(group) for group in groups if len(group) > 1 or group[0] in self._next[group[0]]]

    def slowness(self) -> str:
        if any(map(self._exponential, self._loops)):
            return EXPONENTIAL
        degree = self._degree()
        if degree:
            return SECOND if degree == 1 else MINUTES
        return EXPONENTIAL if self._graph.choices >= 16 and self._harmful() else ""

    def _count(self) -> None:
        self._visited += 1
        if self._visited > MOST:
            raise TooComplexError

    def _exponential(self, loop: set[int]) -> bool:
        """Whether a word leads from a node of a loop to itself in two ways."""
        if any(there in loop for node in loop for there in self._twice[node]):
            return True

        def successors(pair: tuple[int, int]) -> Iterable[tuple[int, int]]:
            if pair[0] == pair[1]:
                yield from ((there, there) for there in self._next[pair[0]] if there in loop)
                edges = self._left  # only these part from each other
            else:
                edges = self._next
            for one, first in edges[pair[0]].items():
                if one in loop:
                    for two, second in edges[pair[1]].items():
                        self._count()
                        if (
                            two in loop
                            and first & second
                            and not (pair[0] == pair[1] and self._commit(one, two))
                        ):
                            yield one, two

        pairs = components([(node, node) for node in loop], successors)
        return any(len({one == two for one, two in group}) == 2 for group in pairs)

    def _commit(self, one: int, two: int) -> bool:
        """Whether two nodes are in one atomic group, which never goes both ways from one place."""
        return self._graph.groups[one] == self._graph.groups[two] != 0

    def _degree(self) -> int:
        """How often a loop can share a word with the next: the ways are the length to this power."""
        degrees: list[int] = []
        for index, second in enumerate(self._loops):
            degrees.append(0)
            for before, first in enumerate(self._loops[:index]):
                between = self._between(first, second)
                if between and degrees[before] >= degrees[index]:
                    degrees[index] = degrees[before] + self._polynomial(first, between, second)
        return max(degrees, default=0)

    def _between(self, first: set[int], second: set[int]) -> set[int]:
        """The nodes on the ways from one loop to another, both included; empty if there is no way."""
        reached = self._reached(first, self._next)
        return reached & self._reached(second, self._previous) if second <= reached else set()

    @cached_property
    def _previous(self) -> dict[int, list[int]]:
        previous: dict[int, list[int]] = {node: [] for node in self._next}
        for node, following in self._next.items():
            for there in following:
                previous[there].append(node)
        return previous

    def _reached(self, nodes: Iterable[int], edges: Mapping[int, Iterable[int]]) -> set[int]:
        left = list(nodes)
        found = set(left)
        while left:
            for there in edges[left.pop()]:
                self._count()
                if there not in found:
                    found.add(there)
                    left.append(there)
        return found

    def _polynomial(self, first: set[int], between: set[int], second: set[int]) -> bool:
        """Whether a word leads around both loops, and from the one to the other."""
        readable = [self._readable(loop) for loop in (first, second)]
        if not readable[0] & readable[1]:
            return False
        areas = (first, between, second)

        def successors(nodes: tuple[int, int, int]) -> Iterable[tuple[int, int, int]]:
            ways = [
                [(there, mask) for there, mask in self._next[node].items() if there in area]
                for node, area in zip(nodes, areas, strict=True)
            ]
            for (one, a), (two, b), (three, c) in product(*ways):
                self._count()
                if a & b & c:
                    yield one, two, three
            if nodes[1] == nodes[2]:
                yield nodes[0], nodes[0], nodes[2]

        groups = components([(one, one, two) for one in first for two in second], successors)
        return any(
            one == middle and (one, two, two) in members
            for group in groups
            if len(group) > 1
            for members in [set(group)]
            for one, middle, two in group
        )

    def _readable(self, loop: set[int]) -> int:
        return reduce(or_, (self._graph.reads[node] for node in loop))

    def _harmful(self) -> bool:
        """Whether some word has very many ways: at each step, the character that leaves most of them."""
        letters = self._letters()
        ways = dict.fromkeys(self._next, 1)
        total = 0
        for _ in range(min(LONG, len(self._next))):
            ways = max((self._read(ways, letter) for letter in letters), key=lambda each: sum(each.values()))
            total += sum(ways.values())
            if total > HARMFUL * len(self._next):
                return True
        return False

    def _letters(self) -> list[int]:
        """One character of each kind, as a mask: all of a kind are in the same sets."""
        reads = [self._graph.reads[node] for node in self._next if node]
        kinds = {tuple(mask >> bit & 1 for mask in reads): 1 << bit for bit in range(max(reads).bit_length())}
        return list(kinds.values())

    def _read(self, ways: Mapping[int, int], letter: int) -> dict[int, int]:
        """The numbers of ways to each node, after one more character."""
        found: dict[int, int] = {}
        for node, number in ways.items():
            for there, mask in self._next[node].items():
                if mask & letter:
                    more = number * (2 if self._twice[node].get(there, 0) & letter else 1)
                    found[there] = found.get(there, 0) + more
        return found


def components(starts: Iterable[Node], successors: Callable[[Node], Iterable[Node]]) -> list[list[Node]]:
    """The strongly connected components that can be reached, the last ones first (Tarjan's algorithm)."""
    index: dict[Node, int] = {}
    lowest: dict[Node, int] = {}
    open_: dict[Node, None] = {}  # in the order of their discovery, until their component is complete
    found: list[list[Node]] = []
    for start in starts:
        if start in index:
            continue
        walk = [(start, iter(successors(start)))]
        index[start] = lowest[start] = len(index)
        open_[start] = None
        while walk:
            node, following = walk[-1]
            for there in following:
                if there not in index:
                    index[there] = lowest[there] = len(index)
                    open_[there] = None
                    walk.append((there, iter(successors(there))))
                    break
                if there in open_:
                    lowest[node] = min(lowest[node], index[there])
            else:
                walk.pop()
                if walk:
                    lowest[walk[-1][0]] = min(lowest[walk[-1][0]], lowest[node])
                if lowest[node] == index[node]:
                    group: list[Node] = []
                    while not group or group[-1] != node:
                        group.append(open_.popitem()[0])
                    found.append(group)
    return found
