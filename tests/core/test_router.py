"""Tests of L{twisted_appserver.core.router}: which function answers a path, and what a bad table is told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import wraps
from itertools import count, product
from typing import Any, Literal

from twisted.trial.unittest import SynchronousTestCase

from tests.support.properties import given, st
from twisted_appserver import HTTPError, PatternError, Route, Router, include


def target(**groups: str) -> dict[str, Any]:
    return dict(groups)


def other(**groups: str) -> dict[str, Any]:
    return dict(groups)


NOT_CALLABLE = 5


class Matching(SynchronousTestCase):
    def matches(self, router: Router, path: str, groups: dict[str, str] | None) -> None:
        """Assert that C{path} matches with these groups, or not at all if they are C{None}."""
        if groups is None:
            error = self.assertRaises(HTTPError, router.match, "GET", path)
            self.assertEqual(error.status, 404, path)
        else:
            self.assertEqual(router.match("GET", path)[1], groups)

    def refused(self, status: int, router: Router, method: str, path: str) -> HTTPError:
        error = self.assertRaises(HTTPError, router.match, method, path)
        self.assertEqual(error.status, status)
        return error


class PatternTests(Matching):
    def test_entry_is_a_pair_a_route_or_an_include(self) -> None:
        """An entry is (regex, function), a Route or an include. A function may be given by its name."""
        router = Router([
            (r"/pair/", target),
            [r"/list/", target],
            Route(r"/route/", target, name="named"),
            include(r"/below", [(r"/pair/", target), include("/deep", [Route("/", target)])]),
            (r"/dotted/", "tests.core.test_router:target"),
        ])  # fmt: skip
        for path in ("/pair/", "/list/", "/route/", "/below/pair/", "/below/deep/", "/dotted/"):
            self.assertIs(router.match("GET", path)[0].function, target)
        self.assertEqual(router.match("GET", "/route/")[0].name, "named")

    def test_empty_group_matches_one_segment(self) -> None:
        """An empty named group matches one path segment: at least one character, and no slash."""
        router = Router([(r"/(?P<kind>)/get/(?P<id>)/", target)])
        self.matches(router, "/person/get/123/", {"kind": "person", "id": "123"})
        self.matches(router, "/pär son/get/a\nb/", {"kind": "pär son", "id": "a\nb"})
        for path in ("//get/1/", "/a/b/get/1/", "/a/get//", "/a/get/1", "/a/get/1/x", "x/a/get/1/"):
            self.matches(router, path, None)

    def test_anchors_are_redundant(self) -> None:
        """A pattern must match the whole path, with or without anchors."""
        for regex in (r"/x/", r"^/x/", r"/x/$", r"^/x/$"):
            router = Router([(regex, target)])
            self.matches(router, "/x/", {})
            for path in ("/x/y", "/y/x/", "/x/\n", ""):
                self.matches(router, path, None)
        self.matches(Router([(r"/cost\$", target)]), "/cost$", {})
        self.matches(Router([(r"/back\\$", target)]), "/back\\", {})

    def test_alternatives_end_with_their_entry(self) -> None:
        """An alternative extends to the end of its own entry, not into the prefix or the next part."""
        router = Router([include("/p", [("/a|/b", target)]), include("/q|/r", [("/c", target)])])
        for path in ("/p/a", "/p/b", "/q/c", "/r/c"):
            self.matches(router, path, {})
        for path in ("/b", "/q", "/p/a/c", "/p"):
            self.matches(router, path, None)

    def test_groups_of_an_include_are_passed(self) -> None:
        """Groups of the prefix are passed too. Anchors in both parts are redundant."""
        router = Router([include(r"^/(?P<tenant>)", [(r"^/(?P<id>\d+)/$", target)])])
        self.matches(router, "/acme/12/", {"tenant": "acme", "id": "12"})

    def test_group_outside_the_match_is_not_passed(self) -> None:
        """A group that took no part in the match is not passed, so the function's default applies."""
        router = Router([(r"/x(?:/(?P<page>\d+))?", target)])
        self.matches(router, "/x", {})
        self.matches(router, "/x/3", {"page": "3"})

    def test_unnamed_groups_are_not_passed(self) -> None:
        """Only named groups are passed."""
        self.matches(Router([(r"/(a|b)/(?P<x>)/", target)]), "/a/1/", {"x": "1"})

    def test_first_matching_entry_wins(self) -> None:
        """The first match wins, whether or not the patterns have the same form."""
        for first, second in product((r"/a/(?P<x>)/", r"/(?P<x>)/b/", r"/(?P<x>.*)/", r"/a/b/"), repeat=2):
            router = Router([(first, target), (second, other)])
            self.assertIs(router.match("GET", "/a/b/")[0].function, target)

    def test_path_is_matched_percent_decoded(self) -> None:
        """A path arrives percent-decoded and is matched as it is, including percent signs."""
        self.matches(Router([(r"/(?P<x>)/", target)]), "/a%2Fb ä%/", {"x": "a%2Fb ä%"})

    def test_path_that_is_not_utf8_gets_400(self) -> None:
        """A path that was not UTF-8 (surrogate escapes) gets 400, even if a pattern matches."""
        router = Router([(r"/(?P<x>.*)", target)])
        self.refused(400, router, "GET", b"/\xff".decode("utf-8", "surrogateescape"))

    def test_path_is_compared_with_few_patterns_of_a_large_table(self) -> None:
        """In a table of 500 patterns each one is found, and a path is compared with few of them."""
        router = Router([
            *((rf"/thing{n}/(?P<action>)/(?P<id>)/", target) for n in range(250)),
            *((rf"/(?P<id>)/action{n}/", other) for n in range(250)),
        ])  # fmt: skip
        for n in range(250):
            self.matches(router, f"/thing{n}/get/7/", {"action": "get", "id": "7"})
            self.assertEqual(router.match("GET", f"/7/action{n}/")[0].index, 250 + n)
        tried: list[int] = []
        for index, entry in enumerate(router.entries):
            entry.match = lambda path, index=index: tried.append(index)  # type: ignore[assignment]
        self.refused(404, router, "GET", "/thing77/get/7/")
        self.assertEqual(tried, [77])


class MethodTests(Matching):
    def test_default_methods_are_get_and_post(self) -> None:
        """A pattern handles GET, POST and HEAD. Others get 405 with Allow (RFC 9110, section 15.5.6)."""
        router = Router([("/x", target)])
        for method in ("GET", "POST", "HEAD"):
            router.match(method, "/x")
        for method in ("PUT", "DELETE", "OPTIONS", "get"):
            error = self.refused(405, router, method, "/x")
            self.assertEqual(dict(error.headers), {"allow": "GET, HEAD, POST, OPTIONS"})
            self.assertEqual(error.detail, f"{method} is not allowed for /x; use GET, HEAD, POST")

    def test_route_may_name_its_methods(self) -> None:
        """A Route may name its methods. GET includes HEAD."""
        router = Router([Route("/x", target, methods=("PUT", "DELETE"))])
        error = self.refused(405, router, "HEAD", "/x")
        self.assertEqual(dict(error.headers), {"allow": "DELETE, PUT, OPTIONS"})

    def test_entries_with_the_same_path_share_allow(self) -> None:
        """Several entries may handle different methods of one path. Allow lists all methods."""
        router = Router([Route("/x", target, ("GET",)), Route("/(?P<y>)", other, ("PUT",))])
        self.assertIs(router.match("GET", "/x")[0].function, target)
        self.assertIs(router.match("PUT", "/x")[0].function, other)
        error = self.refused(405, router, "POST", "/x")
        self.assertEqual(dict(error.headers), {"allow": "GET, HEAD, PUT, OPTIONS"})

    def test_path_without_a_pattern_gets_404(self) -> None:
        """A path that no pattern matches gets 404 with every method, also if the table is empty."""
        for router in (Router([]), Router([("/x", target)])):
            for method in ("GET", "OPTIONS", "PUT"):
                self.refused(404, router, method, "/y")


def takes_a(a): ...  # type: ignore[no-untyped-def]


class Unbound:
    def method(self, n: int = 1) -> dict[str, Any]:
        return {}

    @staticmethod
    def static(n: int = 1) -> dict[str, Any]:
        return {}


def free_with_self(self): ...  # type: ignore[no-untyped-def]


class NoteTests(SynchronousTestCase):
    """Entries that work, but perhaps not as intended, are noted."""

    def notes(self, *patterns: Any) -> list[str]:
        return Router(patterns).notes

    def test_entry_that_is_never_called_is_noted(self) -> None:
        (note,) = self.notes(("/a", target), ("/b", target), ("^/a$", target))
        self.assertIn("url_patterns[2] '^/a$': never called for GET, POST: url_patterns[0]", note)
        (note,) = self.notes(Route("/(?P<a>)", takes_a, ("GET",)), include("/", [("(?P<b>)", lambda b: {})]))
        self.assertIn("url_patterns[1][0] '(?P<b>)': never called for GET:", note)
        self.assertEqual(self.notes(Route("/a", target, ("GET",)), Route("/a", target, ("POST", "PUT"))), [])

    def test_unnamed_group_is_noted(self) -> None:
        (note,) = self.notes((r"/(\w+)", target))
        self.assertIn("(?P<name>...) or (?:...)", note)
        self.assertEqual(self.notes((r"/(?:a|b)", target), (r"/\(a\)", target), ("/x|/y", target)), [])

    def test_empty_table_is_noted(self) -> None:
        self.assertEqual(self.notes(), ["url_patterns is empty: every request gets 404"])

    def test_default_of_another_type_is_noted(self) -> None:
        for annotation, default, note in (
            (int, "x", "f: the default of a is 'x', which is not int"),
            (int | None, "", "which is not int | None"),
            (list[int], "", "which is not list[int]"),
            (date, "2030-01-31", "which is not date"),
            (str, 5, "which is not str"),
            (float, 1, ""),
            (int, None, ""),
            (int, object(), ""),
            (Literal["a"], "a", ""),
            (Sequence[int], (), ""),
            (Decimal, 0, ""),
            (Any, 0, ""),
        ):

            def f(a): ...  # type: ignore[no-untyped-def]

            f.__annotations__["a"], f.__defaults__, f.__qualname__ = annotation, (default,), "f"
            notes = self.notes(("/x", f))
            self.assertEqual(len(notes), bool(note), (annotation, default))
            self.assertIn(note, "".join(notes))


class ErrorTests(SynchronousTestCase):
    """A bad table is refused when it is built; the message names the entry and the reason."""

    def wrong(self, entry: Any, *said: str) -> None:
        for patterns, place in (
            ([("/good/", target), entry], "url_patterns[1]"),
            ([include("/in", [entry])], "url_patterns[0][0]"),
        ):
            message = str(self.assertRaises(PatternError, Router, patterns))
            for text in (place, *said):
                self.assertIn(text, message)
            self.assertNotIn("\n", message)

    def test_entry_of_another_form_is_refused(self) -> None:
        for entry in (5, "text", ("/x/",), ("/x/", target, "GET"), (target, "/x/"), (None, target)):
            self.wrong(entry)

    def test_invalid_regex_is_refused(self) -> None:
        """The regular expression does not compile, or a group occurs twice."""
        self.wrong(("/(x/", target), "/(x/", "unterminated")
        self.wrong(("/(?P<a>)/(?P<a>)/", target), "redefinition")
        self.wrong(("/(?<a>x)/", target), "write a group with a name as (?P<name>...)")

    def test_table_of_one_pair_without_its_comma_is_refused_with_advice(self) -> None:
        message = str(self.assertRaises(PatternError, Router, ("/x/", target)))
        self.assertIn("with a comma behind it: ((regex, function),)", message)

    def test_function_that_cannot_be_called_or_imported_is_refused(self) -> None:
        self.wrong(("/x/", 5), "5")
        self.wrong(("/x/", "tests.core.test_router:NOT_CALLABLE"), "5")
        self.wrong(("/x/", "tests.core.test_router"), "package.module:name")
        self.wrong(("/x/", "tests.no_such_module:f"), "no_such_module")
        self.wrong(("/x/", "tests.core.test_router:no_such_name"), "no_such_name")
        self.wrong(("/x/", ":f"), "/x/")
        self.wrong(("/x/", "tests.core.test_router:"), "package.module:name")
        for path in ("shop.py", "./shop.py", "./shop"):
            self.wrong(("/x/", f"{path}:price"), "write the name of a function as 'shop:price'")

    def test_group_without_a_parameter_is_refused(self) -> None:
        self.wrong((r"/(?P<a>)/(?P<other>)/", takes_a), "takes_a", "other")

    def test_method_without_an_object_is_refused(self) -> None:
        self.wrong(
            ("/x/", Unbound.method),
            "Unbound.method: this is a method without an object",
            "write Unbound().method",
        )
        self.wrong(("/x/", wraps(Unbound.method)(lambda *args: {})), "Unbound.method")
        Router([("/x/", Unbound().method), ("/y/", Unbound.static), (r"/(?P<self>)/", Unbound.method)])
        Router([("/z/", free_with_self)])

    def test_annotation_that_is_no_type_is_refused(self) -> None:
        def odd(a): ...  # type: ignore[no-untyped-def]

        odd.__annotations__["a"] = object()
        self.wrong(("/x/", odd), "odd: the annotation of a cannot be used")

    def test_invalid_methods_are_refused(self) -> None:
        for methods in ("GET", ("get",), ("GE T",), ("",), (), None, 5, [1]):
            self.wrong(Route("/x/", target, methods=methods), "methods")

    def test_invalid_timeout_is_refused(self) -> None:
        for timeout in (-1, "x", float("nan"), float("inf")):
            self.wrong(Route("/x/", target, timeout=timeout), "timeout", repr(timeout))  # type: ignore[arg-type]

    def test_invalid_retry_is_refused(self) -> None:
        self.wrong(Route("/x/", target, retry=5), "retry", "Retry(attempts=5)")  # type: ignore[arg-type]

    def test_executor_that_is_no_name_is_refused(self) -> None:
        self.wrong(Route("/x/", target, executor=["x"]), "executor", "['x']")  # type: ignore[arg-type]

    def test_annotation_that_cannot_be_read_is_refused(self) -> None:

        def of(annotation: str) -> Any:
            function = lambda a: {}  # noqa: E731
            function.__annotations__ = {"a": annotation}
            return function

        @dataclass
        class Odd:
            field: no_such_type  # type: ignore[name-defined]  # noqa: F821

        for function, said in (
            (of("1 +"), "syntax"),
            (of("1 / 0"), "division"),
            (of("exec('raise OSError(chr(10).join(chr(97) * 2))')"), "a a"),
            (of(Odd), "no_such_type"),  # type: ignore[arg-type]
        ):
            self.wrong(("/x/", function), said)

    def test_prefix_that_is_no_text_is_refused(self) -> None:
        self.assertIn("[0]", str(self.assertRaises(PatternError, Router, [include(None, [("/", target)])])))  # type: ignore[arg-type]

    def test_pattern_without_a_leading_slash_is_refused(self) -> None:
        """Fixed text other than a slash at the start matches no path."""
        for regex in ("price/(?P<k>)/", r"^x", "a/?", "a.b", "x+/"):
            message = str(self.assertRaises(PatternError, Router, [("/x", target), (regex, target)]))
            self.assertIn("url_patterns[1]", message)
            self.assertIn("begin with /", message)
        for regex in (
            "",
            "(?P<a>.*)",
            "a?/b",
            "a*/",
            "a{0}/",
            "a|/b",
            ".*",
            "(a)?/",
            "(?i)/a",
            "[/]a",
            r"\/a",
        ):
            Router([(regex, target)])
        Router(
            [
                include("/x/", [("a/", target)]),
                include("", [("/a", target)]),
                include("(?x) ", [("/", target)]),
            ]
        )

    def test_table_that_is_no_iterable_is_refused(self) -> None:
        for patterns in (5, None, "text", {"a": 1}):
            self.assertIn("url_patterns", str(self.assertRaises(PatternError, Router, patterns)))

    def test_table_may_be_any_iterable(self) -> None:
        self.assertEqual(len(Router(("/x", target) for _ in range(3)).handlers), 3)


PIECES = [
    r"a", r"b", r"\.", r"-", r"a\/b", r"(?P<G>)", r"(?P<G>\d+)", r"(?P<G>[a-c]{1,2})", r"(?P<G>.*)", "",
    r"(?P<G>\w*)", r"(?P<G>[^/]?)", r"(?:a|b)", r"[ab]", r".", r"(a)", r"(?P<G>a|b)", r"x?", r"(?i:A)",
]  # fmt: skip


def joined(segments: list[list[str]]) -> str:
    """Return a pattern of these segments, with a different name for each group."""
    numbers = count()
    text = "/" + "/".join(map("".join, segments))
    return re.sub("<G>", lambda _: f"<g{next(numbers)}>", text)


regexes = st.lists(st.lists(st.sampled_from(PIECES), max_size=2), min_size=1, max_size=3).map(joined)
paths = st.lists(
    st.text(st.sampled_from("ab.-1x\nAä"), max_size=2), min_size=1, max_size=4
).map(lambda parts: "/" + "/".join(parts))  # fmt: skip


class EquivalenceTests(SynchronousTestCase):
    @given(st.lists(regexes, max_size=8), st.lists(paths, min_size=1, max_size=5))
    def test_router_matches_like_trying_every_pattern_in_order(
        self, table: list[str], wanted: list[str]
    ) -> None:
        """The router returns the same entry and groups as trying every pattern in order."""
        router = Router([(regex, target) for regex in table])
        compiled = [re.compile(re.sub(r"\(\?P<(\w+)>\)", r"(?P<\1>[^/]+)", regex)) for regex in table]
        for path in wanted:
            found = next(
                ((i, m.groupdict()) for i, each in enumerate(compiled) if (m := each.fullmatch(path))), None
            )
            try:
                handler, groups = router.match("GET", path)
            except HTTPError as error:
                self.assertEqual(error.status, 404)
                self.assertIsNone(found, (table, path))
            else:
                self.assertEqual(found, (handler.index, groups), (table, path))
