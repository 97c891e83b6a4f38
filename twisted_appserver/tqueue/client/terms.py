"""What applies to one task instead of the options of its queue. Needs the standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, Protocol, TypedDict

from .request_keys import checked_key
from .trace import current_trace

PAUSES = ("first", "factor", "most", "jitter")  # attributes of a rule that describe the pauses


class RetryRule(Protocol):
    """C{twisted_appserver.Retry}, or any other object with its attributes."""

    @property
    def attempts(self) -> int: ...
    @property
    def first(self) -> float: ...
    @property
    def factor(self) -> float: ...
    @property
    def most(self) -> float: ...
    @property
    def jitter(self) -> float: ...


class PutTerms(TypedDict, total=False):
    """
    Keyword arguments of the methods that put tasks.

    @ivar delay: seconds from now until a worker may get the task.
    @ivar max_deliveries: the task is buried after so many deliveries; 0 for never.
    @ivar retry: how often it is tried, and the pauses after failures: a C{twisted_appserver.Retry}, whose
        C{attempts} are the deliveries.
    @ivar ttl: seconds for which the task may wait. After that, it is removed; in a queue that keeps results,
        it ends with the state C{expired}.
    @ivar group: the name of the group of the task. The tasks of a group are handed out in order of arrival,
        and only as many at the same time as the option C{at_once} of the queue allows.
    @ivar traceparent: the trace that the task belongs to (W3C Trace Context). The default in a function that
        a worker calls is the trace of its task. The server ignores an invalid one. The same applies to
        C{tracestate}.
    """

    delay: float | None
    max_deliveries: int | None
    retry: RetryRule | None
    ttl: float | None
    group: str | None
    traceparent: str | None
    tracestate: str | None


class PutOptions(PutTerms, total=False):
    """
    Keyword arguments of the methods that put one task.

    @ivar unique: any text of 1 to 500 characters. While a task of the queue with this key waits or runs,
        nothing is added, and the result has the id of that task.
    @ivar unique_for: seconds from now on for which the key stays taken, also after the end of the task;
        C{math.inf} for ever.
    """

    unique: str | None
    unique_for: float | None


class TaskId(str):
    """
    The id of a task.

    @ivar existing: whether the task existed already, because its unique key was taken.
    """

    existing: bool

    def __new__(cls, task_id: str, existing: bool = False) -> TaskId:
        """Make an id, which is text."""
        made = super().__new__(cls, task_id)
        made.existing = existing
        return made


def put_options(options: PutOptions, verb: str, own: Sequence[str]) -> dict[str, Any]:
    """
    Return the options of a request that puts one task.

    @param verb: the name of the method that was called with these options.
    @param own: the names of its other keyword arguments.
    @raise TypeError: when there is no such option, or C{retry} is not a rule.
    @raise ValueError: when they cannot be used.
    """
    _check_names(options, verb, (*own, *PutOptions.__annotations__))
    unique, seconds = options.get("unique"), options.get("unique_for")
    return {**_options(options), **unique_options(unique, seconds)}


def _check_names(given: Iterable[str], verb: str, known: Sequence[str]) -> None:
    """
    Check the names of keyword arguments.

    @raise TypeError: when one is not known. The message names the most similar one, or else all of them.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            raise TypeError(f"{verb}() got an unexpected keyword argument {name!r}; {advice}")


def unique_options(unique: str | None, seconds: float | None) -> dict[str, Any]:
    """
    Return the options for a unique key.

    @raise ValueError: when they cannot be used.
    """
    if unique is None:
        if seconds is not None:
            raise ValueError("unique_for needs unique: the key that stays taken for this many seconds")
        return {}
    return {"unique": checked_key(unique), **({} if seconds is None else {"unique_for": seconds})}


def unique_keys(
    unique: Iterable[str | None] | None, seconds: float | None, count: int
) -> list[dict[str, Any]] | None:
    """
    Return the options for the unique keys of a batch, one dict for each of its tasks; C{None} for none.

    @raise ValueError: when there are not as many keys as tasks, or one cannot be used.
    """
    if unique is None:
        unique_options(None, seconds)
        return None
    keys = list(unique)
    if isinstance(unique, str) or len(keys) != count:
        raise ValueError("unique must be a list with one key, or None, for each of the tasks")
    return [{} if key is None else unique_options(key, seconds) for key in keys]


def terms_options(terms: PutTerms, verb: str, own: Sequence[str]) -> dict[str, Any]:
    """
    Return the options of a request that puts tasks. The parameters and errors are those of L{put_options}.
    """
    _check_names(terms, verb, (*own, *PutTerms.__annotations__))
    return _options(terms)


def _options(terms: PutTerms) -> dict[str, Any]:
    """
    Return the options of a request for the terms of its tasks.

    @raise TypeError: when C{retry} is not a rule.
    @raise ValueError: when C{max_deliveries} and C{retry} are given together.
    """
    retry, most = terms.get("retry"), terms.get("max_deliveries")
    options: dict[str, Any] = {name: terms.get(name) for name in ("delay", "max_deliveries", "ttl", "group")}
    if retry is not None:
        if isinstance(retry, type) or not all(hasattr(retry, name) for name in ("attempts", *PAUSES)):
            raise TypeError(f"retry must be a Retry, such as Retry(attempts=3), not {retry!r}")
        if most is not None:
            raise ValueError("give max_deliveries or retry, not both: retry.attempts is the same number")
        options["max_deliveries"] = retry.attempts
        options |= {f"retry_{name}": getattr(retry, name) for name in PAUSES}
    if (parent := terms.get("traceparent")) is None:
        return options | current_trace()
    return options | {"traceparent": parent, "tracestate": terms.get("tracestate")}
