"""
Descriptions of functions that read their query strings and bodies from their L{Call} themselves.

The signature of such a function does not show its options, so a description names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from twisted_appserver.core.conversions.annotations import unwrap


@dataclass(frozen=True)
class CallDescription:
    """
    @ivar query: a class whose members describe options.
    @ivar names: the members that the function reads from the query string.
    @ivar body: the type of the JSON body; C{None} if the function reads no body.
    """

    query: Any
    names: tuple[str, ...] = ()
    body: Any = None


def describe(function: Any, description: CallDescription) -> None:
    """Give a function a description."""
    function.call_description = description


def described_call(function: Any) -> CallDescription | None:
    """Return the description of a function, if it has one."""
    *_, innermost = unwrap(function)
    found: CallDescription | None = getattr(innermost, "call_description", None)
    return found
