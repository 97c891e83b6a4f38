"""Tests of descriptions that come from docstrings, and of the names of functions on their page."""

from __future__ import annotations

from typing import Any

import msgspec
from openapi_spec_validator import validate
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Router
from twisted_appserver.admin.docstrings import read_docstring
from twisted_appserver.admin.openapi import make_document
from twisted_appserver.tqueue import url_patterns as queue_patterns

EPYTEXT = """Order some things.

It takes C{days}, see L{Order}.

@param name: the name
    of the thing
@type name: str
@param count: how many: at least one
@return: the order
@raise ValueError: never
"""
SPHINX = """
    Order some things.

    It takes `days`, see `Order`.

    :param str name: the name of the thing
    :param count: how many: at least one
    :type count: int
    :returns: the order
    :raises ValueError: never
    """
GOOGLE = """Order some things.

    Args:
        name (str): the name
            of the thing

        **count: how many: at least one

    Returns:
        the order

    Raises:
        ValueError: never

    It takes `days`, see `Order`.
    """
NUMPYDOC = """Order some things.

    It takes `days`, see `Order`.

    Parameters
    ----------
    name : str
        the name
        of the thing
    count : int, optional
        how many: at least one

    Returns
    -------
    dict
        the order
    """


class Order(msgspec.Struct):
    """An order.

    @ivar article: the name of the thing
    """

    article: str = ""


class DocstringTests(SynchronousTestCase):
    def test_every_dialect_is_read(self) -> None:
        for text in (EPYTEXT, SPHINX, GOOGLE, NUMPYDOC):
            found = read_docstring(text)
            self.assertEqual(found.summary, "Order some things.")
            self.assertEqual(found.text, "It takes `days`, see `Order`.")
            expected = {"name": "the name of the thing", "count": "how many: at least one"}
            self.assertEqual(found.parameters, expected)
            self.assertEqual(found.result, "the order")

    def test_other_text_is_kept(self) -> None:
        """Lists, code, and words that only look like fields or sections."""
        text = "Args: none\n\n- one\n- two\n\n    code: 1\n\n:ref: x\n\nReturns\nsomething."
        for summary in ("Do it.", "@decorators are described here:"):
            found = read_docstring(f"{summary}\n\n{text}")
            self.assertEqual((found.summary, found.text), (summary, text))
            self.assertEqual((found.parameters, found.result), ({}, ""))
        self.assertEqual(read_docstring("").summary, "")

    def test_descriptions_reach_the_document(self) -> None:
        """In the path, the query, the body, the response, and the members of a class."""

        def order(name: str, item: Order | None = None, count: int = 1) -> dict[str, Any]:
            """Order.

            @param name: the name
            @param item: the item
            @param count: how many
            @return: the order
            """
            return {}

        made = make_document(Router([(r"/order/(?P<name>)/", order)]).entries, "x")
        validate(made)
        item = made["paths"]["/order/{name}/"]
        self.assertEqual(
            [each.get("description") for each in item["get"]["parameters"]],
            ["the name", "the name of the thing", "how many"],
        )
        body = item["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
        self.assertEqual(
            {name: each["description"] for name, each in body.items()},
            {"item": "the item", "count": "how many"},
        )
        self.assertEqual(item["post"]["responses"]["200"]["description"], "the order")
        members = made["components"]["schemas"]["Order"]
        self.assertEqual(members["description"], "An order.")
        self.assertEqual(members["properties"]["article"]["description"], "the name of the thing")

    def test_member_may_have_the_name_of_a_parameter(self) -> None:
        """The query string is described once."""

        def order(item: Order, article: int = 0) -> dict[str, Any]:
            return {}

        made = make_document(Router([(r"/order/", order)]).entries, "x")
        validate(made)
        self.assertEqual(
            [each["name"] for each in made["paths"]["/order/"]["get"]["parameters"]], ["article"]
        )


class FunctionNameTests(SynchronousTestCase):
    def names(self, *table: Any) -> dict[str, str]:
        """The name of the function at each path."""
        made = make_document(Router(table).entries, "x")
        return {path: item["get"]["x-function"] for path, item in made["paths"].items()}

    def test_function_has_one_name_at_all_its_paths(self) -> None:
        """Functions with equal names get longer ones."""

        def make() -> Any:
            def order(a: str = "") -> dict[str, str]:
                return {"a": a}

            return order

        first, second = make(), make()
        found = self.names((r"/x/", first), (r"/x", first), (r"/y/(?P<a>)/", first))
        self.assertEqual(set(found.values()), {"order"})
        found = self.names((r"/x/", first), (r"/y/", second), (r"/z/", first), (r"/l/", lambda: {"l": 1}))
        self.assertEqual(found["/x/"], found["/z/"])
        self.assertEqual(len(set(found.values())), 3)
        self.assertEqual((found["/y/"], found["/l/"]), ("order_at_y", "lambda"))


class QueueFunctionTests(SynchronousTestCase):
    def test_requests_of_queues_have_their_options(self) -> None:
        """TQueueSrv reads them from the call, so signatures do not show them."""
        made = msgspec.to_builtins(make_document(Router(queue_patterns(reactor=reactor)).entries, "x"))
        validate(made)
        put = made["paths"]["/{worker}/put/"]["post"]
        found = {each["name"]: each for each in put["parameters"]}
        self.assertTrue({"worker", "priority", "delay", "ttl", "unique", "retry_first"} <= found.keys())
        self.assertNotIn("lease", found)
        missing = [
            name for name, each in found.items() if not each.get("description") and each["in"] == "query"
        ]
        self.assertEqual(missing, [])
        self.assertEqual(put["requestBody"]["content"].keys(), {"application/json"})
        state = {each["name"]: each for each in made["paths"]["/{worker}/peek/"]["get"]["parameters"]}[
            "state"
        ]
        self.assertIn("buried", state["schema"]["enum"])
        config = made["paths"]["/{worker}/config/"]["post"]["requestBody"]["content"]["application/json"]
        self.assertEqual(config["schema"], {"$ref": "#/components/schemas/Config"})
        self.assertEqual(made["paths"]["/{worker}/put"]["get"]["x-function"], "put")
