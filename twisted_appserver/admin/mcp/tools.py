"""
The functions of a table that are tools.

A tool has the name, the docstring and the schemas that the OpenAPI document has. Hints for the assistant,
such as whether a tool only reads, come from the methods of its route.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from twisted_appserver.admin.docstrings import Docstring, read_docstring
from twisted_appserver.admin.function_names import own_name
from twisted_appserver.admin.mcp.tool_schemas import arguments_schema, result_schema
from twisted_appserver.admin.operation_ids import operation_id
from twisted_appserver.admin.response_descriptions import is_stream
from twisted_appserver.admin.schemas import Schemas
from twisted_appserver.core.conversions.annotations import unwrap
from twisted_appserver.core.mounted_resource import EXECUTOR
from twisted_appserver.core.path_templates import UndescribableError, path_templates
from twisted_appserver.core.router import Router

SAFE = {"GET", "HEAD", "QUERY"}  # RFC 9110, section 9.2.1, and RFC 10008
OVERWRITING = {"PUT", "PATCH", "DELETE"}
IDEMPOTENT = {"PUT", "DELETE"}  # RFC 9110, section 9.2.2
LONGEST_NAME = 64  # characters; hosts of assistants accept no longer names
NOT_IN_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Tool:
    """
    A function that is a tool. It does not refer to the table, which a reload replaces.

    @ivar index: the position of its entry in the table.
    @ivar streams: whether the annotation or the function shows that it is a generator.
    @ivar definition: its description for clients.
    """

    name: str
    index: int
    streams: bool
    definition: dict[str, Any]

    def shown(self, stateless: bool) -> dict[str, Any]:
        """
        Return the description for clients.

        @param stateless: false for clients of earlier revisions, which accept only objects as results.
        """
        output = self.definition.get("outputSchema")
        if stateless or output is None or output.get("type") == "object":
            return self.definition
        return {key: value for key, value in self.definition.items() if key != "outputSchema"}


def is_tool(handler: Any, all_functions: bool) -> bool:
    """
    Return whether a function should be a tool.

    @param all_functions: whether functions are tools if their routes do not decide.
    """
    return bool(all_functions if handler.tool is None else handler.tool)


def find_tools(router: Router, all_functions: bool) -> tuple[dict[str, Tool], list[str]]:
    """
    Return the tools of a table by their names, and a line for each function that cannot be a tool.

    @param all_functions: as for L{is_tool}.
    """
    found: dict[str, Tool] = {}
    reasons = []
    chosen = [entry for entry in router.entries if is_tool(entry.handler, all_functions)]
    counts = Counter(_plain_name(entry) for entry in chosen)
    for entry in chosen:
        try:
            tool = _make_tool(entry, counts, found)
        except UndescribableError as error:
            if entry.handler.executor != EXECUTOR or entry.handler.tool:
                reasons.append(f"{entry.place}: {entry.handler.name} cannot be a tool: {error}")
        else:
            found[tool.name] = tool
    return found, reasons


def _make_tool(entry: Any, counts: Counter[str], taken: dict[str, Tool]) -> Tool:
    handler = entry.handler
    if handler.executor == EXECUTOR:
        raise UndescribableError("it is a Twisted resource, not a function")
    templates = path_templates(entry.regex)
    *_, function = unwrap(handler.original)
    documented, schemas = read_docstring(function), Schemas()
    name = next(each for each in _names(entry, templates[0][0], counts) if each not in taken)
    definition: dict[str, Any] = {"name": name, "description": _text(documented, handler.name)}
    definition["inputSchema"] = arguments_schema(handler, templates, schemas, documented)
    if (output := result_schema(handler, schemas, documented)) is not None:
        definition["outputSchema"] = output
    definition["annotations"] = hints(entry.methods, handler.idempotent)
    return Tool(name, handler.index, is_stream(handler), definition)


def _plain_name(entry: Any) -> str:
    """Return the name of a function with the characters that the name of a tool may have."""
    return NOT_IN_NAME.sub("_", own_name(entry.handler.name)).strip("_")[:LONGEST_NAME] or "function"


def _names(entry: Any, path: str, counts: Counter[str]) -> Iterator[str]:
    """
    Yield names for a tool, the best one first.

    A function keeps its own name if no other tool has that name. Otherwise its name contains its path.
    """
    name = _plain_name(entry)
    if counts[name] == 1:
        yield name
    long, _, _ = operation_id(own_name(entry.handler.name), path, "GET").rpartition("_")
    long = NOT_IN_NAME.sub("_", long)[: LONGEST_NAME - 4]
    yield long
    for number in range(2, 1000):
        yield f"{long}_{number}"


def _text(documented: Docstring, name: str) -> str:
    """Return what a function does, for the assistant that chooses among the tools."""
    returns = f"Returns: {documented.result}" if documented.result else ""
    return "\n\n".join(filter(None, (documented.summary or name, documented.text, returns)))


def hints(methods: frozenset[str], idempotent: bool) -> dict[str, bool]:
    """
    Return what the methods of a route promise about its effects.

    A missing hint stands for the worst case: the tool may overwrite something.

    @param idempotent: whether the route promises that a call may be repeated.
    """
    if methods <= SAFE:
        return {"readOnlyHint": True}
    found = {"readOnlyHint": False}
    if methods & OVERWRITING:
        found["destructiveHint"] = True
    if idempotent or methods <= SAFE | IDEMPOTENT:
        found["idempotentHint"] = True
    return found
