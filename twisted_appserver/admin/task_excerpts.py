"""The beginnings of tasks, for lists that are loaded often."""

from __future__ import annotations

import msgspec

LENGTH = 200  # characters


class _CallLine(msgspec.Struct):
    """The part of a stored call that names what is called."""

    method: str
    path: str
    query: str


def excerpt_of(body: bytes, is_job: bool) -> str:
    """
    Return the beginning of the fields of a task; the method and the address of the call of a job.

    @param body: the fields, as JSON.
    """
    if is_job:
        try:
            line = msgspec.json.decode(body, type=_CallLine)
        except ValueError:
            return ""
        text = f"{line.method} {line.path}{'?' if line.query else ''}{line.query}"
    else:
        text = body[: 4 * LENGTH].decode("utf-8", "replace")
    return text if len(text) <= LENGTH else text[: LENGTH - 1] + "…"
