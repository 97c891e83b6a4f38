"""The HTTP interface of TQueueSrv: requests to real servers with each store."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.support.files import sqlite_store
from tests.support.postgres import needs_postgresql, shared
from tests.support.queue_server import Server, wait_for
from twisted_appserver.core.application_info import ApplicationInfo
from twisted_appserver.core.router import Router
from twisted_appserver.tqueue.wire import url_patterns

FORM = "application/x-www-form-urlencoded"
POSTED = {
    "extend",
    "release",
    "fail",
    "bury",
    "kick",
    "drop",
    "config",
    "pause",
    "resume",
    "shutdown",
    "purge",
    "delete",
    "forget",
}


class WireCase(SynchronousTestCase):
    store = "memory:"
    options: tuple[str, ...] = ()

    def setUp(self) -> None:
        store = self.store if self.store == "memory:" else sqlite_store(self)
        self.server = Server(store, options=self.options).start()
        self.addCleanup(self.server.kill)

    def ask(
        self, path: str, body: bytes | None = None, kind: str = "application/json", **query: Any
    ) -> tuple[int, dict[str, Any]]:
        """Send a request, by POST if it has a body or if its verb requires POST."""
        if body is None and POSTED & set(path.partition("?")[0].split("/")):
            body = b""
        status, _, document = self.send("GET" if body is None else "POST", path, body, kind, **query)
        return status, json.loads(document)

    def send(
        self, method: str, path: str, body: bytes | None = None, kind: str = FORM, **query: Any
    ) -> tuple[int, Any, bytes]:
        """Make a request. Return the status, the headers and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        headers = {} if body is None else {"content-type": kind}
        path += "?" + urlencode(query) if query else ""
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        document = answer.read()
        connection.close()
        return answer.status, answer.headers, document


class TextTests(WireCase):
    """Options in the query are text, and are read like the arguments of any function."""

    def test_options_in_the_query_are_read_leniently(self) -> None:
        for query in (
            {"timeout": ".05"},
            {"timeout": "+0", "detail": "yes"},
            {"lease": "05"},
            {"detail": "off"},
        ):
            self.assertEqual(self.ask("/painter/get/", **query)[0], 200, query)
        self.assertEqual(self.ask("/painter/config/", maxsize="05", lease="1.")[1]["maxsize"], 5)

    def test_message_names_the_option_and_its_value(self) -> None:
        for path, query, expected in (
            ("get", {"timeout": "soon"}, "timeout must be a number, not 'soon'"),
            ("get", {"detail": "perhaps"}, "detail must be true or false, not 'perhaps'"),
            ("get", {"timeout": "-1"}, "the query string: timeout must be 0 or more, not -1.0"),
            (
                "peek",
                {"state": "x"},
                "state must be one of 'buried', 'delayed', 'held', 'leased', 'ready', not 'x'",
            ),
            ("get", {"wait": "1"}, "wait is not a known field"),
            ("config", {"maxsize": "x"}, "maxsize must be an integer, not 'x'"),
        ):
            status, problem = self.ask(f"/painter/{path}/", **query)
            self.assertEqual((status, problem["detail"]), (422, expected))


class ResultTests(WireCase):
    def finished(self, body: bytes | None, kind: str = "application/json") -> str:
        """Put and get a task, and finish it with a body. Return its id."""
        task_id = str(self.ask("/p/put/", b"{}")[1]["task_id"])
        self.ask("/p/get/")
        self.assertEqual(self.ask(f"/p/done/{task_id}", body, kind)[0], 200)
        return task_id

    def test_body_of_done_is_the_result(self) -> None:
        """Any JSON value, to the last digit, also if it is labelled as a form; or the fields of a form."""
        self.ask("/p/config/", keep=60)
        for body, kind, expected in (
            (b'{"n": 12345678901234567890123}', "application/json", {"n": 12345678901234567890123}),
            (b"[1, null]", FORM, [1, None]),
            (b"color=red", FORM, {"color": "red"}),
            (b'"text"', "application/json", "text"),
            (None, "", None),
        ):
            task_id = self.finished(body, kind)
            whole = {"worker": "p", "task_id": task_id, "state": "done", "result": expected}
            for method in (None, b""):
                self.assertEqual(self.ask(f"/p/result/{task_id}", method), (200, whole))

    def test_body_that_is_neither_json_nor_a_form_is_no_result(self) -> None:
        """A typo in JSON, or a word without quotes; C{curl -d} labels both as a form."""
        task_id = str(self.ask("/p/put/", b"{}")[1]["task_id"])
        self.ask("/p/get/")
        for body, status in ((b"{square: 36}", 415), (b"red", 422)):
            self.assertEqual(self.ask(f"/p/done/{task_id}", body, FORM)[0], status)
        self.assertEqual(self.ask(f"/p/done/{task_id}", b"color=", FORM)[0], 200)

    def test_result_of_unknown_task_has_a_reason(self) -> None:
        """A queue keeps no results by default."""
        task_id = self.finished(b"7")
        unknown = {"worker": "p", "task_id": "", "state": "unknown", "result": None, "reason": "unknown"}
        for each in (task_id, "1", "x", "²"):
            self.assertEqual(self.ask(f"/p/result/{quote(each)}", timeout=5), (200, unknown))

    def test_result_is_awaited(self) -> None:
        self.ask("/p/config/", keep=60)
        task_id = self.ask("/p/put/", b"{}")[1]["task_id"]
        self.assertEqual(self.ask(f"/p/result/{task_id}")[1]["state"], "ready")
        self.assertEqual(self.ask(f"/p/result/{task_id}", timeout=0.05)[1]["state"], "ready")
        found: list[Any] = []
        waiting = threading.Thread(
            target=lambda: found.append(self.ask(f"/p/result/{task_id}", timeout=20)[1])
        )
        waiting.start()
        self.ask("/p/get/")
        self.ask(f"/p/done/{task_id}", b"7")
        waiting.join(20)
        self.assertEqual([(each["state"], each["result"]) for each in found], [("done", 7)])

    def test_wrong_result_finishes_nothing(self) -> None:
        task_id = self.ask("/p/put/", b"{}")[1]["task_id"]
        self.ask("/p/get/")
        for body, kind, status in (
            (b"{", "application/json", 400),
            (b"[" * 200 + b"]" * 200, "application/json", 400),
            (b"1,2", "application/json", 400),
            (b"x", "text/plain", 415),
            (b'"' + b"x" * 1024 * 1024 + b'"', "application/json", 413),
        ):
            self.assertEqual(self.ask(f"/p/done/{task_id}", body, kind)[0], status, body[:9])
        self.assertEqual(self.ask("/p/stats/")[1]["leased"], 1)


class FailureTests(WireCase):
    def leased(self, **query: Any) -> str:
        """Put and get a task. Return its id."""
        task_id = str(self.ask("/p/put/", b'{"n":1}')[1]["task_id"])
        self.ask("/p/get/", **query)
        return task_id

    def test_failure_is_recorded_and_shown(self) -> None:
        task_id = self.leased(by="host:1")
        body = b'{"error": "KeyError", "traceback": "line 7", "retry": 1000}'
        failed = self.ask(f"/p/fail/{task_id}", body, delivery=1)
        self.assertEqual(failed, (200, {"worker": "p", "task_id": task_id, "retry": 1000.0}))
        for method in (None, b""):
            shown = self.ask(f"/p/show/{task_id}", method)[1]
            (attempt,) = shown.pop("attempts")
            self.assertTrue(0 <= attempt.pop("seconds") < 10)
            self.assertLess(abs(attempt.pop("began") - time.time()), 10)
            self.assertLess(abs(shown.pop("due") - time.time() - 1000), 10)
            self.assertLess(abs(shown.pop("put_at") - time.time()), 10)
            self.assertEqual(attempt, {"attempt": 1, "by": "host:1", "reason": "failed", "error": "KeyError",
                                       "traceback": "line 7"})  # fmt: skip
            self.assertEqual(shown, {"worker": "p", "task_id": task_id, "state": "delayed", "task": {"n": 1},
                                     "error": "KeyError", "deliveries": 1, "priority": 0.0, "order": "",
                                     "lease": 0.0})  # fmt: skip
        (peeked,) = self.ask("/p/peek", state="delayed")[1]["tasks"]
        self.assertEqual(peeked["error"], "KeyError")
        self.assertEqual(self.ask(f"/p/fail/{task_id}", b"{}", detail=1)[1]["reason"], "unknown")

    def test_task_that_gives_up_is_buried_with_its_error(self) -> None:
        """A form has the same fields as JSON."""
        for body, kind in ((b'{"error": "no color", "retry": false}', "application/json"),
                           (b"error=no+color&retry=false", FORM)):  # fmt: skip
            task_id = self.leased()
            self.assertIs(self.ask(f"/p/fail/{task_id}", body, kind)[1]["retry"], False)
            found = self.ask(f"/p/result/{task_id}", timeout=20)[1]
            self.assertEqual((found["state"], found["error"]), ("buried", "no color"))

    def test_failure_without_retry_has_the_pause_of_the_queue(self) -> None:
        """The response says how long the task rests. A null is as good as nothing."""
        self.ask("/p/config", b"retry_first=100&retry_factor=3&retry_jitter=0", FORM)
        task_id = self.leased()
        self.assertEqual(self.ask(f"/p/fail/{task_id}", b"")[1]["retry"], 100)
        self.ask(f"/p/kick/{task_id}", b"")
        self.ask("/p/get/")
        self.assertEqual(self.ask(f"/p/fail/{task_id}", b'{"retry": null}')[1]["retry"], 300)
        self.assertNotIn("retry", self.ask(f"/p/fail/{task_id}", b"")[1])
        status, problem = self.ask("/p/config", b"retry_factor=0", FORM)
        self.assertEqual(status, 422)
        self.assertIn("retry_factor must be 1 to 1000, not 0.0", problem["detail"])

    def test_wrong_failure_is_refused(self) -> None:
        task_id = self.leased()
        for body in (b'{"retry": -1}', b'{"retry": true}', b'{"retry": "soon"}', b'{"retry": 1e12}',
                     b'{"error": 7}', b'{"reason": "x"}', b'{"retry": "nan"}'):  # fmt: skip
            self.assertEqual(self.ask(f"/p/fail/{task_id}", body)[0], 422, body)
        self.assertEqual(self.ask("/p/get/", by="x" * 201)[0], 422)
        self.assertEqual(self.ask("/p/stats/")[1]["leased"], 1)

    def test_json_that_is_labelled_as_a_form_is_refused_with_advice(self) -> None:
        """As C{curl -d} labels it. It was taken for a field with a strange name."""
        task_id = self.leased()
        for path, body in (
            (f"/p/fail/{task_id}", b'{"error": "no color", "traceback": "a=1&b", "retry": 60}'),
            ("/p/put/", b' {"picture": 7}\n'),
            ("/p/put/", b'[{"picture": 7}]'),
            ("/p/config/", b'{"keep": 60}'),
            ("/p/renew/", b'{"tasks": []}'),
            (f"/p/done/{task_id}", b"{size: 7}"),
        ):
            status, document = self.ask(path, body, FORM)
            self.assertEqual(status, 415, document)
            self.assertIn("send it with the header Content-Type: application/json", document["detail"])
        self.assertEqual(self.ask("/p/put/", b"%7Bn%7D=1", FORM)[0], 200)
        stats = self.ask("/p/stats/")[1]
        self.assertEqual((stats["leased"], stats["ready"], stats["keep"]), (1, 1, 0.0))

    def test_long_errors_are_cut_and_unknown_tasks_have_a_reason(self) -> None:
        task_id = self.leased()
        body = json.dumps({"error": "e" * 9999 + "\0", "traceback": "\0" + "t" * 99_999 + "end"}).encode()
        self.ask(f"/p/fail/{task_id}", body)
        (attempt,) = self.ask(f"/p/show/{task_id}")[1]["attempts"]
        self.assertEqual((len(attempt["error"]), attempt["traceback"][-4:]), (2000, "tend"))
        unknown = {"worker": "p", "task_id": "", "state": "unknown", "reason": "unknown"}
        self.assertEqual(self.ask("/p/show/1"), (200, unknown))


class TermTests(WireCase):
    """Tasks with terms of their own."""

    def test_task_has_its_own_terms(self) -> None:
        query = {"max_deliveries": 2, "retry_first": 50, "retry_jitter": 0, "ttl": 1000}
        task_id = self.ask("/p/put/", b"n=1", FORM, **query)[1]["task_id"]
        shown = self.ask(f"/p/show/{task_id}")[1]
        (peeked,) = self.ask("/p/peek")[1]["tasks"]
        for document in (shown, peeked):
            self.assertLess(abs(document["ends"] - time.time() - 1000), 10)
            self.assertEqual({name: document.get(name) for name in query}, query)
            self.assertNotIn("retry_factor", document)
        self.ask("/p/get")
        self.assertEqual(self.ask(f"/p/fail/{task_id}", b"")[1]["retry"], 50.0)
        self.ask(f"/p/kick/{task_id}", b"")
        self.ask("/p/get")
        self.assertIs(self.ask(f"/p/fail/{task_id}", b"")[1]["retry"], False)

    def test_array_has_terms(self) -> None:
        self.ask("/p/put", b'[{"n": 1}, [{"n": 2}, 5.0]]', ttl=60)
        tasks = self.ask("/p/peek")[1]["tasks"]
        self.assertEqual([each["ttl"] for each in tasks], [60.0, 60.0])

    def test_tasks_of_a_group_wait_for_each_other(self) -> None:
        self.ask("/p/put", b'[{"n": 1}, {"n": 2}]', group="customer 7")
        third = self.ask("/p/put/", b"n=3", FORM, group="customer 7")[1]["task_id"]
        shown = self.ask(f"/p/show/{third}")[1]
        self.assertEqual((shown["state"], shown["group"]), ("held", "customer 7"))
        self.assertEqual([each["task"] for each in self.ask("/p/get", n=9)[1]["tasks"]], [{"n": 1}])
        held = self.ask("/p/peek", state="held")[1]["tasks"]
        self.assertEqual([each["task"] for each in held], [{"n": 2}, {"n": "3"}])
        self.assertEqual(self.ask("/p/config", b"at_once=2", FORM)[1]["at_once"], 2)
        stats = self.ask("/p/stats")[1]
        self.assertEqual((stats["ready"], stats["leased"], stats["held"]), (1, 1, 1))

    def test_wrong_groups_are_refused(self) -> None:
        for query, reason in (
            ({"group": "g" * 501}, "group must be at most 500 characters, not 501"),
            ({"group": "a\0"}, "key, order, by, group and unique must not contain the character NUL"),
        ):
            status, problem = self.ask("/p/put/", b"n=1", FORM, **query)
            self.assertEqual((status, problem["detail"]), (422, f"the query string: {reason}"))
        for value in ("0", "10001"):
            status, problem = self.ask("/p/config", b"at_once=" + value.encode(), FORM)
            self.assertEqual(status, 422)
            self.assertIn(f"at_once must be 1 to 10000, not {value}", problem["detail"])

    def test_rate_is_an_option_of_the_queue(self) -> None:
        self.assertEqual(self.ask("/p/config", b"rate=1%2Fh", FORM)[1]["rate"], "1/h")
        self.ask("/p/put", b'[{"n": 1}, {"n": 2}]')
        self.assertEqual([each["task"] for each in self.ask("/p/get", n=9)[1]["tasks"]], [{"n": 1}])
        self.assertEqual(self.ask("/p/get", detail=1)[1]["reason"], "empty")
        status, problem = self.ask("/p/config", b"rate=10%2Fw", FORM)
        self.assertEqual(status, 422)
        self.assertIn("rate must be like 10/s, 100/m, 5/h or 1/d", problem["detail"])

    def test_expired_task_is_a_result(self) -> None:
        self.ask("/p/config", b"keep=60", FORM)
        task_id = self.ask("/p/put/", b"n=1", FORM, ttl=0.2)[1]["task_id"]
        found = self.ask(f"/p/result/{task_id}", timeout=20)[1]
        self.assertEqual((found["state"], found["error"]), ("expired", "its time to live is over"))
        self.assertEqual(self.ask("/p/stats")[1]["expired"], 1)

    def test_wrong_terms_are_refused(self) -> None:
        for query, reason in (
            ({"ttl": 0}, "ttl must be more than 0, not 0.0"),
            ({"ttl": -1}, "ttl must be"),
            ({"ttl": 60, "delay": 60}, "ttl must be more than delay, 60 seconds, not 60.0"),
            ({"max_deliveries": -1}, "max_deliveries must be 0 to"),
            ({"retry_factor": 0}, "retry_factor must be 1 to 1000, not 0.0"),
            ({"retry_most": "x"}, "retry_most"),
        ):
            status, problem = self.ask("/p/put/", b"n=1", FORM, **query)
            self.assertEqual(status, 422, query)
            self.assertIn(reason, problem["detail"])
        self.assertEqual(self.ask("/p/qsize")[1]["qsize"], 0)


class AgeTests(WireCase):
    """When tasks were put."""

    def test_tasks_and_figures_have_ages(self) -> None:
        self.assertEqual(self.ask("/p/stats")[1]["oldest"], None)
        task_id = self.ask("/p/put/", b"n=1", FORM)[1]["task_id"]
        self.assertTrue(0 <= self.ask("/p/stats")[1]["oldest"] < 10)
        (peeked,) = self.ask("/p/peek")[1]["tasks"]
        for document in (peeked, self.ask(f"/p/show/{task_id}")[1]):
            self.assertLess(abs(document["put_at"] - time.time()), 10)


class TitleTests(SynchronousTestCase):
    def test_documents_are_titled_tqueuesrv(self) -> None:
        """The OpenAPI document and the pages; their description has no markup of docstrings."""
        info = ApplicationInfo(
            None, [each.function for each in Router(url_patterns(reactor=Clock())).handlers]
        )
        self.assertEqual(info.title, "TQueueSrv")
        self.assertIn("workers on several hosts", info.description)
        self.assertNotIn("{", info.description)


class ArticleTests(WireCase):
    """The article's four requests, exactly as it describes them."""

    def test_four_requests_get_exactly_the_responses_of_the_article(self) -> None:
        """By GET and POST, with and without a trailing slash."""
        for slash in ("/", ""):
            for empty in (None, b""):
                put = self.ask("/painter/put" + slash, b"color=red&worker=painter", FORM)
                self.assertEqual(put[0], 200)
                task_id = put[1]["task_id"]
                self.assertTrue(task_id)
                self.assertEqual(put[1], {"worker": "painter", "task_id": task_id})
                size = self.ask("/painter/qsize" + slash, empty)
                self.assertEqual(size, (200, {"worker": "painter", "qsize": 1}))
                whole = {"worker": "painter", "task_id": task_id, "task": {"color": "red"}}
                self.assertEqual(self.ask("/painter/get" + slash, empty), (200, whole))
                self.assertEqual(self.ask(f"/painter/done/{task_id}{slash}", empty), (200, whole))

    def test_request_that_cannot_succeed_gets_an_empty_task_id(self) -> None:
        """With status 200: nothing to get, no such active task, queue full."""
        nothing = {"worker": "painter", "task_id": "", "task": {}}
        self.assertEqual(self.ask("/painter/get/"), (200, nothing))
        for task_id in ("1", "x", "-1", "%20"):
            self.assertEqual(self.ask(f"/painter/done/{task_id}"), (200, nothing))
        self.ask("/painter/config/", maxsize=1)
        put = self.ask("/painter/put/", b"{}")[1]
        self.assertEqual(self.ask("/painter/put/", b"{}"), (200, {"worker": "painter", "task_id": ""}))
        self.assertEqual(self.ask(f"/painter/done/{put['task_id']}"), (200, nothing))  # not active

    def test_head_has_no_effect(self) -> None:
        """Requests that change something get 405; those that only read answer it."""
        self.ask("/p/put/", b"{}")
        for path in ("/p/put/", "/p/get", "/p/get/?timeout=1", "/p/done/1", "/p/kick", "/p/delete/"):
            status, headers, _ = self.send("HEAD", path)
            self.assertEqual((status, "POST" in headers["allow"]), (405, True), path)
        for path in ("/p/qsize", "/p/stats/", "/p/peek", "/p/config", "/"):
            self.assertEqual(self.send("HEAD", path)[0], 200, path)
        stats = self.ask("/p/stats/")[1]
        self.assertEqual([stats[name] for name in ("ready", "puts", "gets")], [1, 1, 0])

    def test_changes_require_post(self) -> None:
        """A GET, which a link or picture can cause, is refused and changes nothing."""
        self.ask("/p/put/", b"{}")
        got = self.ask("/p/get/")[1]["task_id"]
        self.ask("/p/put/", b"{}")
        paths = [f"{verb}/{got}" for verb in ("extend", "release", "bury", "kick", "drop")]
        paths += [
            "kick",
            "pause",
            "resume",
            "purge",
            "shutdown",
            "shutdown/?immediate=1",
            "delete",
            "delete/",
            "config?maxsize=1",
        ]
        for path in paths:
            status, headers, _ = self.send("GET", f"/p/{path}")
            self.assertEqual((status, "POST" in headers["allow"]), (405, True), path)
        stats = self.ask("/p/stats/")[1]
        found = [stats[name] for name in ("ready", "leased", "buried", "maxsize", "shutdown", "paused")]
        self.assertEqual(found, [1, 1, 0, 0, "", False])
        self.assertEqual(self.send("GET", "/p/config")[0], 200)

    def test_one_task_is_dropped_kicked_or_buried_by_its_id(self) -> None:
        """In whatever state it is."""
        names = [self.ask("/p/put/", b"{}")[1]["task_id"] for _ in range(3)]
        self.assertEqual(self.ask(f"/p/bury/{names[0]}", b"")[1]["task_id"], names[0])
        self.assertEqual(self.ask(f"/p/drop/{names[1]}", b"")[1]["task"], {})
        self.assertEqual(self.ask("/p/get/")[1]["task_id"], names[2])
        self.assertEqual(self.ask(f"/p/kick/{names[0]}", b"")[1]["task_id"], names[0])
        self.assertEqual(self.ask("/p/get/")[1]["task_id"], names[0])
        self.assertEqual(self.ask(f"/p/drop/{names[0]}", b"")[1]["task_id"], names[0])
        self.assertEqual(self.ask(f"/p/done/{names[0]}")[1]["task_id"], "")
        for verb in ("kick", "drop"):
            reply = self.ask(f"/p/{verb}/{names[1]}?detail=1", b"")[1]
            self.assertEqual((reply["task_id"], reply["reason"]), ("", "unknown"))

    def test_paused_queue_accepts_puts_and_hands_out_nothing(self) -> None:
        self.assertEqual(self.ask("/p/pause/", b"")[1], {"worker": "p", "paused": True})
        self.ask("/p/put/", b"{}")
        self.assertEqual(self.ask("/p/get/?detail=1")[1]["reason"], "empty")
        self.assertIs(self.ask("/p/stats/")[1]["paused"], True)
        self.assertEqual(self.ask("/p/resume/", b"")[1], {"worker": "p", "paused": False})
        self.assertTrue(self.ask("/p/get/")[1]["task_id"])

    def test_json_task_comes_back_to_the_last_digit(self) -> None:
        """Without the reserved name."""
        text = b'{"n": 12345678901234567890123, "x": 0.10, "worker": "painter", "null": null}'
        self.ask("/painter/put/", text)
        task = self.ask("/painter/get/")[1]["task"]
        self.assertEqual(task, {"n": 12345678901234567890123, "x": 0.1, "null": None})

    def test_invalid_request_gets_a_fitting_status(self) -> None:
        self.assertEqual(self.ask("/painter/put/", b"[1]")[0], 400)
        self.assertEqual(self.ask("/painter/put/", b"{")[0], 400)
        self.assertEqual(self.ask("/painter/put/", b"x", "text/plain")[0], 415)
        for path in ("put", "config", "renew"):
            status, problem = self.ask(f"/painter/{path}/", b"{}", "application/json; charset=utf-16")
            self.assertEqual((status, "charset utf-16" in problem["detail"]), (415, True), problem)
        self.assertEqual(self.ask("/painter/nothing/")[0], 404)
        self.assertEqual(self.ask("/" + "x" * 201 + "/qsize/")[0], 400)
        for query in ({"timeout": -1}, {"timeout": "nan"}, {"lease": 0}, {"priority": "nan"}, {"prio": 1}):
            status, problem = self.ask("/painter/get/", **query)
            self.assertEqual((status, next(iter(query)) in problem["detail"]), (422, True), problem)
        task_id = self.ask("/painter/put/")[1]["task_id"]
        for path in ("peek?n=-1", "kick?n=99999999999999999999", f"done/{task_id}?delivery=-1"):
            self.assertEqual(self.ask(f"/painter/{path}")[0], 422)

    def test_ids_cannot_be_guessed(self) -> None:
        """An id is accepted only as it was given, in its queue; from one id no other can be made."""
        ids = [self.ask(f"/{name}/put/")[1]["task_id"] for name in "ppq"]
        for name in "ppq":
            self.ask(f"/{name}/get/")
        number, _, signature = ids[0].partition("-")
        self.assertEqual(len({each.partition("-")[2] for each in ids}), 3)
        other = "0" if signature[-1] != "0" else "1"
        wrong = [number, number + "-", f"0{number}-{signature}", f"{int(number) + 1}-{signature}", ids[2]]
        wrong += [ids[0] + "0", ids[0][:-1], ids[0].upper() + "\n", ids[0][:-1] + other]
        wrong += ["zz", "-1", "²", "f" * 16, f"²-{signature}"]
        for task_id in wrong:
            for verb in ("done", "extend", "release", "bury"):
                self.assertEqual(self.ask(f"/p/{verb}/{quote(task_id)}")[1]["task_id"], "", (verb, task_id))
        self.assertEqual(self.ask(f"/p/done/{ids[0]}")[1]["task_id"], ids[0])

    def test_field_named_worker_is_refused(self) -> None:
        """Unless it has the name of the queue."""
        for body, kind in ((b'{"worker": "me"}', "application/json"), (b"worker=me&n=1", FORM),
                           (b'{"worker": 1}', "application/json"), (b"worker=p&worker=p", FORM)):  # fmt: skip
            status, problem = self.ask("/p/put/", body, kind)
            self.assertEqual((status, "worker" in problem["detail"]), (422, True))
        self.assertEqual(self.ask("/p/qsize")[1]["qsize"], 0)
        for body, kind in ((b'{"n": 1.0, "worker": "p"}', "application/json"), (b"worker=p&n=1.0", FORM)):
            self.ask("/p/put/", body, kind)
            self.assertEqual(float(self.ask("/p/get/")[1]["task"]["n"]), 1.0)

    def test_repeated_key_puts_nothing(self) -> None:
        """A key is any text. With another body it is an error."""
        for key in ("invoice:1", "invoice:2", "ä \u2028:7", "7", ":7"):
            first = self.ask("/p/put/", b'{"n": 1}', key=key)[1]
            again = self.ask("/p/put/", b'{"n": 1}', key=key)[1]
            self.assertEqual(again, {**first, "repeated": True})
            self.assertNotIn("repeated", first)
            status, problem = self.ask("/p/put/", b'{"n": 2}', key=key)
            self.assertEqual((status, "another body" in problem["detail"]), (422, True))
        self.assertTrue(self.ask("/p/put/", b'{"n": 1}', key="invoice:1")[1]["repeated"])
        self.assertEqual(self.ask("/p/qsize")[1], {"worker": "p", "qsize": 5})
        self.assertEqual(self.ask("/p/qsize", detail=1)[1], {"worker": "p", "qsize": 5, "buried": 0})

    def test_kick_and_purge_can_be_repeated_with_their_key(self) -> None:
        """Their responses may have been lost."""
        for _ in range(3):
            self.ask("/p/put/", b"{}")
            self.ask(f"/p/bury/{self.ask('/p/get/')[1]['task_id']}")
        for _ in range(2):
            self.assertEqual(self.ask("/p/kick/", n=2, key="k")[1]["kicked"], 2)
        self.assertEqual(self.ask("/p/kick/", n=3, key="k")[0], 422)
        for _ in range(2):
            self.assertEqual(self.ask("/p/purge/", key="k")[1]["purged"], 2)
            self.ask("/p/put/", b"{}", key="k")
        stats = self.ask("/p/stats/")[1]
        self.assertEqual((stats["ready"], stats["buried"]), (1, 1))

    def test_task_above_the_body_limit_gets_413(self) -> None:
        self.assertEqual(self.ask("/painter/put/", b'{"a":"%s"}' % (b"x" * 1024 * 1024))[0], 413)

    def test_further_requests_have_the_same_form(self) -> None:
        ids = [self.ask("/p/put/", b'{"n":%d}' % n)[1]["task_id"] for n in range(3)]
        got = self.ask("/p/get/", lease=30, detail=1)[1]
        self.assertEqual((got["task_id"], got["delivery"]), (ids[0], 1))
        self.assertEqual(self.ask(f"/p/extend/{ids[0]}", lease=60)[1], {"worker": "p", "task_id": ids[0]})
        self.assertEqual(self.ask(f"/p/bury/{ids[0]}/")[1], {"worker": "p", "task_id": ids[0]})
        self.assertEqual(self.ask(f"/p/release/{ids[0]}/")[1], {"worker": "p", "task_id": ""})
        buried = self.ask("/p/peek/", state="buried")[1]["tasks"]
        self.assertEqual([(task["task_id"], task["task"]) for task in buried], [(ids[0], {"n": 0})])
        self.assertEqual(self.ask("/p/kick/", n=1)[1], {"worker": "p", "kicked": 1})
        self.assertEqual([task["task"]["n"] for task in self.ask("/p/peek/")[1]["tasks"]], [0, 1, 2])
        self.assertEqual(self.ask("/p/join/")[1], {"worker": "p", "unfinished": 3, "buried": 0})
        self.assertEqual(self.ask("/p/config/", b'{"kind": "lifo"}')[1]["kind"], "lifo")
        self.assertEqual(self.ask("/p/get/")[1]["task"], {"n": 2})
        self.assertEqual(self.ask("/")[1], {"queues": {"p": {"qsize": 2}}})
        counts = {"qsize": 2, "ready": 2, "delayed": 0, "leased": 1, "held": 0, "buried": 0}
        self.assertEqual(self.ask("/", detail=1)[1], {"queues": {"p": counts}})
        self.assertEqual(self.ask("/p/shutdown/")[1], {"worker": "p", "is_shutdown": True})
        self.assertEqual(self.ask("/p/put/", b"{}", detail=1)[1]["reason"], "shutdown")
        stats = self.ask("/p/stats/")[1]
        self.assertEqual([stats[name] for name in ("ready", "leased", "puts", "gets")], [2, 1, 3, 2])
        self.assertEqual(self.ask("/p/delete/")[1], {"worker": "p"})
        self.assertEqual(self.ask("/")[1], {"queues": {}})

    def test_one_request_renews_many_leases(self) -> None:
        """Its response names the leases that are lost."""
        ids = [self.ask("/p/put/", b"{}")[1]["task_id"] for _ in range(3)]
        for _ in range(2):
            self.ask("/p/get/", lease=1)
        tasks = [{"task_id": each} for each in (*ids, "x")]
        tasks[0]["delivery"] = 1
        lost = [{"task_id": each, "delivery": 0} for each in (ids[2], "x")]
        body = json.dumps({"tasks": tasks}).encode()
        self.assertEqual(self.ask("/p/renew", body, lease=100), (200, {"worker": "p", "lost": lost}))
        self.assertEqual(self.ask("/p/renew/", b'{"tasks": []}'), (200, {"worker": "p", "lost": []}))
        for peeked in self.ask("/p/peek/", state="leased")[1]["tasks"]:
            self.assertGreater(peeked["lease"], time.time() + 90)
        for wrong in (b"{}", b"", b'{"tasks": ["x"]}', b'{"tasks": [{"task_id": "x", "delivery": -1}]}'):
            self.assertEqual(self.ask("/p/renew/", wrong)[0], 422, wrong)
        self.assertEqual(self.ask("/p/renew/")[0], 405)

    def test_waiting_client_that_disconnects_receives_no_task(self) -> None:
        """The next client receives it."""
        gone = socket.create_connection(("127.0.0.1", self.server.port))
        gone.sendall(b"GET /p/get/?timeout=60 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_for(lambda: self.ask("/p/stats/")[1]["getters"] == 1)
        gone.close()
        wait_for(lambda: self.ask("/p/stats/")[1]["getters"] == 0)
        self.ask("/p/put/", b"{}")
        self.assertEqual(self.ask("/p/stats/")[1]["ready"], 1)

    def test_stopping_server_answers_waiting_clients_with_503(self) -> None:
        """It does not wait for them."""
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(self.ask("/p/get/", timeout=60)))
        thread.start()
        wait_for(lambda: self.ask("/p/stats/")[1]["getters"] == 1)
        begin = time.monotonic()
        self.assertEqual(self.server.stop(), -15)  # as twistd ends
        thread.join(10)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(answers[0][0], 503)


class LeaseLengthTests(WireCase):
    """With C{detail}, a get returns the length of its lease, in every store."""

    def lengths(self) -> None:
        for n in range(3):
            self.ask("/p/put/", b'{"n":%d}' % n)
        self.ask("/p/config/", lease=300)
        self.assertEqual(self.ask("/p/get/", detail=1)[1]["lease"], 300)
        self.ask("/p/config/", lease=200)
        self.assertEqual(self.ask("/p/get/", detail=1)[1]["lease"], 200)
        self.assertEqual(self.ask("/p/get/", detail=1, lease=7)[1]["lease"], 7)
        self.assertNotIn("lease", self.ask("/p/get/", detail=1)[1])

    def test_get_returns_the_length_of_its_lease(self) -> None:
        self.lengths()

    @needs_postgresql
    def test_get_returns_the_length_of_its_lease_on_postgresql(self) -> None:
        self.server.kill()
        self.server = Server(shared().database()).start()
        self.addCleanup(self.server.kill)
        self.lengths()


class SQLiteArticleTests(ArticleTests):
    store = "sqlite:"

    def test_acknowledged_requests_survive_kill_9(self) -> None:
        """Leases and options too."""
        ids = [self.ask("/p/put/", b'{"n":%d}' % n)[1]["task_id"] for n in range(20)]
        self.ask("/p/config/", maxsize=20)
        got = self.ask("/p/get/", key="a:1")[1]
        done = self.ask("/p/get/")[1]
        self.ask(f"/p/done/{done['task_id']}")
        self.server.kill()
        self.server.start()
        self.assertEqual(self.ask("/p/get/", key="a:1")[1], got)
        self.assertEqual(self.ask("/p/config/")[1]["maxsize"], 20)
        tasks = self.ask("/p/peek/", n=100)[1]["tasks"]
        self.assertEqual([task["task_id"] for task in tasks], ids[2:])

    def test_second_server_on_the_same_file_is_refused(self) -> None:
        """In one line."""
        other = Server(self.server.store)
        error = str(self.assertRaises(RuntimeError, other.start))
        self.assertIn("another process uses the store", error)
        self.assertNotIn("Traceback", error)
