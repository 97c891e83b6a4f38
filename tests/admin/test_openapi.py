"""Tests of the OpenAPI document: what it contains for functions of every kind, and what it leaves out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, TypedDict
from unittest.mock import patch

import msgspec
import pydantic
from openapi_spec_validator import validate
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource

from tests.access.test_credentials import private
from tests.admin.test_admin import PATTERNS, odd
from tests.support import cases, streaming
from tests.support.programs import ROOT
from tests.support.properties import given, st
from tests.support.wire import exchange, request
from twisted_appserver import Call, Event, Reply, Route, Router, Upload, include, make_service
from twisted_appserver.admin.openapi import make_document
from twisted_appserver.admin.operation_ids import operation_ids
from twisted_appserver.admin.operation_plan import OperationPlan
from twisted_appserver.core.application import Application
from twisted_appserver.core.application_info import ApplicationInfo
from twisted_appserver.core.path_templates import UndescribableError, path_templates, schema_pattern

JSON, BYTES = "application/json", "application/octet-stream"
TOKEN = "0123456789abcdefTOKEN"


def document(*table: Any, **options: Any) -> dict[str, Any]:
    """The document of a table, which must be valid."""
    made = make_document(Router(table).entries, "x", **options)
    validate(msgspec.to_builtins(made))
    return made


def operations(made: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method): operation
        for path, item in made["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
    }


def ids(*table: Any) -> dict[tuple[str, str], str]:
    return {place: each["operationId"] for place, each in operations(document(*table)).items()}


class Order(msgspec.Struct):
    article: str
    count: int = 1


class Problem(msgspec.Struct):
    """Has the name of what the server itself describes."""

    reason: str


class Form(msgspec.Struct):
    photo: Upload
    note: str = ""


class Model(pydantic.BaseModel):
    photo: Upload


@dataclass
class Page:
    number: int


class Row(TypedDict):
    cell: str


def no_parameters():  # type: ignore[no-untyped-def]
    return {}


def search(text: str, limit: int = 10, tags: list[str] = []) -> list[Order]:  # noqa: B006
    return []


class DescriptionTests(SynchronousTestCase):
    """The document as a whole."""

    def test_document_is_valid_openapi(self) -> None:
        """For the table of cases, and for every example."""
        tables = [PATTERNS, cases.url_patterns]
        for path in sorted((ROOT / "examples").glob("*.py")):
            if "url_patterns" in path.read_text():
                tables.append(Application.parse(str(path)).load())
        self.assertGreater(len(tables), 3)
        for table in tables:
            self.assertTrue(document(*table, jobs=True, schemes=("bearer", "basic"))["paths"])

    def test_function_is_described_by_signature_and_docstring(self) -> None:
        made = make_document(Router(PATTERNS).entries, "shop")
        self.assertEqual(made["info"]["title"], "shop")
        item = made["paths"]["/order/{name}/"]
        self.assertEqual(
            (item["get"]["summary"], item["get"]["description"]), ("Order a thing.", "It comes tomorrow.")
        )
        name, count, *_ = item["get"]["parameters"]
        self.assertEqual(
            (name["in"], name["required"], name["schema"]["pattern"]), ("path", True, "^(?:[a-z]{1,5})$")
        )
        self.assertEqual((count["in"], count["required"]), ("query", True))
        self.assertEqual(count["schema"], {"type": "integer", "minimum": 1})
        body = item["post"]["requestBody"]["content"][JSON]["schema"]
        self.assertEqual(body["required"], ["count"])
        self.assertEqual(body["properties"]["note"], {"default": "x"})
        result = item["post"]["responses"]["200"]["content"][JSON]["schema"]
        self.assertEqual(made["components"]["schemas"][result["$ref"].rpartition("/")[2]]["title"], "Item")

    def test_defaults_that_are_not_json_are_omitted(self) -> None:
        """A type that JSON does not have is described as any value."""
        made = make_document(Router([("/x", odd)]).entries, "x")
        json.dumps(made, allow_nan=False, ensure_ascii=False).encode()
        schemas = [each["schema"] for each in made["paths"]["/x"]["get"]["parameters"]]
        self.assertEqual(schemas, [{"type": "number"}, {}, {}, {"default": 1}])

    def test_functions_of_methods_share_a_path(self) -> None:
        """Functions for different methods of one path are in one item, even if their variables differ."""
        made = document(
            Route("/x/(?P<a>)", lambda a: {}, methods=["GET"]),
            Route("/x/(?P<b>)", lambda b: {}, methods=["PUT"]),
        )
        self.assertEqual(list(made["paths"]), ["/x/{a}"])
        for method in ("get", "put"):
            (parameter,) = made["paths"]["/x/{a}"][method]["parameters"]
            self.assertEqual((parameter["name"], parameter["in"]), ("a", "path"))

    def test_each_operation_names_its_scheme(self) -> None:
        """The document describes each scheme. A service without credentials has no schemes."""
        made = document((r"/search/", search), schemes=("bearer", "basic"), jobs=True)
        schemes = made["components"]["securitySchemes"]
        self.assertEqual(
            {name: each["scheme"] for name, each in schemes.items()}, {"bearer": "bearer", "basic": "basic"}
        )
        self.assertEqual(made["security"], [{"bearer": []}, {"basic": []}])
        for operation in operations(made).values():
            self.assertEqual(operation["security"], made["security"])
        self.assertNotIn("securitySchemes", document((r"/search/", search))["components"])

    def test_jobs_are_described_if_the_service_has_them(self) -> None:
        """Every call may become a job, which has an address and operations."""
        made = document((r"/search/", search), jobs=True)
        operation = made["paths"]["/search/"]["get"]
        self.assertIn({"$ref": "#/components/parameters/Prefer"}, operation["parameters"])
        self.assertIn("Location", operation["responses"]["202"]["headers"])
        self.assertIn("/-/jobs/{job}", made["paths"])
        self.assertNotIn("/-/jobs/{job}", document((r"/search/", search))["paths"])
        key, item = {"$ref": "#/components/parameters/Idempotency-Key"}, made["paths"]["/search/"]
        self.assertIn(key, item["post"]["parameters"])
        self.assertNotIn(key, item["get"]["parameters"])
        self.assertEqual(made["components"]["parameters"]["Idempotency-Key"]["in"], "header")


class TemplateTests(SynchronousTestCase):
    """Patterns as paths."""

    def test_patterns_become_path_templates(self) -> None:
        """
        Groups become names, escaped characters are unescaped, and optional parts without a name are left
        out.
        """
        for regex, paths, filled in (
            (r"/a/(?P<b>[^/]+)/", ["/a/{b}/"], "/a/x/"),
            (r"/a\.b/(?P<b>(x|\))y)-(?P<c>\d+)", ["/a.b/{b}-{c}"], "/a.b/xy-3"),
            (r".?a", ["/a"], "/a"),
            (r"/items/?", ["/items"], "/items"),
            (r"/(?P<a>\d+)/?", ["/{a}"], "/1"),
            (r"/opt(?:/(?P<q>\d+))?/", ["/opt/{q}/", "/opt/"], "/opt/4/"),
            (r"/opt/(?P<q>\d+)?", ["/opt/{q}", "/opt/"], "/opt/4"),
            (r"/a[bc]*(?:/more)?/(?!d)(?P<e>[()]+)", ["/a/{e}"], "/a/("),
            (r"(?:/a/(?P<b>x|y)/)", ["/a/{b}/"], "/a/x/"),
            (r"/(?:x|y)/", ["/x/", "/y/"], "/y/"),
            (r"/(?:en|de)/(?P<a>\d+)", ["/en/{a}", "/de/{a}"], "/de/1"),
            (r"/[ab]/x", ["/a/x", "/b/x"], "/b/x"),
            (r"/x{2}/[0-2]", ["/xx/0", "/xx/1", "/xx/2"], "/xx/2"),
            (r"/what\?", ["/what%3F"], "/what?"),
            (r"/(?:a|(?P<name>\d+))", ["/a", "/{name}"], "/a"),
            (r"/(?!a)[ab]/", ["/b/"], "/b/"),
            (r"/(?i:Abc)/", ["/Abc/"], "/abc/"),
        ):
            self.assertEqual([path for path, _ in path_templates(regex)], paths, regex)
            self.assertTrue(re.fullmatch(regex, filled), regex)

    def test_pattern_without_paths_has_a_reason(self) -> None:
        """The reason why it cannot be described."""
        for regex, reason in (
            (r"/v\d+/x", "a part without a name"), (r"/x.+", "a part without a name"),
            (r"/[^a]", "a part without a name"), (r"/(?P<a>x)/(?P=a)", "a part without a name"),
            (r"/[a-z][a-z]", "alternatives"), (r"/(?:(?P<a>\d)/){2}", "repeats a group"),
            (r"/a(?!b)b", "exclude every path"), (r"/5%/", "it has a %"),
        ):  # fmt: skip
            with self.assertRaises(UndescribableError) as raised:
                path_templates(regex)
            self.assertIn(reason, str(raised.exception))

    def test_regular_expressions_of_groups_are_kept(self) -> None:
        """As the pattern of the parameter."""
        ((_, groups),) = path_templates(r"/(?P<a>[)(]\)(x|y))/(?:b(?P<c>))")
        self.assertEqual(groups, {"a": r"[)(]\)(x|y)", "c": ""})

    def test_regular_expressions_that_ecma_262_lacks_are_left_out(self) -> None:
        """Generators and validators would fail on them."""
        self.assertEqual(schema_pattern(r"\d{4}|(?P<x>a)"), r"^(?:\d{4}|(?:a))$")
        for regex in ("[^/]+", ".+", r"(?i:a)", r"a++", r"(?>a)", r"a\Z", r"(?P<x>a)(?P=x)"):
            self.assertEqual(schema_pattern(regex), "", regex)

    def test_alternatives_are_all_described(self) -> None:
        """Each path of a pattern with alternatives is an operation."""
        found = ids(Route(r"/(?:x|y)/", search, methods=["GET"]))
        self.assertEqual(found, {("/x/", "get"): "search_at_x_get", ("/y/", "get"): "search_at_y_get"})


class MissingTests(SynchronousTestCase):
    """Functions that OpenAPI cannot describe."""

    def missing(self, *table: Any) -> dict[tuple[str, tuple[str, ...]], str]:
        found = document(*table).get("x-not-described", [])
        return {(each["pattern"], tuple(each["methods"])): each["reason"] for each in found}

    def test_each_missing_function_is_listed_with_its_reason(self) -> None:
        """No function is left out silently."""

        def between(a: Order, b: Order) -> dict[str, Any]: ...

        found = self.missing(
            Route(r"/x/(?P<a>\d+)", lambda a: {}, methods=["GET"]),
            Route(r"/x/(?P<b>[a-z]+)", lambda b: {}, methods=["GET", "PUT"]),
            (r"/v\d/", search),
            (r"/static/.*", Resource()),
            (r"/between/", between),
            Route(r"/copy/", search, methods=["COPY", "GET"]),
            Route(r"/x/1", search, methods=["GET"]),
        )
        for key, reason in (
            ((r"/x/(?P<b>[a-z]+)", ("GET",)), "cannot distinguish its path from the path of url_patterns[0]"),
            ((r"/v\d/", ("GET", "POST")), "a part without a name"),
            ((r"/between/", ("GET",)), "a is an object, which only a body can contain"),
            ((r"/copy/", ("COPY",)), "OpenAPI 3.1 has no COPY operations"),
            ((r"/x/1", ("GET",)), "never called: url_patterns[0]"),
        ):
            self.assertIn(reason, found.pop(key))
        ((_, reason),) = found.items()
        self.assertIn("Twisted resource", reason)
        self.assertNotIn("x-not-described", document((r"/search/", search)))

    def test_every_function_is_described_or_listed(self) -> None:
        """Every method of every entry of the tables of tests and examples."""
        tables = [PATTERNS, cases.url_patterns, streaming.url_patterns]
        tables += [
            Application.parse(str(ROOT / "examples" / f"{name}.py")).load() for name in ("typed", "media")
        ]
        for table in tables:
            router = Router(table)
            plan = OperationPlan(router.entries)
            for position, entry in enumerate(router.entries):
                told = {each.method for each in plan.operations if each.entry is entry}
                left = {
                    method
                    for (place, _), methods in plan.missing.items()
                    if place == position
                    for method in methods
                }
                self.assertEqual(told | left, entry.methods - {"HEAD"}, entry.regex)

    def test_query_is_an_extension(self) -> None:
        """OpenAPI 3.1 lacks the method QUERY, which has a body."""
        made = document(Route(r"/search/", search, methods=["QUERY"]), schemes=("bearer",))
        operation = made["paths"]["/search/"]["x-query"]
        self.assertEqual(operation["operationId"], "search_query")
        self.assertIn(JSON, operation["requestBody"]["content"])
        self.assertEqual(operation["security"], [{"bearer": []}])
        self.assertEqual([each["methods"] for each in made["x-not-described"]], [["QUERY"]])

    def test_log_names_functions_without_any_operation(self) -> None:
        """It names neither functions with at least one operation nor Twisted resources."""
        table = (
            (r"/v\d/", search),
            (r"/static/.*", Resource()),
            Route(r"/x/", search, methods=["COPY", "GET"]),
        )
        (line,) = OperationPlan(Router(table).entries).notes()
        self.assertIn("url_patterns[0]", line)
        self.assertIn("a part without a name", line)


class NameTests(SynchronousTestCase):
    """The names of operations."""

    def test_names_come_from_functions_and_paths(self) -> None:
        """The path is left out if it repeats the name of the function."""
        for name, path, expected in (
            ("order", "/order/", "order_get"), ("order", "/order/{id}/", "order_by_id_get"),
            ("order", "/shop/order/", "order_at_shop_order_get"), ("order", "/", "order_at_root_get"),
            ("square_root", "/square-root/{n}", "square_root_by_n_get"),
            ("get_object", "/{kind}/get/{id}/", "get_object_at_by_kind_get_by_id_get"),
            ("Shop.order", "/order/", "Shop_order_get"), ("<lambda>", "/x/", "lambda_at_x_get"),
            ("Tests.test.<locals>.order", "/order/", "order_get"), ("...", "/x/", "function_at_x_get"),
        ):  # fmt: skip
            self.assertEqual(operation_ids([(name, path, "GET")])[name, path, "GET"], expected)

    def test_names_differ_for_every_generator(self) -> None:
        """Names that differ only in case or punctuation would be the same in some languages."""
        places = [
            ("a", path, "GET") for path in ("/x/", "/x", "/X/", "/x-y/", "/x/y/", "/x_y", "/xy/", "/{x}/y/")
        ]
        found = operation_ids([*places, ("a_b", "/c/", "GET"), ("a", "/b/c/", "GET")]).values()
        self.assertEqual(len({re.sub(r"[\W_]", "", each).lower() for each in found}), len(places) + 2)

    def test_another_route_changes_no_name(self) -> None:
        """Wherever the new route is in the table, and even if it has a function of the same name."""

        def other() -> Any:
            def search(a: str = "") -> Any: ...

            return search

        table = [
            Route(r"/search/", search, methods=["GET"]), (r"/find/(?P<text>)/", search),
            (r"/find/", search), Route(r"/(?P<text>)/", search, name="everything"),
        ]  # fmt: skip
        before = ids(*table)
        self.assertEqual(len(set(before.values())), 7)
        more = [
            (r"/first/", no_parameters), (r"/a/search/", other()), (r"/search/(?P<a>)/", other()),
            Route(r"/search/", other(), methods=["PUT"]), Route(r"/everything/", other(), name="everything"),
            include(r"/v2", [(r"/search/", search), (r"/find/", other())]),
        ]  # fmt: skip
        for extra in more:
            for position in range(len(table) + 1):
                after = ids(*table[:position], extra, *table[position:])
                if not position:  # further back, an earlier pattern may match its path
                    self.assertGreater(len(after), len(before))
                self.assertEqual({place: after.get(place) for place in before}, before)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b", "a_b"]),
                st.sampled_from(["a", "b", "{c}", "{b}", "at"]),
                st.sampled_from(["a", "b", "{d}"]),
            ),
            max_size=6,
        )
    )
    def test_names_are_unique(self, drawn: list[tuple[str, str, str]]) -> None:
        places = {(name, f"/{first}/{second}/", "GET") for name, first, second in drawn}
        found = operation_ids(places)
        self.assertEqual(len(set(found.values())), len(places))


class RequestTests(SynchronousTestCase):
    """Parameters and bodies."""

    def places(self, function: Any, method: str, **options: Any) -> tuple[dict[str, bool], dict[str, Any]]:
        """The query parameters, with whether they are required, and the content of the body."""
        made = document(Route(r"/x/(?P<p>)/", function, methods=[method]))
        operation = made["paths"]["/x/{p}/"][method.lower()]
        query = {
            each["name"]: each["required"]
            for each in operation.get("parameters", [])
            if each["in"] == "query"
        }
        return query, operation.get("requestBody", {}).get("content", {})

    def test_fields_are_in_the_body_or_in_the_query(self) -> None:
        """Without a body, all variables that are not in the path are in the query."""

        def simple(p: int, a: int, b: list[int] = []) -> Any: ...  # noqa: B006

        self.assertEqual(self.places(simple, "GET"), ({"a": True, "b": False}, {}))
        self.assertEqual(self.places(simple, "DELETE"), ({"a": True, "b": False}, {}))
        made = document(Route(r"/x/(?P<p>)/", simple, methods=["GET"]))
        *_, listed = made["paths"]["/x/{p}/"]["get"]["parameters"]
        self.assertEqual((listed["style"], listed["explode"]), ("form", True))
        query, content = self.places(simple, "POST")
        self.assertEqual((query, content[JSON]["schema"]["required"]), ({}, ["a"]))
        self.assertEqual(set(content), {JSON})  # a form cannot have an empty list

    def test_object_is_the_whole_body(self) -> None:
        """If it is the only required parameter. The optional ones are in the query."""

        def put(p: int, order: Order, dry: bool = False) -> Any: ...

        query, content = self.places(put, "POST")
        self.assertEqual(query, {"dry": False})
        self.assertEqual(content, {JSON: {"schema": {"$ref": "#/components/schemas/Order"}}})
        self.assertEqual(self.places(put, "GET"), ({"article": True, "count": False, "dry": False}, {}))

        def both(p: int, order: Order, customer: str) -> Any: ...

        query, content = self.places(both, "POST")
        self.assertEqual((query, content[JSON]["schema"]["required"]), ({}, ["order", "customer"]))

    def test_body_of_a_call_has_any_type(self) -> None:
        """A function that reads the body itself takes bytes, and its variables from the query."""

        def upload(call: Call, p: str, name: str, note: str = "") -> Any: ...

        query, content = self.places(upload, "POST")
        self.assertEqual(query, {"name": True, "note": False})
        self.assertEqual(set(content), {BYTES})
        self.assertEqual(content[BYTES]["schema"]["format"], "binary")
        self.assertEqual(content[BYTES]["schema"]["contentMediaType"], BYTES)
        self.assertEqual(self.places(upload, "GET"), (query, {}))

        def ordered(call: Call, p: str, a: Order, b: Order) -> Any: ...

        self.assertEqual(set(self.places(ordered, "POST")[1]), {JSON})  # only JSON has objects

    def test_files_are_sent_in_a_form(self) -> None:
        """With all other fields, in multipart/form-data; a query cannot contain them."""

        def attach(p: str, photo: Upload, more: list[Upload] = [], call: Call = Call("", "")) -> Any: ...  # noqa: B006, B008

        query, content = self.places(attach, "POST")
        self.assertEqual((query, set(content)), ({}, {"multipart/form-data"}))
        fields = content["multipart/form-data"]["schema"]["properties"]
        self.assertEqual(fields["photo"]["format"], "binary")
        self.assertEqual(fields["more"]["items"]["contentMediaType"], BYTES)
        (listed,) = document((r"/x/(?P<p>)/", attach))["x-not-described"]
        self.assertIn("photo is a file", listed["reason"])

        def whole(p: str, form: Form) -> Any: ...

        schema = {"$ref": "#/components/schemas/Form"}
        self.assertEqual(self.places(whole, "PUT")[1], {"multipart/form-data": {"schema": schema}})

        def model(p: str, form: Model) -> Any: ...

        self.assertEqual(set(self.places(model, "POST")[1]), {"multipart/form-data"})

    def test_files_of_any_name_are_sent_in_a_form(self) -> None:
        """A page has an input for one of them. A query cannot contain files."""

        def one(p: str, title: str = "", **files: Upload) -> Any: ...

        def several(p: str, **files: list[Upload]) -> Any: ...

        for function, names in ((one, {"title", "files"}), (several, {"files"})):
            query, content = self.places(function, "POST")
            self.assertEqual((query, set(content)), ({}, {"multipart/form-data"}))
            schema = content["multipart/form-data"]["schema"]
            self.assertEqual(set(schema["properties"]), names)
            self.assertNotIn("required", schema)
            for each in (schema["properties"]["files"], schema["additionalProperties"]):
                self.assertEqual(each.get("items", each)["format"], "binary")
        self.assertEqual(self.places(one, "GET"), ({"title": False}, {}))

    def test_variables_of_any_name_are_a_free_object(self) -> None:
        """In the body or in the query."""

        def rest(p: str, **others: Any) -> Any: ...

        self.assertEqual(self.places(rest, "POST")[1], {JSON: {"schema": {"type": "object"}}})
        made = document(Route(r"/x/(?P<p>)/", rest, methods=["GET"]))
        *_, parameter = made["paths"]["/x/{p}/"]["get"]["parameters"]
        self.assertEqual((parameter["style"], parameter["explode"]), ("form", True))

    def test_optional_group_may_be_left_out(self) -> None:
        """Then its variable comes from another source, like every variable."""

        def page(n: int = 1) -> Any: ...

        made = document(Route(r"/page(?:/(?P<n>\d+))?/", page, methods=["GET"]))
        found = {path: each["parameters"][0]["in"] for (path, _), each in operations(made).items()}
        self.assertEqual(found, {"/page/{n}/": "path", "/page/": "query"})


class ResponseTests(SynchronousTestCase):
    """What functions return."""

    def content(self, function: Any) -> dict[str, Any]:
        responses = document(Route(r"/x/", function, methods=["GET"]))["paths"]["/x/"]["get"]["responses"]
        found = responses.get("200") or responses["2XX"]
        return {kind: each.get("schema", {}) for kind, each in found["content"].items()}

    def test_annotations_become_schemas(self) -> None:
        """Objects, lists and dicts; without an annotation, anything."""

        def reference(name: str) -> dict[str, str]:
            return {"$ref": f"#/components/schemas/{name}"}

        for annotation, schema in (
            (Order, reference("Order")), (Page, reference("Page")), (Row, reference("Row")),
            (list[Order], {"type": "array", "items": reference("Order")}),
            (list, {"type": "array", "items": {}}),
            (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}), (Any, {}),
        ):  # fmt: skip

            def function() -> Any: ...

            function.__annotations__["return"] = annotation
            self.assertEqual(self.content(function), {JSON: schema}, annotation)
        self.assertEqual(self.content(no_parameters), {JSON: {}})

    def test_replies_have_the_media_type_of_their_annotation(self) -> None:
        """A Reply may be anything, and is read as bytes unless its annotation says more."""
        for annotation, kinds in (
            (Reply, {BYTES: "string", "*/*": None}), (Annotated[Reply, "image/png"], {"image/png": "string"}),
            (Annotated[Reply, "text/csv; charset=utf-8"], {"text/csv": "string"}),
            (Annotated[Reply, "application/geo+json"], {"application/geo+json": None}),
            (Annotated[Reply, dict[str, int]], {JSON: "object"}), (Annotated[Reply, Path], {BYTES: "string"}),
            (dict[str, int] | Annotated[Reply, "text/html"], {JSON: "object", "text/html": "string"}),
        ):  # fmt: skip

            def function() -> Any: ...

            function.__annotations__["return"] = annotation
            self.assertEqual({kind: each.get("type") for kind, each in self.content(function).items()}, kinds)

    def test_items_of_a_generator_are_described(self) -> None:
        """A stream is JSON lines or server-sent events. Its schema describes an item."""
        validate(msgspec.to_builtins(make_document(Router(streaming.url_patterns).entries, "x")))

        def orders() -> Iterator[Order]:
            yield Order("x")

        async def events() -> Any:
            yield Event(1)

        def returned() -> Iterator[Order]:
            return orders()

        for function, item in (
            (orders, {"$ref": "#/components/schemas/Order"}),
            (events, {}),
            (returned, {"$ref": "#/components/schemas/Order"}),
        ):
            self.assertEqual(
                self.content(function),
                {"application/x-ndjson": item, "text/event-stream": {"type": "string"}},
            )

    def test_errors_are_problem_documents(self) -> None:
        """Errors of every status have the same schema, and do not stand for results of another type."""
        responses = document((r"/search/", search))["paths"]["/search/"]["get"]["responses"]
        self.assertEqual(set(responses), {"200", "422", "4XX", "5XX"})
        for status in ("422", "4XX", "5XX"):
            self.assertEqual(list(responses[status]["content"]), ["application/problem+json"])

    def test_classes_with_equal_names_are_apart_in_generated_code(self) -> None:
        """Generators ignore case and punctuation, and take the title for the name of a class."""

        def function(a: Problem, b: Order) -> Any: ...

        made = document(Route(r"/x/", function, methods=["POST"]))
        schemas = made["components"]["schemas"]
        self.assertEqual({"Problem", "Problem2", "Order"}, set(schemas))
        self.assertEqual(schemas["Problem2"]["title"], "Problem2")
        again = document(Route(r"/x/", function, methods=["POST"]), Route(r"/y/", function, methods=["PUT"]))
        self.assertEqual(again["components"], made["components"])


class InfoTests(SynchronousTestCase):
    """The title and version of an application."""

    def info(self, text: str, name: str = "shop") -> tuple[str, str, str]:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        file = folder / f"{name}.py"
        file.write_text(text)
        module = ModuleType(name)
        module.__file__ = str(file)
        exec(text, vars(module))
        with patch.dict("sys.modules", {name: module}):
            found = ApplicationInfo(Application.parse(str(file)), [])
            return found.title, found.version, found.description

    def test_module_names_title_version_and_description(self) -> None:
        text = '"""Sells bolts.\n\n    And nuts."""\n__version__ = "2.1"\n__title__ = "The shop"\n'
        self.assertEqual(self.info(text), ("The shop", "2.1", "Sells bolts.\n\nAnd nuts."))

    def test_module_without_a_title_and_version_has_defaults(self) -> None:
        """The name of the module, and 0.1.0."""
        self.assertEqual(self.info("__version__ = 3"), ("shop", "0.1.0", ""))

    def test_version_is_that_of_the_package_or_its_distribution(self) -> None:
        from twisted_appserver import example

        found = ApplicationInfo(Application(module=example.__name__), [])
        self.assertRegex(found.version, r"^\d+\.\d+\.\d+$")
        self.assertEqual(found.title, "twisted_appserver.example")
        package = ModuleType("sold")
        package.__version__ = "7.0"  # type: ignore[attr-defined]
        module = ModuleType("sold.urls")
        with patch.dict("sys.modules", {"sold": package, "sold.urls": module}):
            self.assertEqual(ApplicationInfo(Application(module="sold.urls"), []).version, "7.0")

    def test_table_in_memory_is_described_by_the_module_of_its_functions(self) -> None:
        found = ApplicationInfo(None, [search])
        self.assertEqual(found.title, "Functions")
        self.assertTrue(found.description.startswith("Tests of the OpenAPI document"))
        self.assertEqual(ApplicationInfo(None, [search, json.dumps]).description, "")


class ServedTests(TestCase):
    """The document of a service."""

    timeout = 30

    async def served(self, *patterns: Any, token: str = "", **options: Any) -> Any:
        service = make_service(patterns, port=0, **options)
        service.startService()
        self.addCleanup(service.stopService)
        await service.started
        port = service.ports[0].getHost().port
        headers = [("authorization", f"Bearer {token}")] if token else []
        return (await exchange(port, request("GET", "/-/openapi.json", headers=headers))).json

    async def test_service_with_a_token_describes_it(self) -> None:
        path = private(self.mktemp(), TOKEN)
        made = await self.served((r"/search/", search), token_file=path, token=TOKEN)
        validate(made)
        self.assertEqual(list(made["components"]["securitySchemes"]), ["bearer"])
        self.assertEqual(made["paths"]["/search/"]["get"]["security"], [{"bearer": []}])

    async def test_service_without_credentials_describes_none(self) -> None:
        made = await self.served((r"/search/", search))
        validate(made)
        self.assertNotIn("security", made)
        self.assertEqual(made["info"]["version"], "0.1.0")
        self.assertIn("/-/jobs/{job}", made["paths"])
