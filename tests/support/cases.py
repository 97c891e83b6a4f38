"""
Functions, and a table of calls to which every executor must give the same reply.

This module is also an application: worker processes import its C{url_patterns} by name.
"""

from __future__ import annotations

import ctypes
import decimal
import os
import signal
import subprocess
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from twisted_appserver import Call, HTTPError, Reply, Route, Upload

BIG = 10_000_000
FILE = Path(__file__).with_name("schemathesis.toml")  # any file that is sent


def echo(**variables: Any) -> dict[str, Any]:
    return variables


def by_name(a, b):  # type: ignore[no-untyped-def]
    return {"a": a, "b": b}


def single(variables: dict[str, Any]) -> dict[str, Any]:
    return variables


def dated(year: int, month: int, price: Decimal = Decimal(0)) -> dict[str, Any]:
    return {"year": year, "month": month, "price": str(price)}


class Order(msgspec.Struct):
    name: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


def order(order: Order) -> dict[str, Any]:
    return {"name": order.name, "count": order.count}


def upload(title: str, image: Upload, more: list[Upload] = []) -> dict[str, Any]:  # noqa: B006
    sizes = [len(each.data) for each in more]
    return {"title": title, "name": image.filename, "type": image.content_type, "hex": image.data.hex(),
            "more": sizes}  # fmt: skip


def with_call(call: Call, a: int = 0) -> dict[str, Any]:
    return {"method": call.method, "path": call.path, "body": call.body.decode(), "a": a}


def raises() -> dict[str, Any]:
    raise ValueError("said by the function")


def raises_surrogate() -> dict[str, Any]:
    raise ValueError("\ud800")


def raises_http() -> dict[str, Any]:
    raise HTTPError(418, "short and stout", [("x-pot", "tea")])


def raises_extra() -> dict[str, Any]:
    raise HTTPError(409, "sold out", extra={"retry_in": 5, "sku": ["a1", Decimal("1.5")], "headers": None})


def raises_reserved() -> dict[str, Any]:
    raise HTTPError(409, "sold out", extra={"status": 5})


def raises_bad_extra() -> dict[str, Any]:
    raise HTTPError(409, "sold out", extra={"retry_in": float("nan")})


class NotFound(HTTPError):
    def __init__(self, what: str) -> None:  # a common mistake: it does not call HTTPError.__init__
        self.what = what


class Unreadable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raises_unfinished_http() -> dict[str, Any]:
    raise NotFound("x")


def raises_unreadable_http() -> dict[str, Any]:
    raise HTTPError(404, Unreadable())  # type: ignore[arg-type]


def raises_bad_http() -> dict[str, Any]:
    raise HTTPError(400, "\ud800")


def exits() -> dict[str, Any]:
    sys.exit("bye")


def interrupts() -> dict[str, Any]:
    raise KeyboardInterrupt


def returns(what: str) -> Any:
    return {
        "set": {1, 2},
        "list": [1],
        "empty": [],
        "reply_list": Reply([1], 201),
        "string": "text",
        "number": 5,
        "none": None,
        "nan": {"a": [float("nan")]},
        "infinity": {"a": float("inf")},
        "object": object(),
        "surrogate": {"a": "\ud800"},
        "big": {"text": "x" * BIG},
        "reply": Reply({"made": True}, 201, {"X-Made": "yes"}),
        "text": Reply("plain ä", 202),
        "bytes": Reply(bytes(range(256))),
        "nothing": Reply(b"", 204),
        "file": Reply(FILE),
        "named_file": Reply(FILE, headers={"Content-Type": "text/x-own", "ETag": '"own"'}),
        "missing_file": Reply(FILE.with_name("missing")),
        "folder": Reply(FILE.parent),
        "nul": Reply(FILE.with_name("\0")),
        "long_name": Reply(FILE.with_name("x" * 5000)),
        "bad_reply": Reply({}, 200, {"x": "a\r\nb: c"}),
        "bad_status": Reply({}, 99),
        "headers": Reply({}, headers=HEADERS),
        "sniffed": Reply({}, headers={"X-Content-Type-Options": "none"}),
        "name": {"a": Name("x"), Name("b"): {1: Number(2)}},
        "decimal_nan": {"a": [decimal.Decimal("NaN")]},
        "equal_keys": {"a": {1: 2, "1": 3}},
        "tuple": ({"a": 1}, 404),
        "none_header": Reply({}, headers={"X-None": None}),
        "bool_header": Reply({}, headers=[("X-Bool", [True])]),
        "float_header": Reply({}, headers={"X-Float": 1.5}),
        "no_pairs": Reply({}, headers=["ab", "cd"]),
    }[what]


class Name(str):
    pass


class Number(int):
    pass


HEADERS = {
    "Set-Cookie": ["a=1", b"b=2"],
    b"X-Bytes": b"\xe4",
    "Retry-After": 5,
    "X-Many": (1, "2"),
    "X-No": [],
}
SENT = {"set-cookie": "a=1, b=2", "x-bytes": "ä", "retry-after": "5", "x-many": "1, 2", "x-no": None}


def raises_headers() -> dict[str, Any]:
    raise HTTPError(429, "too many", HEADERS)


def raises_none_header() -> dict[str, Any]:
    raise HTTPError(429, "too many", {"X-None": None})


def prints(text: str = "no newline") -> dict[str, Any]:
    print(text, end="")
    print("to stderr", end="", file=sys.stderr)
    return {"printed": text}


def writes() -> dict[str, Any]:
    """Write to descriptor 1, and let a child process write to it."""
    os.write(1, b"\x00\x00\x00\x02to descriptor 1\n")
    child = subprocess.run([sys.executable, "-S", "-c", "print('of a child')"], check=True)
    return {"status": child.returncode}


def reads() -> dict[str, Any]:
    return {"read": sys.stdin.read()}


async def coroutine(a: str = "x") -> dict[str, Any]:
    return {"a": await succeed(a)}


@inlineCallbacks
def generator(a: str = "x"):  # type: ignore[no-untyped-def]
    a = yield succeed(a)
    return {"a": a}


def deferred() -> Deferred[dict[str, Any]]:
    return succeed({"a": "x"})


async def coroutine_raises() -> dict[str, Any]:
    await succeed(None)
    raise ValueError("said by the coroutine")


async def coroutine_cancelled() -> dict[str, Any]:
    """Await a Deferred that the function itself cancels. The call was not cancelled."""
    waiting: Deferred[None] = Deferred()
    waiting.cancel()
    await waiting
    return {}


def pid() -> dict[str, Any]:
    return {"pid": os.getpid()}


def meets(place: str, count: int) -> dict[str, Any]:
    """
    Return when C{count} calls of this function run at the same time.

    @param place: a folder where each call creates a file.
    """
    with open(os.path.join(place, f"{os.getpid()}-{time.monotonic_ns()}"), "x"):
        pass
    for _ in range(1500):
        if len(os.listdir(place)) >= count:
            return {"pid": os.getpid()}
        time.sleep(0.01)
    raise TimeoutError(f"{os.listdir(place)}")


def holds(path: str) -> dict[str, Any]:
    """Write the process id to the file C{path}, and run until the file is removed."""
    with open(path + ".new", "w") as made:
        made.write(str(os.getpid()))
    os.rename(path + ".new", path)
    for _ in range(3000):
        if not os.path.exists(path):
            return {"pid": os.getpid()}
        time.sleep(0.01)
    raise TimeoutError(path)


def segfaults() -> dict[str, Any]:
    ctypes.string_at(0)
    return {}


def leaves_thread() -> dict[str, Any]:
    """Start a thread that never ends, although Python waits for it at the end of the process."""
    threading.Thread(target=threading.Event().wait).start()
    return {"pid": os.getpid()}


def forks(path: str) -> None:
    """
    Leave a child process behind that keeps all descriptors, and die. C forks the child, without Python's
    hooks.

    @param path: a file to which the id of the child is written.
    """
    child = ctypes.PyDLL(None).fork()
    if not child:
        time.sleep(100)
        os._exit(0)
    with open(path + ".new", "w") as made:
        made.write(str(child))
    os.rename(path + ".new", path)
    os._exit(3)


def parts(how: str) -> dict[str, Any]:
    """Fork a child that ends like any function. Its parent returns the exit status of the child."""
    if child := os.fork():
        return {"status": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
    print("said by the child")
    return {"returns": dict, "raises": raises, "exits": exits, "status": lambda: sys.exit(7)}[how]()


def dies(how: str) -> dict[str, Any]:
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), getattr(signal, how))
    return {"survived": how}


def closes_stdout() -> dict[str, Any]:
    sys.stdout.close()
    return {"closed": True}


url_patterns = (
    (r"/echo/", echo),
    (r"/echo/(?P<a>)/", echo),
    Route(r"/query/", echo, name="query", methods=["QUERY"]),
    (r"/by_name/", by_name),
    (r"/by_name/(?P<a>)/", by_name),
    (r"/single/", single),
    (r"/dated/(?P<year>\d{4})/(?P<month>\d\d)/", dated),
    (r"/order/", order),
    (r"/upload/", upload),
    (r"/call/", with_call),
    (r"/raises/", raises),
    (r"/raises_surrogate/", raises_surrogate),
    (r"/raises_http/", raises_http),
    (r"/raises_extra/", raises_extra),
    (r"/raises_reserved/", raises_reserved),
    (r"/raises_bad_extra/", raises_bad_extra),
    (r"/raises_bad_http/", raises_bad_http),
    (r"/raises_unfinished_http/", raises_unfinished_http),
    (r"/raises_unreadable_http/", raises_unreadable_http),
    (r"/raises_headers/", raises_headers),
    (r"/raises_none_header/", raises_none_header),
    (r"/exits/", exits),
    (r"/interrupts/", interrupts),
    (r"/returns/(?P<what>)/", returns),
    (r"/prints/", prints),
    (r"/writes/", writes),
    (r"/reads/", reads),
    (r"/coroutine/", coroutine),
    (r"/generator/", generator),
    (r"/deferred/", deferred),
    (r"/coroutine_raises/", coroutine_raises),
    (r"/coroutine_cancelled/", coroutine_cancelled),
    (r"/pid/", pid),
    (r"/meets/", meets),
    (r"/holds/", holds),
    Route(r"/hurried/", holds, timeout=0.5),
    (r"/segfaults/", segfaults),
    (r"/leaves_thread/", leaves_thread),
    (r"/forks/", forks),
    (r"/parts/(?P<how>)/", parts),
    (r"/dies/(?P<how>)/", dies),
    (r"/closes_stdout/", closes_stdout),
)

FORM = ((b"content-type", b"application/x-www-form-urlencoded"),)
JSON = ((b"content-type", b"application/json"),)
MULTIPART = ((b"content-type", b"multipart/form-data; boundary=XX"),)
TITLE = b'--XX\r\nContent-Disposition: form-data; name="title"\r\n\r\nA\r\n'
IMAGE = (
    b'--XX\r\nContent-Disposition: form-data; name="image"; filename="/tmp/a.png"\r\n'
    b"Content-Type: image/png\r\n\r\n\x89\r\n\0\r\n"
)


class Case(NamedTuple):
    """
    A call and its reply.

    @ivar answer: members of the JSON in the reply. The member C{detail} is text that a problem document's
        C{detail} contains.
    @ivar where: the executors that run this case.
    @ivar exact: the very body, if it is not an object.
    @ivar headers_sent: headers of the reply, repeated ones joined with commas; C{None} for a missing header.
    """

    path: str
    status: int
    answer: dict[str, Any] = {}
    query: str = ""
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    where: tuple[str, ...] = ("inline", "threads", "processes")
    headers_sent: dict[str, str | None] = {}
    exact: bytes | None = None

    def call(self) -> Call:
        return Call("POST" if self.body else "GET", self.path, self.query, self.headers, self.body)


FAULT = {"title": "Internal Server Error", "type": "about:blank"}
BOTH = {"a": "1", "b": "2"}
DIGITS = "1234567890123456.78"
CASES = (
    # Arguments.
    Case("/echo/", 200, {}),
    Case("/echo/", 200, BOTH, query="a=1&b=2"),
    Case("/echo/1/", 200, BOTH, query="a=9&b=2"),
    Case("/echo/", 200, BOTH, body=b"a=1&b=2", headers=FORM),
    Case("/echo/", 200, {"a": 1, "b": [None, 2.5]}, body=b'{"a": 1, "b": [null, 2.5]}', headers=JSON),
    Case("/by_name/", 200, BOTH, query="a=1&b=2"),
    Case("/by_name/1/", 200, {"a": "1", "b": 2}, body=b'{"b": 2}', headers=JSON),
    Case("/by_name/", 200, BOTH, body=b"a=1&b=2", headers=FORM),
    Case("/by_name/1/", 422, {"detail": "b"}),
    Case("/single/", 200, BOTH, query="a=1&b=2"),
    Case("/single/", 200, BOTH, body=b'{"a": "1", "b": "2"}', headers=JSON),
    Case("/call/", 200, {"method": "GET", "path": "/call/", "a": 5}, query="a=5"),
    Case("/call/", 200, {"method": "POST", "body": "a=5", "a": 5}, body=b"a=5", headers=FORM),
    Case("/call/", 422, {"detail": "a must be an integer, not 'x'"}, query="a=x"),
    Case("/call/", 200, {"body": "%zz=%ff", "a": 5}, query="a=5", body=b"%zz=%ff", headers=FORM),
    Case("/dated/2024/05/", 200, {"year": 2024, "month": 5}),
    Case("/dated/2024/05/", 200, {"price": DIGITS}, body=f'{{"price": {DIGITS}}}'.encode(), headers=JSON),
    Case("/order/", 200, {"name": "x", "count": 2}, body=b'{"name": "x", "count": 2}', headers=JSON),
    Case("/order/", 200, {"name": "x", "count": 2}, body=b"name=x&count=02", headers=FORM),
    Case(
        "/order/",
        422,
        {"detail": "count must be an integer >= 1, not 0"},
        body=b'{"name": "x", "count": 0}',
        headers=JSON,
    ),
    Case(
        "/upload/",
        200,
        {"title": "A", "name": "a.png", "type": "image/png", "hex": "890d0a00", "more": []},
        body=TITLE + IMAGE + b"--XX--",
        headers=MULTIPART,
    ),
    Case("/upload/", 422, {"detail": "image is missing"}, body=TITLE + b"--XX--", headers=MULTIPART),
    Case(
        "/upload/",
        422,
        {"detail": "image must be a file in a multipart form, not 'x'"},
        body=b"title=A&image=x",
        headers=FORM,
    ),
    Case("/by_name/1/", 422, {"detail": "b is missing"}, body=IMAGE + b"--XX--", headers=MULTIPART),
    Case("/echo/", 422, {"detail": "image must not be a file"}, body=IMAGE + b"--XX--", headers=MULTIPART),
    Case("/echo/", 400, {"detail": "JSON"}, body=b"{", headers=JSON),
    Case("/echo/", 415, {}, body=b"x"),
    # Errors of the function.
    Case("/raises/", 500, FAULT),
    Case("/raises_surrogate/", 500, FAULT),
    Case("/exits/", 500, FAULT),
    Case("/interrupts/", 500, FAULT),
    Case("/returns/set/", 500, FAULT),
    Case("/returns/tuple/", 500, FAULT),
    Case("/returns/decimal_nan/", 500, FAULT),
    Case("/returns/equal_keys/", 500, FAULT),
    Case("/returns/none/", 500, FAULT),
    Case("/returns/string/", 500, FAULT),
    Case("/returns/number/", 500, FAULT),
    Case("/returns/nan/", 500, FAULT),
    Case("/returns/infinity/", 500, FAULT),
    Case("/returns/object/", 500, FAULT),
    Case("/returns/surrogate/", 500, FAULT),
    Case("/returns/bad_reply/", 500, FAULT),
    Case("/returns/bad_status/", 500, FAULT),
    Case("/raises_bad_http/", 500, FAULT),
    Case("/raises_reserved/", 500, FAULT),
    Case("/raises_bad_extra/", 500, FAULT),
    Case("/raises_unfinished_http/", 500, FAULT),
    Case("/raises_unreadable_http/", 500, FAULT),
    Case("/raises_none_header/", 500, FAULT),
    Case("/returns/none_header/", 500, FAULT),
    Case("/returns/bool_header/", 500, FAULT),
    Case("/returns/float_header/", 500, FAULT),
    Case("/returns/no_pairs/", 500, FAULT),
    # Replies and errors that the function chooses.
    Case("/raises_http/", 418, {"detail": "short and stout"}),
    Case("/raises_extra/", 409, {"detail": "sold out", "retry_in": 5, "sku": ["a1", "1.5"], "headers": None}),
    Case("/raises_headers/", 429, {"title": "Too Many Requests"}, headers_sent=SENT),
    Case("/returns/headers/", 200, {}, headers_sent=SENT),
    Case("/returns/file/", 200, exact=FILE.read_bytes()),
    Case("/returns/missing_file/", 404, {"detail": "there is no such file"}),
    Case("/returns/folder/", 404),
    Case("/returns/nul/", 404),
    Case("/returns/long_name/", 404),
    Case("/returns/big/", 200, {"text": "x" * BIG}),
    Case("/returns/reply/", 201, {"made": True}),
    Case("/returns/list/", 200, exact=b"[1]"),
    Case("/returns/empty/", 200, exact=b"[]"),
    Case("/returns/reply_list/", 201, exact=b"[1]"),
    Case("/returns/name/", 200, {"a": "x", "b": {"1": 2}}),
    # Output.
    Case("/prints/", 200, {"printed": "no newline"}),
    Case("/prints/", 200, {"printed": "ä\n\n"}, query="text=%C3%A4%0A%0A"),
    Case("/writes/", 200, {"status": 0}, where=("processes",)),
    Case("/reads/", 200, {"read": ""}, where=("processes",)),
    # Functions that run on the reactor with every executor.
    Case("/coroutine/", 200, {"a": "y"}, query="a=y"),
    Case("/generator/", 200, {"a": "y"}, query="a=y"),
    Case("/deferred/", 200, {"a": "x"}),
    Case("/coroutine_raises/", 500, FAULT),
    Case("/coroutine_cancelled/", 500, FAULT),
)
