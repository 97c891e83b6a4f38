"""Limits for the jobs of a route: how many run at the same time, and how often they begin. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from twisted_appserver.closest_name import closest
from twisted_appserver.core.call import Call
from twisted_appserver.core.rate import seconds_between
from twisted_appserver.core.routes import Route
from twisted_appserver.errors import HTTPError

MOST_AT_ONCE = 10_000
LONGEST_GROUP = 200  # characters; a longer value is replaced by its digest
WHOLE_ROUTE = "all jobs"  # the group of every job if there is no key


@dataclass(frozen=True)
class RouteLimits:
    """
    The limits of one route.

    @ivar key: the variable whose value is the group of a job; empty for none.
    @ivar at_once: how many jobs of a group run at the same time; 0 for any number.
    @ivar rate: how many jobs begin in a second, minute, hour or day, see L{core.rate}; empty for any number.
    """

    key: str
    at_once: int
    rate: str

    def group_of(self, call: Call) -> str:
        """Return the group of a call; empty if it has none, or cannot be performed."""
        if not self.key:
            return WHOLE_ROUTE if self.at_once else ""
        try:
            value = self._value_of(call)
        except HTTPError:  # The call will fail with this error.
            return ""
        plain = msgspec.to_builtins(value, enc_hook=str)
        text = plain if isinstance(plain, str) else msgspec.json.encode(plain).decode()
        return (
            text if 0 < len(text) <= LONGEST_GROUP and "\0" not in text else sha256(text.encode()).hexdigest()
        )

    def _value_of(self, call: Call) -> Any:
        """Return the value of the key, or its text if no parameter receives it."""
        arguments, groups = call.handler.arguments, call.groups or {}
        values = arguments.values(call, groups)
        if self.key in values:
            return values[self.key]
        if arguments.dict_name:
            return values.get(arguments.dict_name, {}).get(self.key)
        if arguments.body_object is not None:
            whole = values.get(arguments.body_object.name)
            return whole.get(self.key) if isinstance(whole, dict) else getattr(whole, self.key, None)
        return groups.get(self.key)


def limits_of(route: Route) -> RouteLimits | None:
    """Return the limits of a route; C{None} if it has none."""
    if (route.key, route.at_once, route.rate) == (None, None, None):
        return None
    return RouteLimits(route.key or "", route.at_once or (1 if route.key else 0), route.rate or "")


def limit_errors(route: Route) -> Iterator[str]:
    """Yield why C{key}, C{at_once} and C{rate} of a route cannot be used."""
    key, at_once, rate = route.key, route.at_once, route.rate
    if not (key is None or (isinstance(key, str) and key.isidentifier())):
        yield f"key must be the name of a variable such as 'customer', not {key!r}"
    is_number = isinstance(at_once, int) and not isinstance(at_once, bool)
    if at_once is not None and not (is_number and 1 <= at_once <= MOST_AT_ONCE):
        yield f"at_once must be 1 to {MOST_AT_ONCE}, not {at_once!r}"
    if not (rate is None or (isinstance(rate, str) and rate)):
        yield f"rate must be text such as '10/s', not {rate!r}"
    elif rate is not None:
        try:
            seconds_between(rate)
        except ValueError as error:
            yield str(error)


def check_key(limits: RouteLimits, handler: Any, groups: set[str]) -> None:
    """
    Check that calls of a function can have the variable C{key}.

    @raise ValueError: when they cannot have it.
    """
    arguments, key = handler.arguments, limits.key
    if not key or arguments.dict_name or arguments.var_keyword:
        return
    body = arguments.body_object
    names = {each.name for each in arguments.parameters}.union(groups, (body and body.fields) or ())
    if key not in names:
        near = closest(key, names)
        hint = (
            f"did you mean {near!r}?" if near else f"its variables are {', '.join(sorted(names)) or 'none'}"
        )
        raise ValueError(f"key: {handler.name} takes no variable {key!r}; {hint}")
