"""Reads the new fields of a task that an operator has edited."""

from __future__ import annotations

import msgspec

from twisted_appserver.errors import HTTPError
from twisted_appserver.jobs.stored_call import decode_call


class TaskEdit(msgspec.Struct, forbid_unknown_fields=True):
    """
    The body of a request to edit a task.

    @ivar fields: the new fields, for a task that is not a job; empty if they are missing.
    @ivar body: the new body of the call of a job, as text; C{None} to keep it.
    @ivar query: the new query string of that call, without C{?}; C{None} to keep it.
    """

    fields: msgspec.Raw = msgspec.Raw()
    body: str | None = None
    query: str | None = None


def edited_task(request: bytes, task: bytes, is_job: bool) -> bytes:
    """
    Return the new fields of a task.

    The path, the user and the headers of the call of a job stay, so that it remains a call of its user to its
    route.

    @param request: the body of the request.
    @param task: the present fields.
    @raise HTTPError: 422 if the request does not fit the task.
    """
    try:
        edit = msgspec.json.decode(request, type=TaskEdit)
        if is_job == bool(edit.fields):
            raise ValueError("send fields for a task, and body or query for a job")
        if edit.fields:
            msgspec.json.decode(edit.fields, type=dict[str, msgspec.Raw])
            return bytes(edit.fields)
    except ValueError as error:
        raise HTTPError(422, f"the task cannot be changed like this: {error}") from None
    call = decode_call(task)
    if edit.body is not None:
        call.body = edit.body.encode()
    if edit.query is not None:
        call.query = edit.query
    return msgspec.json.encode(call)
