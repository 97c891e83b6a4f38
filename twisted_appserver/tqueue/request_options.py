"""The options and bodies of TQueueSrv's requests: their fields, types and limits."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from twisted_appserver import Call, HTTPError
from twisted_appserver.core.conversions.conversion_error import ConversionError
from twisted_appserver.core.conversions.msgspec_converter import MsgspecConverter
from twisted_appserver.core.request_data import read_body, read_fields, read_query
from twisted_appserver.queue.model import MOST

LONGEST_KEY = 500  # characters; clients have the same limit
LONGEST_NAME = 200  # characters of whoever gets tasks
WEEK = 7 * 86400.0  # seconds


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    The options in the query string of a request.

    @ivar timeout: seconds for which the request may wait; C{inf} for ever.
    @ivar lease: seconds; the option of the queue if C{None}.
    @ivar priority: the lowest comes first, in a queue of the kind C{priority}.
    @ivar order: text that sorts tasks of the same priority.
    @ivar delay: seconds until a worker may get the task.
    @ivar key: an idempotency key, any text. The keys that clients make begin with U+0001.
    @ivar delivery: the delivery of the task that is meant; 0 for any.
    @ivar by: who gets a task, such as C{host:pid}, for the records of attempts.
    @ivar detail: whether the response has more members than in the article.
    @ivar n: the number of tasks.
    @ivar state: where the tasks are.
    @ivar immediate: whether a shutdown removes the waiting tasks.
    """

    timeout: float = 0.0
    lease: float | None = None
    priority: float = 0.0
    order: str = ""
    delay: float = 0.0
    key: str = ""
    delivery: int = 0
    detail: bool = False
    n: int = 10
    state: Literal["ready", "delayed", "leased", "buried"] = "ready"
    immediate: bool = False
    by: str = ""

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
        if not (0 <= self.n <= MOST and 0 <= self.delivery <= MOST):
            raise ValueError(f"n and delivery must be 0 to {MOST}")
        if "\0" in self.key or "\0" in self.order or "\0" in self.by:
            raise ValueError("key, order and by must not contain the character NUL")
        if len(self.by) > LONGEST_NAME:
            raise ValueError(f"by must be at most {LONGEST_NAME} characters")


class Leased(msgspec.Struct, frozen=True):
    """A task whose lease is to be renewed; C{delivery} is 0 for any."""

    task_id: str
    delivery: Annotated[int, msgspec.Meta(ge=0, le=MOST)] = 0


class Renewal(msgspec.Struct, frozen=True):
    """The body of a request to renew leases."""

    tasks: list[Leased]


NOTHING = Query()
QUERY = MsgspecConverter(Query, finite=False)


def read_options(call: Call) -> Query:
    """
    Read the options in the query string.

    @raise HTTPError: 422 when there is no such option, or its value is wrong.
    """
    if not call.query:
        return NOTHING
    try:
        return QUERY.convert(read_query(call.query), False)  # type: ignore[no-any-return]
    except ConversionError as error:
        raise HTTPError(422, error.message("", "the query string")) from None


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

    @raise HTTPError: 400 or 415 when the body cannot be read.
    """
    if not call.body:
        return b""
    try:
        msgspec.json.decode(call.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        fields, _ = read_fields(call.body, call.raw_headers)  # raises the error for JSON
        return msgspec.json.encode(fields)
    read_body(b'{"result":' + call.body + b"}", "application/json")  # its depth is limited
    return call.body


def read_renewal(call: Call) -> list[Leased]:
    """
    Return the tasks in the body of a request to renew leases.

    @raise HTTPError: 422 when the body does not list tasks.
    """
    fields = read_fields(call.body, call.raw_headers)[0] if call.body else {}
    try:
        return msgspec.convert(fields, Renewal).tasks
    except msgspec.ValidationError as error:
        raise HTTPError(422, f"the body must be like {{'tasks': [{{'task_id': ...}}]}}: {error}") from None
