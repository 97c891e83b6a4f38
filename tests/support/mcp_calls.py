"""Calls tools with the official SDK for Python, in a thread: the SDK needs an asyncio loop of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

MISSING = "" if find_spec("mcp") else "the SDK for MCP is not installed (pip install mcp)"
MODES = ("2026-07-28", "legacy")  # the newest revision, and the newest one with a handshake
SAMPLES = {"integer": 3, "number": 1.5, "boolean": True, "string": "2", "object": {}, "null": None}
FORMATS = {
    "date": "2030-01-31",
    "date-time": "2030-01-31T08:00:00Z",
    "uuid": "12345678-1234-5678-1234-567812345678",
    "decimal": "2.5",
}
T = TypeVar("T")


def with_client(
    port: int, use: Callable[[Any], Awaitable[T]], mode: str = MODES[0], token: str = ""
) -> Deferred[T]:
    """Connect a client, and use it in a thread."""
    return deferToThread(asyncio.run, _use(port, use, mode, token))


async def _use(port: int, use: Callable[[Any], Awaitable[T]], mode: str, token: str) -> T:
    import httpx2
    from mcp.client.client import Client
    from mcp.client.streamable_http import streamable_http_client

    headers = {"authorization": f"Bearer {token}"} if token else {}
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(headers=headers, timeout=60, limits=limits) as http:
        transport = streamable_http_client(f"http://localhost:{port}/-/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            return await use(client)


def sample(schema: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """Return a value that a schema allows."""
    if "$ref" in schema:
        return sample(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return sample(schema["anyOf"][0], definitions)
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        required = schema.get("required", ())
        return {name: sample(schema["properties"][name], definitions) for name in required}
    if kind == "array":
        return [sample(schema["items"], definitions)] if "items" in schema else []
    if kind == "string":
        return FORMATS.get(schema.get("format", ""), SAMPLES["string"])
    return SAMPLES[kind]


def sample_arguments(tool: Any) -> dict[str, Any]:
    """Return arguments for a tool, those without a default."""
    found = sample(tool.input_schema, tool.input_schema.get("$defs", {}))
    assert isinstance(found, dict)
    return found
