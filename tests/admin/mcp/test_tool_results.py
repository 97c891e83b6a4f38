"""Tests of the results of tools, made from the replies of functions."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import HTTPError, Reply
from twisted_appserver.admin.mcp.endpoint import progress
from twisted_appserver.admin.mcp.tool_results import tool_result
from twisted_appserver.core.problem_reply import problem_reply


def result(
    body: bytes, kind: str = "application/json", status: int = 200, stateless: bool = True
) -> dict[str, Any]:
    made = tool_result(Reply(body, status, (("content-type", kind),)), "http://localhost/a", stateless)
    found: dict[str, Any] = json.loads(msgspec.json.encode(made))
    return found


class ResultTests(SynchronousTestCase):
    def test_json_is_structured_and_text(self) -> None:
        for kind in ("application/json", "application/geo+json; charset=utf-8"):
            self.assertEqual(
                result(b'{"a":1}', kind),
                {
                    "content": [{"type": "text", "text": '{"a":1}'}],
                    "structuredContent": {"a": 1},
                    "isError": False,
                },
            )
        plain = tool_result(Reply(b'{"a":1}'), "", True)
        self.assertEqual(plain["content"][0]["text"], '{"a":1}')

    def test_clients_of_earlier_revisions_get_only_objects_structured(self) -> None:
        self.assertEqual(result(b"[1]")["structuredContent"], [1])
        self.assertNotIn("structuredContent", result(b"[1]", stateless=False))
        self.assertEqual(result(b' {"a":1}', stateless=False)["structuredContent"], {"a": 1})

    def test_text_and_media_are_passed_as_they_are(self) -> None:
        self.assertEqual(result(b"a\xff", "text/plain")["content"], [{"type": "text", "text": "a\ufffd"}])
        data = b64encode(b"abc").decode()
        for kind, main in (("image/png", "image"), ("audio/ogg", "audio")):
            self.assertEqual(
                result(b"abc", kind)["content"], [{"type": main, "data": data, "mimeType": kind}]
            )
        resource = {"uri": "http://localhost/a", "mimeType": "application/pdf", "blob": data}
        self.assertEqual(
            result(b"abc", "application/pdf")["content"], [{"type": "resource", "resource": resource}]
        )

    def test_empty_reply_has_no_content(self) -> None:
        self.assertEqual(result(b"", status=204), {"content": [], "isError": False})

    def test_redirect_shows_where_it_leads(self) -> None:
        reply = Reply(b"", 303, (("location", "/b"),))
        self.assertEqual(tool_result(reply, "", True)["content"][0]["text"], "303 See Other: /b")

    def test_error_is_a_result_in_one_line(self) -> None:
        for error, expected in (
            (HTTPError(409, "taken"), "409 Conflict: taken"),
            (HTTPError(500, "it failed"), "500 Internal Server Error: it failed (instance id-1)"),
        ):
            made = tool_result(problem_reply(error, "id-1"), "", True)
            self.assertEqual(made, {"content": [{"type": "text", "text": expected}], "isError": True})

    def test_error_that_is_no_problem_document_shows_its_body(self) -> None:
        for body in (b"gone", b'"gone"', b"{gone"):
            made = result(body, status=410)
            self.assertTrue(made["isError"])
            self.assertEqual(made["content"][0]["text"], f"410 Gone: {body.decode()}")


class ProgressTests(SynchronousTestCase):
    def test_members_of_the_item_are_the_progress(self) -> None:
        for item, number, expected in (
            (b'{"done":3,"total":10}', 1, (3, 10)),
            (b'{"progress":0.25}', 1, (0.25, 1)),
            (b'{"done":true,"total":10}', 4, (4, None)),
            (b'{"done":3}', 5, (5, None)),
            (b"[1]", 6, (6, None)),
            (b"null", 7, (7, None)),
        ):
            params = progress("token", number, item)["params"]
            self.assertEqual((params["progress"], params.get("total")), expected)
            self.assertEqual((params["progressToken"], params["message"]), ("token", item.decode()))
