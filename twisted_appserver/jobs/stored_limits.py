"""The limits of routes as options of their queues, and as terms of their tasks."""

from __future__ import annotations

from typing import Any

from twisted_appserver.core.call import Call
from twisted_appserver.queue.terms import Terms


def limit_options(handler: Any) -> dict[str, Any]:
    """
    Return the options of a queue.

    @param handler: the handler of its route; C{None} for no limits.
    """
    limits = None if handler is None else handler.limits
    return {"at_once": (limits and limits.at_once) or 1, "rate": (limits and limits.rate) or ""}


def terms_of(call: Call) -> Terms | None:
    """Return the terms of the task of a call; C{None} if it has no group."""
    limits = call.handler.limits
    group = "" if limits is None else limits.group_of(call)
    return Terms(group=group) if group else None
