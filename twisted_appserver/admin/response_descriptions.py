"""Describes what a function returns, as OpenAPI's responses, from its return annotation."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterator
from contextlib import suppress
from typing import Annotated, Any, get_args, get_origin

from twisted_appserver.admin.schemas import BINARY, Schemas
from twisted_appserver.core.call import Reply
from twisted_appserver.core.conversions.annotations import UNIONS, unwrap
from twisted_appserver.core.events import CONTENT_TYPE as EVENTS
from twisted_appserver.core.events import Event
from twisted_appserver.core.handler import Handler
from twisted_appserver.core.perform import JSON_LINES

JSON = "application/json"
BYTES = "application/octet-stream"
STREAMS = (Iterator, Generator, AsyncIterator, AsyncGenerator, AsyncIterable)
TEXT = {"type": "string"}


def describe_responses(handler: Handler, schemas: Schemas, result: str = "") -> dict[str, Any]:
    """
    Describe the responses of a function, including those that the server makes in its place.

    @param result: the description of the result in the docstring.
    """
    annotation = _result_type(handler)
    problem = {"content": {"application/problem+json": {"schema": schemas.problem}}}
    responses: dict[str, Any] = {}
    if is_stream(handler):
        responses["200"] = {"description": result or "The items.", "content": _items(annotation, schemas)}
        responses["204"] = {"description": "The client has read all events (Last-Event-ID)."}
    else:
        members = get_args(annotation) if get_origin(annotation) in UNIONS else (annotation,)
        replies = [each for each in members if _is_reply(each)]
        status = "2XX" if replies else "200"  # a Reply has any status
        responses[status] = {
            "description": result or "The result.",
            "content": _content(annotation, members, schemas),
        }
    if handler.arguments.parameters:
        responses["422"] = {"description": "A variable is missing or invalid.", **problem}
    responses["4XX"] = {"description": "The request was refused.", **problem}
    responses["5XX"] = {"description": "The function or the server failed.", **problem}
    return responses


def _result_type(handler: Handler) -> Any:
    """Return the annotation of the result, also if the result of a Deferred or a coroutine is annotated."""
    annotation = handler.signature.return_annotation
    if getattr(get_origin(annotation), "__name__", "") in ("Deferred", "Coroutine", "Awaitable"):
        return get_args(annotation)[-1]
    return annotation


def _is_reply(annotation: Any) -> bool:
    if get_origin(annotation) is Annotated:
        annotation = annotation.__origin__
    return annotation is Reply or annotation == "Reply"


def is_stream(handler: Handler) -> bool:
    """Return whether a function is a generator, or its annotation promises one."""
    annotation = _result_type(handler)
    *_, function = unwrap(handler.original)
    if not inspect.isroutine(function):
        function = type(function).__call__
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        return True
    return (get_origin(annotation) or annotation) in STREAMS


def _items(annotation: Any, schemas: Schemas) -> dict[str, Any]:
    """Describe what a generator yields, from an annotation such as C{Iterator[dict]}."""
    item = (get_args(annotation) or (Any,))[0]
    schema = {} if item is Event else _schema(item, schemas)
    return {JSON_LINES: {"schema": schema}, EVENTS: {"schema": TEXT}}


def _content(annotation: Any, members: tuple[Any, ...], schemas: Schemas) -> dict[str, Any]:
    """
    Describe the body of a result.

    @param members: the members of the annotation if it is a union.
    """
    if not any(map(_is_reply, members)):
        return {JSON: {"schema": _schema(annotation, schemas)}}
    content: dict[str, Any] = {}
    for each in members:
        if not _is_reply(each):
            content[JSON] = {"schema": _schema(each, schemas)}
        elif get_origin(each) is Annotated:
            for body in each.__metadata__:
                content |= _reply_content(body, schemas)
        else:  # code generators ignore */*, and use BYTES
            content |= {BYTES: {"schema": BINARY}, "*/*": {}}
    return content


def _reply_content(body: Any, schemas: Schemas) -> dict[str, Any]:
    """
    Describe the body of a Reply.

    @param body: a media type, C{Path} for a file of any type, or the type of an object that becomes JSON.
    """
    if isinstance(body, type) and issubclass(body, os.PathLike):
        return {BYTES: {"schema": BINARY}}
    if not isinstance(body, str):
        return {JSON: {"schema": _schema(body, schemas)}}
    media_type = body.partition(";")[0].strip().lower()
    if media_type == JSON or media_type.endswith("+json"):
        return {media_type: {"schema": {}}}
    return {media_type: {"schema": TEXT if media_type.startswith("text/") else BINARY}}


def _schema(annotation: Any, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a type. If JSON Schema cannot describe the type, the schema allows everything."""
    if annotation in (inspect.Signature.empty, Any, None):
        return {}
    with suppress(TypeError, ValueError, NameError):
        return schemas.of_type(annotation)
    return {}
