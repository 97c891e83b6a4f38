"""How items travel: with their types, and in an order that is theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.tqueue.client.items import ItemError, from_task, sort_key, to_task

keys = st.text() | st.sampled_from(["$type", "item", "worker"])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
hashable = scalars | st.tuples(scalars, scalars) | st.frozensets(scalars, max_size=3)


def deeper(inner: Any) -> Any:
    return st.lists(inner) | st.dictionaries(keys | hashable, inner) | st.tuples(inner, inner)


items = st.recursive(hashable | st.sets(scalars, max_size=3), deeper, max_leaves=10)


def typed(value: Any) -> Any:
    """A value with the types in it, since 1 == 1.0 == True."""
    if isinstance(value, dict):
        return dict, {repr(typed(key)): typed(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [typed(each) for each in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(map(repr, value))
    return type(value), repr(value)


def nested(levels: int, around: Callable[[Any], Any], item: Any = "[{") -> Any:
    for _ in range(levels):
        item = around(item)
    return item


class ItemTests(SynchronousTestCase):
    @given(items)
    def test_round(self, item: Any) -> None:
        """Whatever can travel arrives as it was, types included, and as a JSON object on the way."""
        fields = json.loads(to_task(item))
        self.assertIs(type(fields), dict)
        self.assertNotIn("worker", fields)
        self.assertEqual(typed(from_task(fields)), typed(item))

    def test_plain(self) -> None:
        """A dict is the task's fields; another item is the field C{item}."""
        self.assertEqual(json.loads(to_task({"a": [1, "x"]})), {"a": [1, "x"]})
        self.assertEqual(json.loads(to_task(7)), {"item": 7})
        self.assertEqual(json.loads(to_task((1, 2))), {"item": {"$type": ["tuple", [1, 2]]}})

    def test_foreign(self) -> None:
        """What another program put comes out as it is, even if it looks like ours."""
        for fields in ({}, {"$type": 1}, {"a": {"$type": ["unknown", 1]}}, {"item": 1, "b": 2}):
            self.assertEqual(from_task(fields), fields)

    def test_wrong(self) -> None:
        """What is tagged and is not what its tag says is one kind of error."""
        for tagged in (["bytes", "x"], ["bytes", 1], ["set", [[1]]], ["dict", [1]], ["float", 10**400]):
            self.assertRaises(ItemError, from_task, {"a": {"$type": tagged}})

    def test_cannot(self) -> None:
        """What cannot travel is refused, by name."""
        for item in (object(), [{"a": print}], 1j, "\ud800", {"\udfff": 1}):
            self.assertIn("a task cannot hold", str(self.assertRaises(TypeError, to_task, item)))

    def test_deep(self) -> None:
        """What is nested too deep, or without an end, is refused by the same error."""
        endless: list[Any] = []
        endless.append(endless)
        for levels in (100, 200, 450, 5000):
            self.assertRaises(TypeError, to_task, nested(levels, lambda item: [item]))
        self.assertRaises(TypeError, to_task, endless)
        self.assertTrue(to_task([[[]]] * 1000))


numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
simple = numbers | st.text()


class OrderTests(SynchronousTestCase):
    @given(numbers, numbers)
    def test_numbers(self, one: float, other: float) -> None:
        """Numbers sort as they do in Python."""
        self.assertEqual(sort_key(one) < sort_key(other), float(one) < float(other))

    @given(st.text(), st.text())
    def test_texts(self, one: str, other: str) -> None:
        """Texts sort as they do in Python."""
        self.assertEqual(sort_key(one) < sort_key(other), one < other)

    @given(st.lists(numbers), st.lists(numbers), st.text(), st.text())
    def test_tuples(self, one: list[float], other: list[float], text: str, other_text: str) -> None:
        """Tuples sort by their first difference; a shorter one comes first."""
        left, right = (0, text, *map(float, one)), (0, other_text, *map(float, other))
        self.assertEqual(sort_key(left) < sort_key(right), left < right)

    def test_empty(self) -> None:
        """An empty tuple or list comes before any other, as in Python."""
        for empty in ((), []):
            for other in (-1,), (-1e308, 0), [1], ("",), [[]]:
                self.assertLess(sort_key(empty), sort_key(other))

    def test_huge(self) -> None:
        """Numbers beyond any float are at the ends."""
        self.assertLess(sort_key(-(10**400)), sort_key(-1e308))
        self.assertLess(sort_key(1e308), sort_key(10**400))
