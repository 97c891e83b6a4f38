"""The options and bodies of TQueueSrv's requests: their fields, types and limits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from twisted_appserver import Call, HTTPError
from twisted_appserver.closest_name import closest
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.msgspec_converter import MsgspecConverter
from twisted_appserver.core.request_data import read_body, read_fields, read_query
from twisted_appserver.core.trace_context import read_trace
from twisted_appserver.queue.config import MOST
from twisted_appserver.queue.terms import NO_TERMS, Terms

LONGEST_KEY = 500  # characters; clients have the same limit
LONGEST_NAME = 200  # characters in the name of a worker
WEEK = 7 * 86400.0  # seconds
NOT_OPTIONS = ("ends", "forgiven", "traceparent", "tracestate")  # terms that the query does not have
TERMS = tuple(name for name in Terms.__struct_fields__ if name not in NOT_OPTIONS)


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The options in the query string of a request.

    @ivar timeout: seconds for which the request may wait; C{inf} for ever.
    @ivar lease: seconds for which no other worker gets the task; the option of the queue if it is missing.
    @ivar priority: the lowest comes first, in a queue of the kind C{priority}.
    @ivar order: text that sorts tasks of the same priority.
    @ivar delay: seconds until a worker may get the task.
    @ivar key: an idempotency key, any text. The keys that clients make begin with U+0001.
    @ivar delivery: which delivery of the task the request is about; 0 for any.
    @ivar by: the name of the client, such as C{host:pid}, for the records of attempts.
    @ivar detail: whether the response has more members than in the article.
    @ivar n: the number of tasks. With it, a response has a list of tasks.
    @ivar state: where the tasks are.
    @ivar immediate: whether a shutdown removes the waiting tasks.
    @ivar unique: while a task with this key waits or runs, a put with it adds nothing; empty for none.
    @ivar unique_for: seconds from the put on for which the key stays taken in any case; C{inf} for ever.
    @ivar max_deliveries: a task that comes back after this many deliveries is buried. Without this option and
        the next four, the options of the queue apply.
    @ivar retry_first: seconds until the second attempt of a task that has failed.
    @ivar retry_factor: each further pause is longer by this factor.
    @ivar retry_most: seconds of the longest pause.
    @ivar retry_jitter: the part of a pause that is random, from 0 to 1.
    @ivar ttl: seconds after which a task that still waits is removed; C{inf} for never.
    @ivar group: tasks of a group are handed out in their order, and a limited number at the same time.
    """

    timeout: float = 0.0
    lease: float | None = None
    priority: float = 0.0
    order: str = ""
    delay: float = 0.0
    key: str = ""
    delivery: int = 0
    detail: bool = False
    n: int | None = None
    state: Literal["ready", "delayed", "leased", "held", "buried"] = "ready"
    immediate: bool = False
    by: str = ""
    max_deliveries: int | None = None
    retry_first: float | None = None
    retry_factor: float | None = None
    retry_most: float | None = None
    retry_jitter: float | None = None
    ttl: float | None = None
    group: str = ""
    unique: str = ""
    unique_for: float | None = None

    def __post_init__(self) -> None:
        if not self.timeout >= 0:
            raise ValueError(f"timeout must be 0 or more, not {self.timeout}")
        if self.lease is not None and not 0 < self.lease <= WEEK:
            raise ValueError(f"lease must be more than 0 and at most {WEEK:.0f} seconds, not {self.lease}")
        if not 0 <= self.delay <= 53 * WEEK:
            raise ValueError(f"delay must be 0 to {53 * WEEK:.0f} seconds, not {self.delay}")
        if self.priority != self.priority:
            raise ValueError("priority must be a number")
        if len(self.key) > LONGEST_KEY or len(self.order) > 2 * LONGEST_KEY:
            raise ValueError(f"key and order must be at most {LONGEST_KEY} and {2 * LONGEST_KEY} characters")
        if len(self.order.encode("utf-8", "surrogatepass")) > 4 * LONGEST_KEY:
            raise ValueError(f"order must be at most {4 * LONGEST_KEY} bytes of UTF-8")
        if not (0 <= (self.n or 0) <= MOST and 0 <= self.delivery <= MOST):
            raise ValueError(f"n and delivery must be 0 to {MOST}")
        if any("\0" in text for text in (self.key, self.order, self.by, self.group, self.unique)):
            raise ValueError("key, order, by, group and unique must not contain the character NUL")
        for name in ("group", "unique"):
            if len(text := getattr(self, name)) > LONGEST_KEY:
                raise ValueError(f"{name} must be at most {LONGEST_KEY} characters, not {len(text)}")
        if self.unique_for is not None and not (self.unique and self.unique_for > 0):
            what = f"must be more than 0, not {self.unique_for}" if self.unique else "needs unique, a key"
            raise ValueError(f"unique_for {what}")
        if len(self.by) > LONGEST_NAME:
            raise ValueError(f"by must be at most {LONGEST_NAME} characters")
        if self.terms is not None and self.ttl is not None and not self.ttl > self.delay:
            least = f"delay, {self.delay:g} seconds" if self.delay else "0"
            raise ValueError(f"ttl must be more than {least}, not {self.ttl}")

    @property
    def terms(self) -> Terms | None:
        """The terms of a task that is put; C{None} for none."""
        pauses = self.retry_first, self.retry_factor, self.retry_most, self.retry_jitter
        named = self.group or self.unique
        if self.max_deliveries is self.ttl is None and not named and pauses == (None, None, None, None):
            return None  # quickly, as for nearly all tasks
        return Terms(**{name: value for name in TERMS if (value := getattr(self, name)) is not None})

    @property
    def count(self) -> int:
        """The number of tasks of a request; 10 if the request has no C{n}."""
        return 10 if self.n is None else self.n


class Leased(msgspec.Struct, frozen=True):
    """A task whose lease is to be renewed; C{delivery} is 0 for any."""

    task_id: str
    delivery: Annotated[int, msgspec.Meta(ge=0, le=MOST)] = 0


class Renewed(Leased, frozen=True):
    """A task whose lease is to be renewed, and its progress; C{None} without a report."""

    progress: Any = None


class Renewal(msgspec.Struct, frozen=True):
    """The body of a request to renew leases."""

    tasks: list[Renewed]


NOTHING = Query()
QUERY = MsgspecConverter(Query, finite=False)


def read_options(call: Call) -> Query:
    """
    Read the options in the query string.

    @raise HTTPError: 422 when there is no such option, or its value is wrong.
    """
    if not call.query:
        return NOTHING
    fields = read_query(call.query)
    try:
        return QUERY.convert(fields, False)  # type: ignore[no-any-return]
    except ConversionError as error:
        raise wrong_option(error, fields, Query, "the query string") from None


def put_terms(call: Call, query: Query) -> Terms | None:
    """Return the terms of the tasks that a request puts, with the trace of the request."""
    terms = None if query is NOTHING else query.terms
    if b"traceparent" not in dict(call.raw_headers):
        return terms
    parent, state = read_trace(call.raw_headers)
    if not parent:
        return terms
    return msgspec.structs.replace(terms or NO_TERMS, traceparent=parent, tracestate=state)


def read_unique(call: Call) -> str:
    """
    Return the unique key that a request is about.

    @raise HTTPError: 422 when there is no unique key.
    """
    unique = read_options(call).unique
    if not unique:
        raise HTTPError(422, "the query string must have the key to forget: unique=KEY")
    return unique


def wrong_option(
    error: ConversionError, given: Iterable[str], options: type[msgspec.Struct], place: str
) -> HTTPError:
    """
    Return the response to options that cannot be used, with the option that was probably meant.

    @param given: the names of the options in the request.
    @param options: the class with the known options.
    @param place: where the options are, for the message.
    """
    known = options.__struct_fields__
    near = next((closest(name, known) for name in given if name not in known), "")
    return HTTPError(422, error.message("", place) + (f"; did you mean {near}?" if near else ""))


def read_changes(call: Call) -> dict[str, Any]:
    """
    Return the options of a queue that a request sets, in its query string and its body.

    @raise HTTPError: 400 or 415 when they cannot be read.
    """
    changes = read_query(call.query) if call.query else {}
    return changes | read_fields(call.body, call.raw_headers)[0] if call.body else changes


def read_task(call: Call, worker: str) -> bytes:
    """
    Return the task in a request: the fields of its body as a JSON object. A JSON body is kept byte for byte.

    The field C{worker} may only repeat the name of the queue, and is removed.

    @raise HTTPError: 422 when C{worker} has another value; 400 or 415 when the body cannot be read.
    """
    if not call.body:
        return b"{}"
    fields, is_json = read_fields(call.body, call.raw_headers)
    if is_json:
        return call.body if "worker" not in fields else without_worker(fields, call.body, worker)
    _check_worker(fields, worker)
    return msgspec.json.encode({name: value for name, value in fields.items() if name != "worker"})


def without_worker(fields: dict[str, Any], body: bytes, worker: str) -> bytes:
    """
    Return the JSON of a task without the field C{worker}.

    @param fields: the decoded task.
    @param body: the JSON of the task.
    @raise HTTPError: 422 when C{worker} is not the name of the queue.
    """
    if "worker" not in fields:
        return body
    _check_worker(fields, worker)
    raw = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    del raw["worker"]
    return msgspec.json.encode(raw)


def _check_worker(fields: dict[str, Any], worker: str) -> None:
    if fields.get("worker", worker) != worker:
        raise HTTPError(
            422, "the field 'worker' is reserved for the name of the queue; give it another name in the task"
        )


def read_result(call: Call) -> bytes:
    """
    Return the result in a request that finishes a task: its body, any JSON value, or a form.

    @raise HTTPError: 400 or 415 when the body cannot be read, 422 when the body is a word that is neither
        JSON nor a form.
    """
    if not call.body:
        return b""
    try:
        msgspec.json.decode(call.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        fields, _ = read_fields(call.body, call.raw_headers)  # raises the error for JSON
        if not any(fields.values()) and b"=" not in call.body:
            raise HTTPError(422, 'a result is JSON, such as {"n": 1}, or a form, such as n=1') from None
        return msgspec.json.encode(fields)
    read_body(b'{"result":' + call.body + b"}", "application/json")  # its depth is limited
    return call.body


def read_renewal(call: Call) -> list[Renewed]:
    """
    Return the tasks in the body of a request to renew leases.

    @raise HTTPError: 422 when the body does not list tasks.
    """
    fields = read_fields(call.body, call.raw_headers)[0] if call.body else {}
    try:
        return msgspec.convert(fields, Renewal).tasks
    except msgspec.ValidationError as error:
        raise HTTPError(422, f"the body must be like {{'tasks': [{{'task_id': ...}}]}}: {error}") from None
