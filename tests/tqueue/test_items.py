"""Items arrive with their types, and are sorted like in Python."""

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
    """Return the value together with its types, because 1 == 1.0 == True."""
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
    def test_any_item_arrives_with_its_types(self, item: Any) -> None:
        """On the way it is a JSON object."""
        fields = json.loads(to_task(item))
        self.assertIs(type(fields), dict)
        self.assertNotIn("worker", fields)
        self.assertEqual(typed(from_task(fields)), typed(item))

    def test_dict_becomes_the_fields_of_its_task(self) -> None:
        """Another item becomes the field C{item}."""
        self.assertEqual(json.loads(to_task({"a": [1, "x"]})), {"a": [1, "x"]})
        self.assertEqual(json.loads(to_task(7)), {"item": 7})
        self.assertEqual(json.loads(to_task((1, 2))), {"item": {"$type": ["tuple", [1, 2]]}})

    def test_tasks_of_other_programs_arrive_unchanged(self) -> None:
        """Even if they look like ours."""
        for fields in ({}, {"$type": 1}, {"a": {"$type": ["unknown", 1]}}, {"item": 1, "b": 2}):
            self.assertEqual(from_task(fields), fields)

    def test_wrongly_tagged_value_is_an_item_error(self) -> None:
        for tagged in (["bytes", "x"], ["bytes", 1], ["set", [[1]]], ["dict", [1]], ["float", 10**400]):
            self.assertRaises(ItemError, from_task, {"a": {"$type": tagged}})

    def test_item_that_json_cannot_hold_is_refused_by_name(self) -> None:
        for item in (object(), [{"a": print}], 1j, "\ud800", {"\udfff": 1}):
            self.assertIn("tasks and results cannot hold", str(self.assertRaises(TypeError, to_task, item)))

    def test_item_that_is_nested_too_deeply_is_refused(self) -> None:
        """So is one that contains itself."""
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
    def test_numbers_sort_as_in_python(self, one: float, other: float) -> None:
        self.assertEqual(sort_key(one) < sort_key(other), float(one) < float(other))

    @given(st.text(), st.text())
    def test_texts_sort_as_in_python(self, one: str, other: str) -> None:
        self.assertEqual(sort_key(one) < sort_key(other), one < other)

    @given(st.lists(numbers), st.lists(numbers), st.text(), st.text())
    def test_tuples_sort_as_in_python(
        self, one: list[float], other: list[float], text: str, other_text: str
    ) -> None:
        """By their first difference; a shorter one comes first."""
        left, right = (0, text, *map(float, one)), (0, other_text, *map(float, other))
        self.assertEqual(sort_key(left) < sort_key(right), left < right)

    def test_empty_tuple_comes_first(self) -> None:
        """Also an empty list, as in Python."""
        for empty in ((), []):
            for other in (-1,), (-1e308, 0), [1], ("",), [[]]:
                self.assertLess(sort_key(empty), sort_key(other))

    def test_numbers_beyond_any_float_come_at_the_ends(self) -> None:
        self.assertLess(sort_key(-(10**400)), sort_key(-1e308))
        self.assertLess(sort_key(1e308), sort_key(10**400))
