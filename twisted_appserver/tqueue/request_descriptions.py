"""
The options and bodies of each of TQueueSrv's requests, for OpenAPI and the page of functions.

The requests read them from their calls, so signatures do not show them.
"""

from __future__ import annotations

from typing import Any

from twisted_appserver.admin.call_descriptions import CallDescription
from twisted_appserver.queue.config import Config
from twisted_appserver.tqueue.failure_body import FailureBody
from twisted_appserver.tqueue.request_options import TERMS, Query, Renewal

PUT_TERMS = tuple(name for name in TERMS if name in Query.__struct_fields__)


def _describe(*names: str, body: Any = None) -> CallDescription:
    return CallDescription(Query, names, body)


DESCRIPTIONS = {
    "put": _describe(
        "priority", "order", "delay", "timeout", "key", *PUT_TERMS, "detail", body=dict[str, Any]
    ),
    "get": _describe("timeout", "lease", "by", "key", "n", "detail"),
    "done": _describe("delivery", "detail", body=Any),
    "result": _describe("timeout"),
    "show": _describe(),
    "fail": _describe("delivery", "detail", body=FailureBody),
    "extend": _describe("lease", "delivery", "detail"),
    "renew": _describe("lease", body=Renewal),
    "release": _describe("delay", "delivery", "detail"),
    "bury": _describe("delivery", "detail"),
    "drop": _describe("delivery", "detail"),
    "kick": _describe("n", "key", "detail"),
    "peek": _describe("n", "state"),
    "qsize": _describe("detail"),
    "stats": _describe(),
    "join": _describe("timeout"),
    "shutdown": _describe("immediate"),
    "pause": _describe(),
    "resume": _describe(),
    "config": _describe(body=Config),
    "purge": _describe("key"),
    "forget": _describe("unique"),
    "delete": _describe(),
    "queues": _describe("detail"),
}
