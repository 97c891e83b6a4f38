"""The automaton of a regular expression: which character can follow which, and in how many ways. Pure.

Strategy: Python's matcher walks through this automaton and tries every way until one fits. A node that
reads stands for one set of characters in the expression, and edges lead from node to node without reading
(Thompson's construction). Bounded repetitions are written out up to a limit and count as endless beyond it.
Sets are bit masks over sample characters: every character that the expression names, its neighbours, and a
selection of others.

What this model ignores makes it larger than the truth, never smaller: lookarounds and boundaries always
hold, and a backreference matches any text. An atomic group keeps its ways, but they are marked: it commits to
its first match, so that no two of them are tried from one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

codes: Any = None
parser: Any = None
with suppress(ImportError):  # both are private, and a later Python may move them
    codes, parser = import_module("re._constants"), import_module("re._parser")
REPEATS: tuple[Any, ...] = () if codes is None else (codes.MAX_REPEAT, codes.MIN_REPEAT)
LARGEST = 1500  # nodes that bounded repetitions are written out to
STEPS = 20_000  # ways from one node to others that are tried before the expression counts as too complex
COMMON = [chr(code) for code in (*range(256), 0x391, 0x661, 0x3000, 0x4E2D, 0x1F600)]
START = 0


class TooComplexError(Exception):
    """Raised when an expression is too large, or too unusual, to be checked."""


class Graph:
    """
    The automaton of an expression.

    @param regex: must be a valid one, or a part of a parsed one.
    @param flags: of the expression that the part is from.
    @ivar reads: for each node the mask of the characters that it reads; 0 if it reads none.
    @ivar groups: for each node the number of the outermost atomic group around it; 0 if there is none.
    @ivar atomic: the contents of atomic groups. A matcher tries their ways before it leaves them.
    @ivar choices: how many places let the matcher choose, with repetitions written out.
    @raise TooComplexError: when it has what cannot be modelled.
    """

    def __init__(self, regex: Any, flags: int = 0) -> None:
        tree = parser.parse(regex) if isinstance(regex, str) else regex
        self._samples = sorted({*COMMON, *_named(tree)})
        self._all = (1 << len(self._samples)) - 1
        self._depth = 0  # endless repetitions around the current item
        self.reads: list[int] = []
        self.groups: list[int] = []
        self._group_now = self._last_group = 0
        self.atomic: list[tuple[Any, int]] = []
        self._edges: list[list[tuple[int, int]]] = []  # to which nodes, and which characters may follow
        self._loops: set[int] = set()  # where endless repetitions begin
        self.choices = 0
        self._build = self._table()
        self._sequence(tree, self._node(), flags or tree.state.flags)

    def _table(self) -> dict[Any, Any]:
        """What builds each kind of item; C{None} for those that read one character."""
        table: dict[Any, Any] = {
            codes.BRANCH: lambda value, node, flags: self._branch(value[1], node, flags),
            codes.GROUPREF_EXISTS: lambda value, node, flags: self._branch(
                [value[1], value[2] or []], node, flags
            ),
            codes.SUBPATTERN: self._group,
            codes.ATOMIC_GROUP: self._commit,
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
        self.groups.append(self._group_now)
        self._edges.append([])
        if len(self.reads) > 10 * LARGEST:
            raise TooComplexError
        return len(self.reads) - 1

    def _edge(self, here: int, there: int, allowed: int | None = None) -> None:
        self._edges[here].append((there, self._all if allowed is None else allowed))

    def _sequence(self, items: Any, node: int, flags: int) -> int:
        """Add these items behind a node. Returns the last node."""
        for code, value in items:
            if code not in self._build:
                raise TooComplexError
            build = self._build[code]
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

    def _commit(self, items: Any, node: int, flags: int) -> int:
        """An atomic group."""
        self.atomic.append((items, flags))
        return self._within(node, lambda inside: self._sequence(items, inside, flags))

    def _possessive(self, value: Any, node: int, flags: int) -> int:
        """Each iteration commits, and so does the whole."""
        self.atomic.append((value[2], flags))
        return self._within(node, lambda inside: self._repeat(value, inside, flags, True))

    def _within(self, node: int, build: Callable[[int], int]) -> int:
        outer = self._group_now
        if not outer:
            self._last_group += 1
            self._group_now = self._last_group
        inside = self._node()
        self._edge(node, inside)
        end = build(inside)
        self._group_now = outer
        out = self._node()
        self._edge(end, out)
        return out

    def _group(self, value: Any, node: int, flags: int) -> int:
        _, added, removed, items = value
        return self._sequence(items, node, (flags | added) & ~removed)

    def _assertion(self, value: Any, node: int, flags: int) -> int:
        """A way to nowhere: what is read there is read again. Looking behind reads a fixed number."""
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
        size = _size(body)
        written = least if most is codes.MAXREPEAT else most
        if written * size > LARGEST:  # about as many as without end
            nullable = least > 1 and _nullable(body)
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
        """A repetition without end: once at least, unless it is optional."""
        start, out = self._node(), self._node()
        self._loops.add(start)
        self._edge(node, start)
        self._depth += 1
        end = self._sequence(body, start, flags)
        self._depth -= 1
        allowed = None
        if possessive and end == start + 2:  # one set, which takes all that it can
            allowed = self._all & ~self.reads[end]
        for _ in range(1 + doubled):
            self._edge(end, start)
        self._edge(end, out, allowed)
        if optional:
            self._edge(node, out, allowed)
        return out

    def following(self, node: int) -> tuple[dict[int, int], dict[int, int], dict[int, int]]:
        """
        Which nodes can read the next character after a node.

        @return: by these nodes, the characters with which they are reached; those with which they are
            reached in more than one way; and those with which they are reached on ways that leave the atomic
            group around the node, if there is one. Whether such a group is left is decided once, so only
            ways that leave it count as more than one. Iterations that read nothing are not repeated, as in
            C{re}.
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
            if steps > STEPS:
                raise TooComplexError
        return found, twice, left

    def _mask(self, code: Any, value: Any, flags: int) -> int:
        """The characters that one item matches."""
        items = value if code is codes.IN else [(code, value)]
        negated = bool(items) and items[0][0] is codes.NEGATE
        test = _one_of(items[negated:], flags)
        if flags & re.IGNORECASE:
            plain = test
            test = lambda each: any(map(plain, {each, *each.lower(), *each.upper()}))  # noqa: E731
        mask = sum(1 << index for index, each in enumerate(self._samples) if test(each) is not negated)
        return mask or (1 << len(self._samples))  # a set without any sample still is one


def _one_of(items: Any, flags: int) -> Callable[[str], bool]:
    """Whether one of a set's items matches a character."""
    words: list[re.Pattern[str]] = []
    ranges: list[tuple[int, int]] = []
    for code, value in items:
        if code is codes.LITERAL:
            ranges.append((value, value))
        elif code is codes.RANGE:
            ranges.append(value)
        elif code is codes.NOT_LITERAL:
            ranges += [(0, value - 1), (value + 1, 0x10FFFF)]
        elif code is codes.ANY:
            ranges += [(0, 0x10FFFF)] if flags & re.DOTALL else [(0, 9), (11, 0x10FFFF)]
        elif code is codes.CATEGORY:
            words.append(_category(value, flags))
        else:
            raise TooComplexError
    return lambda each: (
        any(low <= ord(each) <= high for low, high in ranges) or any(word.match(each) for word in words)
    )


def _category(value: Any, flags: int) -> re.Pattern[str]:
    """What C{\\d}, C{\\S} and the like match."""
    name = str(value).rpartition("_")[2]
    letter = name[0].lower()
    return re.compile("\\" + (letter.upper() if "NOT" in str(value) else letter), flags & re.ASCII)


def _named(items: Any) -> Iterator[str]:
    """The characters that an expression names, and those beside them, in either case."""
    for item in _walk(items):
        code, value = item
        ends = value if code is codes.RANGE else [value] if code in (codes.LITERAL, codes.NOT_LITERAL) else []
        for end in ends:
            for near in (end - 1, end, end + 1):
                if 0 <= near <= 0x10FFFF:
                    yield chr(near)
                    yield from chr(near).swapcase()[:1]


def _walk(items: Any) -> Iterator[tuple[Any, Any]]:
    """Every item of an expression, however deep."""
    for code, value in items:
        yield code, value
        for part in _parts(code, value):
            yield from _walk(part)


def _parts(code: Any, value: Any) -> list[Any]:
    """The expressions of which an item is made."""
    if code is codes.IN:
        return [value]
    if code is codes.BRANCH:
        return list(value[1])
    if code is codes.ATOMIC_GROUP:
        return [value]
    if code in (codes.SUBPATTERN, codes.ASSERT, codes.ASSERT_NOT):
        return [value[-1]]
    if code in (*REPEATS, codes.POSSESSIVE_REPEAT):
        return [value[2]]
    if code is codes.GROUPREF_EXISTS:
        return [part for part in value[1:] if part]
    return []


def _size(items: Any) -> int:
    """How many nodes an expression has, with bounded repetitions written out."""
    total = 0
    for code, value in items:
        inside = 1 if code is codes.IN else sum(map(_size, _parts(code, value))) or 1
        if code in (*REPEATS, codes.POSSESSIVE_REPEAT):
            least, most, _ = value
            inside *= max(1, least) if most is codes.MAXREPEAT else max(1, most)
        total += min(inside, LARGEST + 1)
    return total


def _nullable(items: Any) -> bool:
    """Whether an expression can match nothing."""
    return bool(items.getwidth()[0] == 0)
