"""Tests of tools: which functions are tools, and their names, schemas and hints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from twisted_appserver import Call, PatternError, Reply, Route, Router, Upload, include
from twisted_appserver.admin.mcp.tools import Tool, find_tools, hints


class Address(msgspec.Struct):
    """Where to send it.

    @ivar city: the name of a town.
    """

    city: str


@dataclass
class Order:
    """An order."""

    article: str
    to: Address
    count: int = 1


def order(order: Order, note: str = "") -> Order:
    """
    Place an order.

    It arrives tomorrow.

    @param note: for the driver.
    @return: the order as it was placed.
    """
    return order


def by_id(id: int, verbose: bool = False) -> dict[str, int]:
    return {"id": id}


def steps() -> Iterator[dict[str, int]]:
    yield {"done": 1}


def several() -> list[Address]:
    return []


def send(file: Upload) -> dict[str, int]:
    return {}


def picture(name: str, file: Upload | None = None) -> Reply:
    return Reply(b"")


def anything(**variables: Any) -> dict[str, Any]:
    return variables


def every(variables: dict) -> dict:  # type: ignore[type-arg]
    return variables


def of_call(call: Call) -> dict[str, Any]:
    return {}


def plain():  # type: ignore[no-untyped-def]
    return {}


def tools(*table: Any, all_functions: bool = True) -> dict[str, Tool]:
    return find_tools(Router(table), all_functions)[0]


def only(*table: Any) -> dict[str, Any]:
    """The description of the only tool of a table."""
    (found,) = tools(*table).values()
    for name in ("inputSchema", "outputSchema"):
        Draft202012Validator.check_schema(found.definition.get(name, {}))
    return found.definition


class ChoiceTests(SynchronousTestCase):
    def test_route_decides_before_the_option(self) -> None:
        table = (Route("/a", by_id, tool=True), Route("/b", several, tool=False), ("/c", anything))
        self.assertEqual(list(tools(*table)), ["by_id", "anything"])
        self.assertEqual(list(tools(*table, all_functions=False)), ["by_id"])

    def test_wrong_choice_is_refused(self) -> None:
        error = self.assertRaises(PatternError, Router, (Route("/a", by_id, tool="yes"),))  # type: ignore[arg-type]
        self.assertIn("tool must be True, False or None, not 'yes'", str(error))

    def test_function_that_cannot_be_a_tool_is_named_with_the_reason(self) -> None:
        table = (("/file", send), Route("/static/.*", Data(b"", "text/plain")), (r"/v\d+", several))
        found, reasons = find_tools(Router(table), True)
        self.assertEqual(found, {})
        self.assertEqual(len(reasons), 2)
        self.assertIn("send cannot be a tool: file is a file, which JSON cannot contain", reasons[0])
        self.assertIn("several cannot be a tool", reasons[1])

    def test_resource_that_should_be_a_tool_is_named(self) -> None:
        _, (reason,) = find_tools(Router((Route("/static", Data(b"", "text/plain"), tool=True),)), False)
        self.assertIn("it is a Twisted resource", reason)


class NameTests(SynchronousTestCase):
    def test_function_has_its_own_name(self) -> None:
        self.assertEqual(
            list(tools(("/a", by_id), Route("/b", several, name="Shop.list all"))), ["by_id", "list_all"]
        )

    def test_functions_of_one_name_have_their_paths_in_it(self) -> None:
        found = tools((r"/by_id/(?P<id>)", by_id), (r"/old/(?P<id>)", by_id), ("/old-(?P<id>)", by_id))
        self.assertEqual(list(found), ["by_id_by_id", "by_id_at_old_by_id", "by_id_at_old_by_id_2"])
        self.assertEqual([tool.index for tool in found.values()], [0, 1, 2])

    def test_name_has_the_characters_and_the_length_that_hosts_accept(self) -> None:
        named = (
            Route(f"/{n}", several, name=name)
            for n, name in enumerate(("größe", "日本", "x" * 200, "y" * 64))
        )
        self.assertEqual(list(tools(*named)), ["gr_e", "function", "x" * 64, "y" * 64])
        twice = tools(*(Route(f"/{n}", several, name="z" * 200) for n in range(2)))
        self.assertEqual({len(name) <= 64 for name in twice}, {True})
        self.assertEqual(len(twice), 2)


class SchemaTests(SynchronousTestCase):
    def test_parameters_are_the_arguments(self) -> None:
        shown = only(("/order", order))
        self.assertEqual(
            shown["description"],
            "Place an order.\n\nIt arrives tomorrow.\n\nReturns: the order as it was placed.",
        )
        schema = shown["inputSchema"]
        self.assertEqual(schema["properties"]["order"], {"$ref": "#/$defs/Order"})
        self.assertEqual(
            schema["properties"]["note"], {"type": "string", "default": "", "description": "for the driver."}
        )
        self.assertEqual((schema["required"], schema["additionalProperties"]), (["order"], False))
        self.assertEqual(sorted(schema["$defs"]), ["Address", "Order"])
        self.assertEqual(
            schema["$defs"]["Address"]["properties"]["city"]["description"], "the name of a town."
        )

    def test_schema_refers_only_to_its_own_definitions(self) -> None:
        for name in ("inputSchema", "outputSchema"):
            schema = only(("/order", order))[name]
            validator = Draft202012Validator(schema)
            good = {"article": "a", "to": {"city": "b"}}
            good = {"order": good} if name == "inputSchema" else good
            self.assertTrue(validator.is_valid(good))
            self.assertFalse(validator.is_valid({"order": {"article": 1}}))

    def test_group_of_every_path_is_required(self) -> None:
        schema = only((r"/(?:en|de)/(?P<id>\d+)", by_id))["inputSchema"]
        self.assertEqual((schema["required"], schema["properties"]["id"]), (["id"], {"type": "integer"}))
        schema = only((r"/list(?:/(?P<kind>[a-z]+))?", anything))["inputSchema"]
        self.assertNotIn("required", schema)
        self.assertEqual(schema["properties"]["kind"], {"type": "string", "pattern": "^(?:[a-z]+)$"})

    def test_function_that_takes_all_variables_has_an_open_schema(self) -> None:
        for function in (anything, every, of_call):
            schema = only(("/a", function))["inputSchema"]
            self.assertEqual((schema["properties"], schema["additionalProperties"]), ({}, True))

    def test_optional_file_is_left_out(self) -> None:
        self.assertEqual(list(only(("/a", picture))["inputSchema"]["properties"]), ["name"])

    def test_result_is_described_if_the_annotation_describes_it(self) -> None:
        self.assertEqual(
            only(("/a", by_id))["outputSchema"],
            {"type": "object", "additionalProperties": {"type": "integer"}},
        )
        for function in (picture, steps, plain):
            self.assertNotIn("outputSchema", only(("/a", function)))

    def test_clients_of_earlier_revisions_see_only_objects_as_results(self) -> None:
        (listed,) = tools(("/a", several)).values()
        self.assertEqual(listed.shown(True)["outputSchema"]["type"], "array")
        self.assertNotIn("outputSchema", listed.shown(False))
        (single,) = tools(("/a", by_id)).values()
        self.assertIn("outputSchema", single.shown(False))

    def test_generator_is_known_by_its_function(self) -> None:
        (found,) = tools(include("/x", (("/a", steps),), wrap=lambda function: function)).values()
        self.assertTrue(found.streams)


class HintTests(SynchronousTestCase):
    def test_hints_follow_from_the_methods(self) -> None:
        for methods, expected in (
            (("GET",), {"readOnlyHint": True}),
            (("QUERY",), {"readOnlyHint": True}),
            (("GET", "POST"), {"readOnlyHint": False}),
            (("POST",), {"readOnlyHint": False}),
            (("PUT",), {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}),
            (("DELETE",), {"readOnlyHint": False, "destructiveHint": True, "idempotentHint": True}),
            (("PATCH",), {"readOnlyHint": False, "destructiveHint": True}),
            (("POST", "DELETE"), {"readOnlyHint": False, "destructiveHint": True}),
        ):
            self.assertEqual(only(Route("/a", several, methods=methods))["annotations"], expected, methods)

    def test_route_that_may_be_repeated_is_idempotent(self) -> None:
        self.assertEqual(hints(frozenset({"POST"}), True), {"readOnlyHint": False, "idempotentHint": True})
