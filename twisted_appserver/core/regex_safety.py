"""
Finds regular expressions that can take very long to reject some text. Pure.

Strategy: C{re} tries every way to match a text before it gives up, so the cost is the number of ways in which
the automaton can read the text. This number is exponential in the length of the text exactly if some node can
be left and reached again in two ways that read the same word. The number is a polynomial of the length if a
word leads around one loop, from this loop to a later one, and around the later one. Both conditions can be
decided by walking through two or three copies of the automaton at once (A. Weber and H. Seidl, On the degree
of ambiguity of finite automata, 1991; C. Allauzen, M. Mohri and A. Rastogi, General algorithms for testing
the ambiguity of finite automata, 2008). Bounded repetitions form no loops but can be as slow. Their ways are
counted along the word that can be read in the most ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, reduce
from itertools import product
from operator import or_

from twisted_appserver.core.regex_graph import START, Graph
from twisted_appserver.core.regex_syntax import TooComplexError, parser
from twisted_appserver.core.strong_components import strong_components

EXPONENTIAL = "for ever"
MINUTES = "for minutes"  # the cube of the length or more: 8192 ** 3 / 6 steps
SECOND = "for a second"  # the square of the length: 33 million steps
UNKNOWN = "unknown"
MAX_VISITED = 200_000  # nodes of copies of the automaton; with more, the expression is too complex
WORD_LENGTH = 512  # characters of the word along which ways are counted
TOO_MANY_WAYS = 500_000  # on average over the nodes from which counting starts


def slowness(regex: str) -> str:
    """
    Return how long C{re} can need to reject a path of 8 KiB.

    @return: L{EXPONENTIAL}, L{MINUTES} or L{SECOND}; L{UNKNOWN} if the expression cannot be checked; empty if
        it is safe.
    """
    if parser is None:
        return UNKNOWN
    try:
        return _slowness(Graph(regex))
    except (TooComplexError, RecursionError):
        return UNKNOWN


def _slowness(graph: Graph) -> str:
    """Return the worst result for an expression and for each of its atomic groups."""
    found = {_Ambiguity(graph).slowness(), *(_slowness(Graph(*each)) for each in graph.atomic)}
    return next((each for each in (EXPONENTIAL, MINUTES, SECOND) if each in found), "")


class _Ambiguity:
    """
    Count the ways in which an automaton can read a word.

    C{_next}, C{_twice} and C{_left} are the results of L{Graph.following}. A loop is a strongly connected
    component with at least one edge.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph, self._visited = graph, 0
        self._next: dict[int, dict[int, int]] = {}
        self._twice: dict[int, dict[int, int]] = {}
        self._left: dict[int, dict[int, int]] = {}
        for node in (START, *(each for each, reads in enumerate(graph.reads) if reads)):
            self._next[node], self._twice[node], self._left[node] = graph.following(node)
        groups = strong_components([START], lambda node: self._next[node])
        groups.reverse()  # in the order in which they read
        self._loops = [set(group) for group in groups if len(group) > 1 or group[0] in self._next[group[0]]]

    def slowness(self) -> str:
        if any(map(self._exponential, self._loops)):
            return EXPONENTIAL
        degree = self._degree()
        if degree:
            return SECOND if degree == 1 else MINUTES
        return EXPONENTIAL if self._graph.choices >= 16 and self._has_too_many_ways() else ""

    def _count_visit(self) -> None:
        self._visited += 1
        if self._visited > MAX_VISITED:
            raise TooComplexError

    def _exponential(self, loop: set[int]) -> bool:
        """Return whether a word leads from a node of a loop back to this node in two ways."""
        if any(there in loop for node in loop for there in self._twice[node]):
            return True

        def successors(pair: tuple[int, int]) -> Iterable[tuple[int, int]]:
            if pair[0] == pair[1]:
                yield from ((there, there) for there in self._next[pair[0]] if there in loop)
                edges = self._left  # only these ways can diverge
            else:
                edges = self._next
            for one, first in edges[pair[0]].items():
                if one in loop:
                    for two, second in edges[pair[1]].items():
                        self._count_visit()
                        if (
                            two in loop
                            and first & second
                            and not (pair[0] == pair[1] and self._in_same_atomic_group(one, two))
                        ):
                            yield one, two

        pairs = strong_components([(node, node) for node in loop], successors)
        return any(len({one == two for one, two in group}) == 2 for group in pairs)

    def _in_same_atomic_group(self, one: int, two: int) -> bool:
        """Return whether two nodes are in the same atomic group, which goes only one way from any place."""
        return self._graph.groups[one] == self._graph.groups[two] != 0

    def _degree(self) -> int:
        """Return the degree of the polynomial: how many loops in a row share a word with the next loop."""
        degrees: list[int] = []
        for index, second in enumerate(self._loops):
            degrees.append(0)
            for before, first in enumerate(self._loops[:index]):
                between = self._between(first, second)
                if between and degrees[before] >= degrees[index]:
                    degrees[index] = degrees[before] + self._polynomial(first, between, second)
        return max(degrees, default=0)

    def _between(self, first: set[int], second: set[int]) -> set[int]:
        """Return the nodes on the ways from one loop to another, including both; empty if there is no way."""
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
                self._count_visit()
                if there not in found:
                    found.add(there)
                    left.append(there)
        return found

    def _polynomial(self, first: set[int], between: set[int], second: set[int]) -> bool:
        """Return whether the same word leads around both loops and from the first to the second."""
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
                self._count_visit()
                if a & b & c:
                    yield one, two, three
            if nodes[1] == nodes[2]:
                yield nodes[0], nodes[0], nodes[2]

        groups = strong_components([(one, one, two) for one in first for two in second], successors)
        return any(
            one == middle and (one, two, two) in members
            for group in groups
            if len(group) > 1
            for members in [set(group)]
            for one, middle, two in group
        )

    def _readable(self, loop: set[int]) -> int:
        return reduce(or_, (self._graph.reads[node] for node in loop))

    def _has_too_many_ways(self) -> bool:
        """Count ways along a word that is built from the character with the most ways at each step."""
        letters = self._representatives()
        ways = dict.fromkeys(self._next, 1)
        total = 0
        for _ in range(min(WORD_LENGTH, len(self._next))):
            ways = max((self._read(ways, letter) for letter in letters), key=lambda each: sum(each.values()))
            total += sum(ways.values())
            if total > TOO_MANY_WAYS * len(self._next):
                return True
        return False

    def _representatives(self) -> list[int]:
        """Return one character, as a mask, for each group of characters that belong to the same sets."""
        reads = [self._graph.reads[node] for node in self._next if node]
        kinds = {tuple(mask >> bit & 1 for mask in reads): 1 << bit for bit in range(max(reads).bit_length())}
        return list(kinds.values())

    def _read(self, ways: Mapping[int, int], letter: int) -> dict[int, int]:
        """Return the number of ways to each node after one more character."""
        found: dict[int, int] = {}
        for node, number in ways.items():
            for there, mask in self._next[node].items():
                if mask & letter:
                    more = number * (2 if self._twice[node].get(there, 0) & letter else 1)
                    found[there] = found.get(there, 0) + more
        return found
