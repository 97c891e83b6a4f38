"""
The automaton of a regular expression: which characters can follow each other, and in how many ways. Pure.

Strategy: Python's matcher walks through this automaton and tries every way until one matches. A node that
reads stands for one set of characters in the expression. Edges lead from node to node without reading
(Thompson's construction). Bounded repetitions are written out up to a limit; beyond it they count as endless.
Sets are bit masks over sample characters: every character that the expression names, its neighbours, and a
selection of others.

The model simplifies in one direction only, so it may contain more ways than the expression, never fewer:
lookarounds and boundaries always match, and a backreference matches any text. The ways through an atomic
group are kept but marked: the group commits to its first match, so the matcher never tries two of them from
the same place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from twisted_appserver.core.regex_syntax import (
    REPEATS,
    TooComplexError,
    character_test,
    codes,
    matches_empty,
    named_characters,
    parser,
    size_of,
)

MAX_WRITTEN_OUT = 1500  # nodes of a bounded repetition; larger ones count as endless
MAX_NODES = 10 * MAX_WRITTEN_OUT  # nodes of an expression
MAX_STEPS = 20_000  # edges followed from one node; with more, the expression is too complex
COMMON = [chr(code) for code in (*range(256), 0x391, 0x661, 0x3000, 0x4E2D, 0x1F600)]
START = 0


class Graph:
    """
    The automaton of an expression.

    @param regex: a valid expression, or a part of a parsed one.
    @param flags: the flags of the expression that the part belongs to.
    @ivar reads: for each node, the mask of the characters that it reads; 0 if it reads none.
    @ivar groups: for each node, the number of the outermost atomic group around it; 0 if there is none.
    @ivar atomic: the contents of atomic groups with their flags. The matcher tries all ways through a group
        before it leaves the group.
    @ivar choices: the number of places where the matcher has a choice, with repetitions written out.
    @raise TooComplexError: when the expression cannot be modelled.
    """

    def __init__(self, regex: Any, flags: int = 0) -> None:
        tree = parser.parse(regex) if isinstance(regex, str) else regex
        self._samples = sorted({*COMMON, *named_characters(tree)})
        self._all = (1 << len(self._samples)) - 1
        self._depth = 0  # number of endless repetitions around the current item
        self.reads: list[int] = []
        self.groups: list[int] = []
        self._current_group = self._last_group = 0
        self.atomic: list[tuple[Any, int]] = []
        self._edges: list[
            list[tuple[int, int]]
        ] = []  # for each node: the next nodes, and the characters that may follow
        self._loops: set[int] = set()  # the nodes where endless repetitions begin
        self.choices = 0
        self._builders = self._builder_table()
        self._sequence(tree, self._node(), flags or tree.state.flags)

    def _builder_table(self) -> dict[Any, Any]:
        """Return the method that builds each kind of item; C{None} for an item that reads one character."""
        table: dict[Any, Any] = {
            codes.BRANCH: lambda value, node, flags: self._branch(value[1], node, flags),
            codes.GROUPREF_EXISTS: lambda value, node, flags: self._branch(
                [value[1], value[2] or []], node, flags
            ),
            codes.SUBPATTERN: self._subpattern,
            codes.ATOMIC_GROUP: self._atomic_group,
            codes.POSSESSIVE_REPEAT: self._possessive,
            codes.AT: lambda value, node, flags: node,
            codes.FAILURE: lambda value, node, flags: self._node(),
            codes.GROUPREF: self._reference,
        }
        table |= dict.fromkeys((codes.LITERAL, codes.NOT_LITERAL, codes.ANY, codes.IN))
        table |= dict.fromkeys(REPEATS, self._repeat)
        table |= dict.fromkeys((codes.ASSERT, codes.ASSERT_NOT), self._assertion)
        return table

    def _node(self, reads: int = 0) -> int:
        self.reads.append(reads)
        self.groups.append(self._current_group)
        self._edges.append([])
        if len(self.reads) > MAX_NODES:
            raise TooComplexError
        return len(self.reads) - 1

    def _edge(self, here: int, there: int, allowed: int | None = None) -> None:
        self._edges[here].append((there, self._all if allowed is None else allowed))

    def _sequence(self, items: Any, node: int, flags: int) -> int:
        """Add items behind a node, and return the last node."""
        for code, value in items:
            if code not in self._builders:
                raise TooComplexError
            build = self._builders[code]
            if build is None:
                following = self._node(self._mask(code, value, flags))
                self._edge(node, following)
                node = following
            else:
                node = build(value, node, flags)
        return node

    def _branch(self, branches: Iterable[Any], node: int, flags: int) -> int:
        out = self._node()
        self.choices += 1
        for branch in branches:
            inside = self._node()
            self._edge(node, inside)
            self._edge(self._sequence(branch, inside, flags), out)
        return out

    def _atomic_group(self, items: Any, node: int, flags: int) -> int:
        self.atomic.append((items, flags))
        return self._in_atomic_group(node, lambda inside: self._sequence(items, inside, flags))

    def _possessive(self, value: Any, node: int, flags: int) -> int:
        """A possessive repetition commits to each iteration and to the whole."""
        self.atomic.append((value[2], flags))
        return self._in_atomic_group(node, lambda inside: self._repeat(value, inside, flags, True))

    def _in_atomic_group(self, node: int, build: Callable[[int], int]) -> int:
        """Build nodes that are marked as one atomic group, unless they already are inside another."""
        outer = self._current_group
        if not outer:
            self._last_group += 1
            self._current_group = self._last_group
        inside = self._node()
        self._edge(node, inside)
        end = build(inside)
        self._current_group = outer
        out = self._node()
        self._edge(end, out)
        return out

    def _subpattern(self, value: Any, node: int, flags: int) -> int:
        _, added, removed, items = value
        return self._sequence(items, node, (flags | added) & ~removed)

    def _assertion(self, value: Any, node: int, flags: int) -> int:
        """
        Add the contents as a dead end: the characters that an assertion reads are read again afterwards.

        A lookbehind reads a fixed number of characters, so it needs no nodes.
        """
        direction, items = value
        if direction > 0:
            inside = self._node()
            self._edge(node, inside)
            self._sequence(items, inside, flags)
        return node

    def _reference(self, value: Any, node: int, flags: int) -> int:
        if self._depth:
            raise TooComplexError
        return self._endless([(codes.ANY, None)], node, flags | re.DOTALL, optional=True)

    def _repeat(self, value: Any, node: int, flags: int, possessive: bool = False) -> int:
        least, most, body = value
        size = size_of(body, MAX_WRITTEN_OUT)
        written = least if most is codes.MAXREPEAT else most
        if written * size > MAX_WRITTEN_OUT:  # so many that it behaves like an endless repetition
            nullable = least > 1 and matches_empty(body)
            return self._endless(body, node, flags, optional=least == 0, doubled=nullable)
        endless = most is codes.MAXREPEAT
        for _ in range(least - 1 if endless else least):
            node = self._sequence(body, node, flags)
        if endless:
            return self._endless(body, node, flags, optional=least == 0, possessive=possessive)
        out = self._node()
        self.choices += most
        for _ in range(most - least):
            self._edge(node, out)
            node = self._sequence(body, node, flags)
        self._edge(node, out)
        return out

    def _endless(
        self,
        body: Any,
        node: int,
        flags: int,
        optional: bool = False,
        doubled: bool = False,
        possessive: bool = False,
    ) -> int:
        """
        An endless repetition.

        @param optional: whether it may match nothing instead of at least one iteration.
        @param doubled: whether each iteration can be followed by the next in two ways.
        @param possessive: whether it keeps all characters that it can read.
        """
        start, out = self._node(), self._node()
        self._loops.add(start)
        self._edge(node, start)
        self._depth += 1
        end = self._sequence(body, start, flags)
        self._depth -= 1
        allowed = None
        if possessive and end == start + 2:  # a single set; it consumes every character that it matches
            allowed = self._all & ~self.reads[end]
        for _ in range(1 + doubled):
            self._edge(end, start)
        self._edge(end, out, allowed)
        if optional:
            self._edge(node, out, allowed)
        return out

    def following(self, node: int) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """
        Find the nodes that can read the next character after a node.

        Like C{re}, this does not repeat iterations that read nothing.

        @return: three masks of characters for each of these nodes: the characters that lead to it; the
            characters that lead to it in more than one way; and the characters that lead to it by ways that
            leave the atomic group around the start node. The matcher leaves such a group in one way only. So
            several ways count as more than one only if they leave the group.
        @raise TooComplexError: when there are too many ways.
        """
        found: dict[int, int] = {}
        twice: dict[int, int] = {}
        left: dict[int, int] = {}
        steps, group = 0, self.groups[node]
        ways: list[tuple[int, int, frozenset[int], bool]] = [(node, self._all, frozenset(), not group)]
        while ways:
            here, allowed, seen, outside = ways.pop()
            for there, mask in self._edges[here]:
                steps += 1
                both = allowed & mask
                leaves = outside or self.groups[there] != group
                if self.reads[there]:
                    both &= self.reads[there]
                    if both:
                        found[there] = found.get(there, 0) | both
                    if leaves and both:
                        if both & left.get(there, 0):
                            twice[there] = twice.get(there, 0) | both & left[there]
                        left[there] = left.get(there, 0) | both
                elif there not in seen:
                    after = seen | {there} if there in self._loops else seen
                    ways.append((there, both, after, leaves))
            if steps > MAX_STEPS:
                raise TooComplexError
        return found, twice, left

    def _mask(self, code: Any, value: Any, flags: int) -> int:
        """Return the mask of the characters that an item matches."""
        matches = character_test(code, value, flags)
        mask = sum(1 << index for index, each in enumerate(self._samples) if matches(each))
        return mask or (1 << len(self._samples))  # a set without any sample is still a set
