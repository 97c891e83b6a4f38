"""Answers the messages of clients: what the server is, which tools it has, and calls of these tools."""

from __future__ import annotations

import weakref
from collections.abc import AsyncIterator, Callable
from os import urandom
from typing import Any

import msgspec

from twisted_appserver.admin.mcp.messages import (
    CANCELLED,
    EARLIER,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    REVISION,
    SERVER_KEY,
    SESSION_HEADER,
    Message,
    MessageError,
    check_revision,
    error_response,
    error_status,
    read_message,
    response,
)
from twisted_appserver.admin.mcp.tool_call import CANCELLED as CANCELLED_REPLY
from twisted_appserver.admin.mcp.tool_call import ToolCall, function_call
from twisted_appserver.admin.mcp.tool_results import tool_error, tool_result
from twisted_appserver.admin.mcp.tools import Tool, find_tools
from twisted_appserver.closest_name import closest
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.events import accepts_events
from twisted_appserver.errors import JobError

LONGEST_SESSION = 128  # characters; this server makes shorter ones


class McpEndpoint:
    """
    The messages for a service.

    @param service: an L{AppService}.
    @param all_functions: whether functions are tools if their routes do not decide.
    """

    def __init__(self, service: Any, all_functions: bool) -> None:
        self._service, self._all_functions = service, all_functions
        # A weak reference to the router of the tools, so that a reload can free the previous router.
        self._router: Any = bool
        self._tools: dict[str, Tool] = {}
        self._server: dict[str, Any] = {}
        self._instructions = ""
        self._running: dict[tuple[str, str, int | str], ToolCall] = {}  # by user, session and id

    def _update(self) -> None:
        """Find the tools again if the application was reloaded."""
        router = self._service.dispatcher.router
        if self._router() is not router:
            self._router = weakref.ref(router)
            self._tools, _ = find_tools(router, self._all_functions)
            info = self._service.info
            self._instructions = info.description
            self._server = {"name": info.title, "version": info.version}

    def post(self, call: Call) -> Any:
        """
        Answer a message.

        @return: a L{Reply}, a coroutine that returns one, or an asynchronous iterator of messages.
        """
        self._update()
        message = None
        try:
            message = read_message(call)
            if message.id is None:
                return self._notified(message)
            if message.is_stateless:
                check_revision(message)
            if message.method == "tools/call":
                return self._begin(message)
            return self._answer(message)
        except MessageError as error:
            return Reply(error_response(error, message), error_status(error, message))

    def _answer(self, message: Message) -> Reply:
        """Answer a request that is not a call."""
        methods: dict[str, Callable[[Message], dict[str, Any]]] = {"tools/list": self._list}
        if message.is_stateless:
            methods["server/discover"] = self._discover
        else:
            methods |= {"initialize": self._initialize, "ping": lambda _: {}}
        answer = methods.get(message.method)
        if answer is None:
            raise MessageError(METHOD_NOT_FOUND, f"there is no method {message.method!r}")
        result = self._complete(message, answer(message), cacheable=True)
        headers = {SESSION_HEADER: urandom(16).hex()} if message.method == "initialize" else {}
        return Reply(response(message, result), 200, headers)

    def _complete(self, message: Message, result: dict[str, Any], cacheable: bool = False) -> dict[str, Any]:
        """Add the members that each result of the newest revision has."""
        if not message.is_stateless:
            return result
        caching = {"ttlMs": 0, "cacheScope": "private"} if cacheable else {}  # a reload may change anything
        return {"resultType": "complete", **result, **caching, "_meta": {SERVER_KEY: self._server}}

    # ---- what the server is ----

    def _described(self) -> dict[str, Any]:
        instructions = {"instructions": self._instructions} if self._instructions else {}
        return {"capabilities": {"tools": {}}, **instructions}

    def _discover(self, _: Message) -> dict[str, Any]:
        return {"supportedVersions": [REVISION, *EARLIER], **self._described()}

    def _initialize(self, message: Message) -> dict[str, Any]:
        asked = message.params.get("protocolVersion")
        revision = asked if asked in EARLIER else EARLIER[0]
        return {"protocolVersion": revision, "serverInfo": self._server, **self._described()}

    def _list(self, message: Message) -> dict[str, Any]:
        return {"tools": [tool.shown(message.is_stateless) for tool in self._tools.values()]}

    # ---- calls ----

    def _begin(self, message: Message) -> Any:
        """Begin a call. If the client follows a generator, the response is a stream of messages."""
        tool, variables = self._tool(message), message.params.get("arguments") or {}
        if not isinstance(variables, dict):
            raise MessageError(INVALID_PARAMS, "arguments must be an object")
        entry = self._service.dispatcher.router.entries[tool.index]
        try:
            call = function_call(entry, variables, message.call)
        except JobError as error:
            result = self._complete(message, tool_error(str(error)))
            return Reply(response(message, result))
        if tool.streams and message.progress_token is not None and accepts_events(message.call):
            return self._follow(message, call)
        return self._perform(message, call)

    def _tool(self, message: Message) -> Tool:
        name = message.params.get("name")
        if not isinstance(name, str):
            raise MessageError(INVALID_PARAMS, "name must be the name of a tool")
        if name not in self._tools:
            near = closest(name, self._tools)
            advice = f"; did you mean {near!r}?" if near else ""
            raise MessageError(INVALID_PARAMS, f"there is no tool {name!r}{advice}")
        return self._tools[name]

    async def _perform(self, message: Message, call: Call) -> Reply:
        tool_call = self._start(message, call, watched=False)
        try:
            await tool_call.item()
            return Reply(self._ended(message, tool_call))
        finally:
            self._finish(message, tool_call)

    async def _follow(self, message: Message, call: Call) -> AsyncIterator[dict[str, Any]]:
        tool_call, number = self._start(message, call, watched=True), 0
        try:
            while (item := await tool_call.item()) is not None:
                number += 1
                yield progress(message.progress_token, number, item)
            yield self._ended(message, tool_call)
        finally:
            self._finish(message, tool_call)

    def _start(self, message: Message, call: Call, watched: bool) -> ToolCall:
        tool_call = ToolCall(self._service.dispatcher, call, watched)
        if (key := _key(message, message.id)) is not None:
            self._running[key] = tool_call
        return tool_call

    def _ended(self, message: Message, tool_call: ToolCall) -> dict[str, Any]:
        """Return the response to a call that has ended."""
        reply = tool_call.reply
        assert reply is not None
        if reply is CANCELLED_REPLY:
            return error_response(MessageError(CANCELLED, "the client has cancelled this call"), message)
        result = tool_result(reply, _address(message.call, tool_call.path), message.is_stateless)
        return response(message, self._complete(message, result))

    def _finish(self, message: Message, tool_call: ToolCall) -> None:
        """Forget a call. If it has not ended, the client is gone, which cancels it."""
        key = _key(message, message.id)
        if key is not None and self._running.get(key) is tool_call:
            del self._running[key]
        tool_call.cancel()

    def _notified(self, message: Message) -> Reply:
        """
        Cancel a call for a client of an earlier revision. In the newest revision, a client closes the
        response instead.
        """
        if message.method == "notifications/cancelled":
            key = _key(message, message.params.get("requestId"))
            if key is not None and key in self._running:
                self._running[key].cancel()
        return Reply(None, 202)


def _key(message: Message, name: Any) -> tuple[str, str, int | str] | None:
    """
    Return the key of a running call, so that only the client that began it can cancel it.

    @param name: the id of the request.
    """
    session = message.call.headers.get(SESSION_HEADER, "")
    if message.is_stateless or not 0 < len(session) <= LONGEST_SESSION or not isinstance(name, int | str):
        return None
    return message.call.user, session, name


def progress(token: Any, number: int, item: bytes) -> dict[str, Any]:
    """
    Return the notification about an item of a generator.

    @param item: as JSON. Its members C{done} and C{total}, or C{progress} from 0 to 1, are what the progress
        bars of the pages show; without them, the items are counted.
    """
    params: dict[str, Any] = {"progressToken": token, "progress": number, "message": item.decode()}
    found = msgspec.json.decode(item)
    if isinstance(found, dict):
        done, total, share = found.get("done"), found.get("total"), found.get("progress")
        if _is_number(done) and _is_number(total):
            params |= {"progress": done, "total": total}
        elif _is_number(share):
            params |= {"progress": share, "total": 1}
    return {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _address(call: Call, path: str) -> str:
    """Return the URL of a function's call."""
    scheme, _, prefix = call.base.rpartition(":")
    host = call.headers.get("host", "localhost")
    return f"{scheme or 'http'}://{host}{prefix}{path}"
