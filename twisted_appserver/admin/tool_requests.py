"""
Requests of AI assistants. The code for their protocol is imported with the first request, and only if
functions are tools.
"""

from __future__ import annotations

from typing import Any

from twisted_appserver.core.call import Call
from twisted_appserver.core.router import Router
from twisted_appserver.errors import HTTPError


def has_tools(router: Router, all_functions: bool) -> bool:
    """
    Return whether a table may have tools.

    @param all_functions: whether functions are tools if their routes do not decide.
    """
    return all_functions or any(handler.tool for handler in router.handlers)


def tool_notes(router: Router, all_functions: bool) -> list[str]:
    """Return a line for each function that should be a tool and cannot be one."""
    if not has_tools(router, all_functions):
        return []
    from twisted_appserver.admin.mcp.tools import find_tools

    return find_tools(router, all_functions)[1]


class ToolRequests:
    """
    Pass requests on to L{admin.mcp.endpoint.McpEndpoint}.

    @param service: an L{AppService}.
    @param all_functions: whether functions are tools if their routes do not decide.
    """

    def __init__(self, service: Any, all_functions: bool) -> None:
        self._service, self._all_functions = service, all_functions
        self._endpoint: Any = None

    def post(self, call: Call) -> Any:
        """
        Answer a message of the Model Context Protocol.

        @raise HTTPError: 404 if no function is a tool.
        """
        if not has_tools(self._service.dispatcher.router, self._all_functions):
            raise HTTPError(404, "no function is a tool; start with --mcp, or write Route(..., tool=True)")
        if self._endpoint is None:
            from twisted_appserver.admin.mcp.endpoint import McpEndpoint

            self._endpoint = McpEndpoint(self._service, self._all_functions)
        return self._endpoint.post(call)
