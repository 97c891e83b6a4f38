"""Tests of the messages of the Model Context Protocol: which are accepted, and the errors for all others."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import Call
from twisted_appserver.admin.mcp.messages import (
    CAPABILITIES_KEY,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    REVISION,
    UNSUPPORTED_REVISION,
    VERSION_KEY,
    Message,
    MessageError,
    check_revision,
    error_response,
    error_status,
    read_message,
)

LIST: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
META = {VERSION_KEY: REVISION, CAPABILITIES_KEY: {}}


def call(body: Any, **headers: str) -> Call:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content_type": "application/json", **headers}
    pairs = tuple((name.replace("_", "-").encode(), text.encode()) for name, text in given.items())
    return Call("POST", "/-/mcp", raw_headers=pairs, body=raw)


class ReadTests(SynchronousTestCase):
    def refused(self, code: int, body: Any, **headers: str) -> str:
        error = self.assertRaises(MessageError, read_message, call(body, **headers))
        self.assertEqual((error.code, error_status(error, None)), (code, 400))
        return error.message

    def test_request_has_an_id_and_a_notification_has_none(self) -> None:
        message = read_message(call({**LIST, "params": {"_meta": {"progressToken": "p"}}}))
        self.assertEqual((message.method, message.id, message.progress_token), ("tools/list", 1, "p"))
        message = read_message(call({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        self.assertEqual((message.id, message.params, message.meta), (None, {}, {}))

    def test_progress_token_of_another_type_is_ignored(self) -> None:
        for wrong in (True, None, 1.5, [], {}):
            message = read_message(call({**LIST, "params": {"_meta": {"progressToken": wrong}}}))
            self.assertIsNone(message.progress_token)
        self.assertEqual(read_message(call({**LIST, "params": {"_meta": []}})).meta, {})

    def test_everything_else_is_an_invalid_request(self) -> None:
        for wrong in (
            [LIST], {}, 1, None, {**LIST, "id": None}, {**LIST, "id": 1.5}, {**LIST, "id": True},
            {**LIST, "jsonrpc": "1.0"}, {**LIST, "method": 1}, {**LIST, "params": []},
            {"jsonrpc": "2.0", "id": 1, "result": {}}, {"id": 1, "method": "ping"},
        ):  # fmt: skip
            self.refused(INVALID_REQUEST, wrong)

    def test_body_that_is_no_json_is_a_parse_error(self) -> None:
        for wrong in (b"", b"{", b'{"jsonrpc"', b"\xff", b'{"params":{"a":' + b"[" * 100_000):
            self.refused(PARSE_ERROR, wrong)

    def test_page_of_another_origin_cannot_send_a_message_as_a_form(self) -> None:
        """A browser asks for permission before it sends JSON to another origin, but not for these types."""
        for kind in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "application/jsonx",
        ):
            self.assertIn("Content-Type", self.refused(INVALID_REQUEST, LIST, content_type=kind))
        read_message(call(LIST, content_type="Application/JSON; charset=utf-8"))

    def test_header_decides_the_revision(self) -> None:
        for version in ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"):
            self.assertFalse(read_message(call(LIST, mcp_protocol_version=version)).is_stateless)
        self.assertFalse(read_message(call(LIST)).is_stateless)
        for version in (REVISION, "2030-01-01", ""):
            self.assertTrue(read_message(call(LIST, mcp_protocol_version=version)).is_stateless)


class RevisionTests(SynchronousTestCase):
    """The headers and members that each request without a handshake must have."""

    def message(self, params: dict[str, Any], method: str = "tools/list", **headers: str) -> Message:
        given = {"mcp_protocol_version": REVISION, "mcp_method": method, **headers}
        return read_message(call({**LIST, "method": method, "params": params}, **given))

    def refused(self, code: int, *arguments: Any, **headers: str) -> MessageError:
        message = self.message(*arguments, **headers)
        error = self.assertRaises(MessageError, check_revision, message)
        self.assertEqual((error.code, error_status(error, message)), (code, 400))
        return error

    def test_complete_request_is_accepted(self) -> None:
        check_revision(self.message({"_meta": META}))
        check_revision(self.message({"_meta": META, "name": "add"}, "tools/call", mcp_name="add"))
        for encoded in ("=?base64?YWRk?=", "add"):
            check_revision(self.message({"_meta": META, "name": "add"}, "tools/call", mcp_name=encoded))

    def test_missing_member_is_named(self) -> None:
        for key in META:
            kept = {name: value for name, value in META.items() if name != key}
            self.assertIn(key, self.refused(INVALID_PARAMS, {"_meta": kept}).message)
        self.refused(INVALID_PARAMS, {})

    def test_header_that_differs_from_the_body_is_refused(self) -> None:
        """A proxy in between may have decided by the header."""
        other = {**META, VERSION_KEY: "2025-11-25"}
        self.refused(HEADER_MISMATCH, {"_meta": other})
        self.refused(HEADER_MISMATCH, {"_meta": META}, mcp_method="tools/call")
        for name in ("subtract", "=?base64?YWR?=", "=?base64?/w==?=", ""):
            params = {"_meta": META, "name": "add"}
            self.refused(HEADER_MISMATCH, params, "tools/call", mcp_name=name)
        self.refused(HEADER_MISMATCH, {"_meta": META, "name": "add"}, "tools/call")

    def test_unknown_revision_gets_the_known_ones(self) -> None:
        new = {**META, VERSION_KEY: "2030-01-01"}
        error = self.refused(UNSUPPORTED_REVISION, {"_meta": new}, mcp_protocol_version="2030-01-01")
        self.assertEqual(
            error.data, {"supported": [REVISION, "2025-11-25", "2025-06-18"], "requested": "2030-01-01"}
        )
        shown = error_response(error, None)
        self.assertEqual((shown["id"], shown["error"]["data"]), (None, error.data))
