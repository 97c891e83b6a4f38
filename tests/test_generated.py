"""Tests with requests that are made from the description of a service: nothing is a fault of the server's."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.programs import ROOT
from twisted_appserver import Router
from twisted_appserver.admin.description import describe
from twisted_appserver.application import Application
from twisted_appserver.testing import Client

PATTERNS = Application.parse(str(ROOT / "examples" / "typed.py")).load()
DOCUMENT = msgspec.to_builtins(describe(Router(PATTERNS).entries, "typed"))
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if isinstance(operation, dict)
]
TEXTS = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.dates().map(str),
    st.uuids().map(str),
    st.sampled_from(
        ["m", "ft", "up", "true", "1e999", "-0", "\x00", "\ud83d\ude00", "9" * 5000, "%zz", "../", "NaN"]
    ),
)
NAMES = st.sampled_from(["x", "y", "name", "count", "a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner),
    max_leaves=8,
)  # fmt: skip


def of_schema(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, more or less."""
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([of_schema(each) for each in schema["anyOf"]])
    low, high = schema.get("minimum"), schema.get("maximum")
    kinds: dict[Any, Any] = {
        "integer": lambda: st.integers(low, high),
        "number": lambda: st.floats(low, high, allow_nan=False, allow_infinity=False),
        "boolean": st.booleans,
        "null": st.none,
        "array": lambda: st.lists(of_schema(schema.get("items", {})), max_size=5),
        "object": lambda: st.fixed_dictionaries(
            {name: of_schema(each) for name, each in schema.get("properties", {}).items()}
        ),
        "string": lambda: {"date": st.dates().map(str), "uuid": st.uuids().map(str)}.get(
            schema.get("format", ""), st.from_regex(schema["pattern"]) if "pattern" in schema else TEXTS
        ),
    }
    return kinds.get(schema.get("type"), lambda: VALUES)()  # type: ignore[no-any-return]


class GeneratedTests(SynchronousTestCase):
    """Requests of every kind to ten typed functions."""

    @settings(max_examples=400, deadline=None, database=None)
    @given(st.data())
    def test_any(self, data: Any) -> None:
        """Fitting and other values, in path, query, form or JSON, get 200 or 4xx, never a traceback."""
        path, method, operation = data.draw(st.sampled_from(OPERATIONS))
        client, query, fits = Client(PATTERNS), {}, data.draw(st.booleans())
        for parameter in operation.get("parameters", ()):
            value = data.draw(of_schema(parameter["schema"]) if fits else TEXTS)
            value = str(value).lower() if isinstance(value, bool) else value
            if parameter["in"] == "path":
                text = quote(str(value), safe="", errors="surrogatepass")
                path = path.replace(f"{{{parameter['name']}}}", text)
            elif parameter["required"] or data.draw(st.booleans()):
                query[parameter["name"]] = value
        target = path + ("?" + urlencode(query, doseq=True, errors="surrogatepass") if query else "")
        if method == "get":
            answer = client.get(target)
        else:
            schema = operation.get("requestBody", {"content": {"application/json": {"schema": {}}}})
            body = data.draw(of_schema(schema["content"]["application/json"]["schema"]) if fits else VALUES)
            headers = {
                "Content-Type": data.draw(
                    st.sampled_from(["application/json", "application/json", "text/plain"])
                )
            }
            answer = client.request("POST", target, headers, json.dumps(body).encode())
        self.assertIn(answer.status, {200, 400, 404, 414, 415, 422, 431}, answer.text)
        self.assertNotIn(b"Traceback", answer.body)
        kind = "application/json" if answer.status == 200 else "application/problem+json"
        self.assertEqual(answer.headers["content-type"], kind)

    def test_typed(self) -> None:
        """The examples in the description's own words work."""
        client = Client(PATTERNS)
        for target, expected in (
            ("/add/2/?b=3", {"sum": 5}), ("/square-root/2.25/", {"root": 1.5}),
            ("/later/2030-12-31/", {"day": "2031-01-01"}),
            ("/price/10.00/?rate=19", {"price": "11.9000"}), ("/convert/ft/?length=0.3048", {"ft": 1.0}),
            ("/sort/?numbers=2&numbers=1", {"numbers": [1, 2]}), ("/count/?text=a+b", {"count": 2}),
        ):  # fmt: skip
            self.assertEqual(client.get(target).json, expected)
        points = {"a": {"x": 0}, "b": {"x": 3, "y": 4}}
        self.assertEqual(client.post("/distance/", points).json, {"distance": 5.0})
        self.assertEqual(client.post("/order/", {"order": {"name": "bolt"}}).json["count"], 1)
