"""A table of requests and the responses that every front end must send.

The application has L{cases.url_patterns}, a L{RequestGuard} that allows no other names, and bodies of at most
L{MAX_BODY} bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.support.cases import FILE, SENT
from tests.support.wire import request
from twisted_appserver.core.file_body import file_body
from twisted_appserver.testing import Response

MAX_BODY = 100_000
LONGEST = MAX_BODY - len(b'{"a":""}')  # text in a JSON body
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
PROBLEM = "application/problem+json"
CONTENT = FILE.read_bytes()
SIZE, FILE_TYPE = str(len(CONTENT)), file_body(FILE)[1]


class HTTPCase(NamedTuple):
    """
    A request and its expected response.

    @ivar answer: members of the JSON response. C{detail} must only contain the text.
    @ivar expect: headers of the response by their names in lower case; C{None} for one that must be absent.
    @ivar exact: the exact body.
    @ivar raw: the exact request, for cases that depend on its bytes.
    """

    method: str
    target: str
    status: int
    answer: dict[str, Any] = {}
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    expect: dict[str, str | None] = {}
    exact: bytes | None = None
    host: str = "localhost"
    raw: bytes = b""

    @property
    def data(self) -> bytes:
        return self.raw or request(self.method, self.target, self.body, self.headers, self.host)

    @property
    def name(self) -> str:
        return f"{self.method} {self.target[:60]} {self.headers} {self.raw[:60]!r}"

    def differences(self, got: Response) -> list[str]:
        """Return what differs from the expected response."""
        wrong = [f"status {got.status}, not {self.status}: {got.body[:200]!r}"] * (got.status != self.status)
        if self.exact is not None and got.body != self.exact:
            wrong.append(f"body {got.body[:200]!r}")
        document = got.json if self.answer and got.body else {}
        for member, value in self.answer.items():
            found = document.get(member)
            if found != value and not (member == "detail" and value in str(found)):
                wrong.append(f"{member} {found!r}, not {value!r}")
        expect: dict[str, str | None] = dict(self.expect)
        if got.status >= 400:
            expect.setdefault("content-type", PROBLEM)
        elif got.body:
            expect.setdefault("content-type", "text/plain" if got.status == 308 else "application/json")
        if got.status >= 400 and self.method != "HEAD" and not got.json.get("instance"):
            wrong.append("no instance")
        expect.setdefault("x-content-type-options", "nosniff")
        for name, expected in expect.items():
            if got.headers.get(name) != expected:
                wrong.append(f"{name}: {got.headers.get(name)}, not {expected}")
        return wrong


def chunked(*chunks: bytes) -> bytes:
    made = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST /echo/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + made + b"0\r\n\r\n"


def multipart(extra: str = "") -> bytes:
    return f'--XX\r\nContent-Disposition: form-data; name="a"{extra}\r\n\r\nä\r\n--XX--\r\n'.encode()


MULTIPART = ("Content-Type", "multipart/form-data; boundary=XX")
ALLOW = "GET, HEAD, POST, OPTIONS"


def nested(levels: int) -> bytes:
    return b'{"a":%b%b}' % (b"[" * (levels - 1), b"]" * (levels - 1))


CASES = (
    # Sources of variables.
    HTTPCase("GET", "/echo/1/?b=2&c=x+y&c=%26", 200, exact=b'{"b":"2","c":["x y","&"],"a":"1"}'),
    HTTPCase("POST", "/echo/", 200, {"a": "1", "b": "x y"}, b"a=1&b=x+y", (FORM,)),
    HTTPCase("POST", "/echo/1/?a=9&b=8&c=3", 200, {"a": "1", "b": 2, "c": "3"}, b'{"a":0,"b":2}', (JSON,)),
    HTTPCase("POST", "/echo/", 200, {"a": "ä"}, multipart(), (MULTIPART,)),
    HTTPCase("POST", "/echo/", 200, {}, exact=b"{}"),
    HTTPCase("GET", "/by_name/?a=1&b=2", 200, {"a": "1", "b": "2"}),
    HTTPCase("GET", "/single/?a=1&b=2", 200, {"a": "1", "b": "2"}),
    HTTPCase("POST", "/call/?a=5", 200, {"method": "POST", "path": "/call/", "body": "raw", "a": 5}, b"raw"),
    HTTPCase("GET", "/by_name/?a=1", 422, {"detail": "b", "title": "Unprocessable Content", "status": 422}),
    HTTPCase("GET", "/call/?a=x", 422, {"detail": "a"}),
    # Request ids.
    HTTPCase("GET", "/echo/1/", 200, headers=(("X-Request-ID", "a-1"),), expect={"x-request-id": "a-1"}),
    HTTPCase("GET", "/no/", 404, {"instance": "b2"}, b"", (("X-Request-ID", "b2"),), {"x-request-id": "b2"}),
    # Paths.
    HTTPCase("GET", "/echo/%C3%A4%20%25/", 200, {"a": "ä %"}),
    HTTPCase("GET", "/echo/a+b/", 200, {"a": "a+b"}),
    HTTPCase("GET", "/echo/%FF/", 400, {"detail": "UTF-8"}),
    HTTPCase("GET", "/%65cho/1/", 200, {"a": "1"}),
    HTTPCase("GET", "/echo//", 404),
    HTTPCase("GET", "/nothing", 404, {"title": "Not Found", "status": 404, "type": "about:blank"}),
    HTTPCase("GET", "/echo/%C3%A4?b=2&c=%2F", 308, expect={"location": "./%C3%A4/?b=2&c=%2F"}),
    HTTPCase("HEAD", "/echo/1", 308, exact=b"", expect={"location": "./1/"}),
    HTTPCase("POST", "/echo", 308, body=b'{"a":1}', headers=(JSON,), expect={"location": "./echo/"}),
    HTTPCase("PUT", "/echo", 405, {"detail": "PUT"}, expect={"allow": ALLOW}),
    HTTPCase("GET", "//echo", 404),
    HTTPCase("GET", "/", 404),
    HTTPCase("GET", "/echo/..%2F../", 404),
    HTTPCase("GET", "/echo/?a=%FF", 400, {"detail": "query"}),
    *(HTTPCase("GET", target, 400, {"detail": "target"}) for target in (
        "/echo/%zz%/", "/echo/%/", "/echo/%2/", "/%", "/echo/%u0041/", "/echo/%%41/", "/echo/%4g/?a=1",
        "/echo/#x", "/echo/1/#", "/echo/?a=b#c", "/#", "/echo/%zz/?a=%41", "http://localhost/echo/%zz/",
    )),
    HTTPCase("GET", "/echo/a|b{}/", 200, {"a": "a|b{}"}),
    HTTPCase("GET", "/echo/", 200, {"a": "ä", "b": "€"},
             raw="GET /echo/ä/?b=€ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()),
    HTTPCase("GET", "/echo/", 400, {"detail": "target"},
             raw="GET /echo/ä/ HTTP/1.1\r\nHost: localhost\r\n\r\n".encode("latin-1")),
    HTTPCase("GET", "/echo/%00/", 200, {"a": "\0"}),
    HTTPCase("GET", "/echo/%C3/", 400, {"detail": "UTF-8"}),
    HTTPCase("GET", "/echo/%ED%A0%80/", 400, {"detail": "UTF-8"}),
    HTTPCase("GET", "/echo/%2e%2e/", 200, {"a": ".."}),
    HTTPCase("GET", "/echo/../echo/", 404),
    HTTPCase("GET", "/../echo/", 404),
    HTTPCase("GET", "//echo/", 404),
    HTTPCase("GET", "/echo/a%2Fb/", 404),
    # Query strings.
    HTTPCase("GET", "/echo/?a=%zz&b=%00", 200, {"a": "%zz", "b": "\0"}),
    HTTPCase("GET", "/echo/?a=%ED%A0%80", 400, {"detail": "query"}),
    HTTPCase("GET", "/echo/?=1&&a&b=1;c=2", 200, exact=b'{"":"1","a":"","b":"1;c=2"}'),
    HTTPCase("GET", "/echo/?" + "&".join("a" * 1000), 200, {"a": [""] * 1000}),
    HTTPCase("GET", "/echo/?" + "&".join("a" * 1001), 400, {"detail": "query"}),
    HTTPCase("GET", "/call/?a=1&a=2", 422, {"detail": "a"}),
    HTTPCase("GET", "/call/?a=" + "9" * 5000, 422, {"detail": "a"}),
    HTTPCase("GET", "/call/?a=1e999", 422, {"detail": "a"}),
    # Methods.
    HTTPCase("HEAD", "/echo/1/", 200, expect={"content-length": "9"}, exact=b""),
    HTTPCase("HEAD", "/nothing/", 404, exact=b""),
    HTTPCase("OPTIONS", "/echo/", 204, expect={"allow": ALLOW, "content-type": None}, exact=b""),
    HTTPCase("OPTIONS", "/nothing/", 404),
    HTTPCase("PUT", "/echo/", 405, {"title": "Method Not Allowed"}, expect={"allow": ALLOW}),
    HTTPCase("DELETE", "/echo/", 405, expect={"allow": ALLOW}),
    HTTPCase("PATCH", "/echo/", 405, expect={"allow": ALLOW}),
    HTTPCase("QUERY", "/query/?b=2", 200, {"a": [1], "b": "2"}, b'{"a":[1]}', (JSON,)),
    HTTPCase("QUERY", "/query/", 200, {"a": "ä"}, multipart(), (MULTIPART,)),
    HTTPCase("QUERY", "/query/", 415, {"detail": "missing"}, b'{"a":1}'),
    HTTPCase("QUERY", "/query", 308, body=b'{"a":[1]}', headers=(JSON,), expect={"location": "./query/"}),
    HTTPCase("QUERY", "/echo/", 405, expect={"allow": ALLOW}),
    HTTPCase("GET", "/query/", 405, expect={"allow": "QUERY, OPTIONS"}),
    # Bodies.
    HTTPCase("POST", "/echo/", 400, {"detail": "JSON"}, b"{", (JSON,)),
    HTTPCase("POST", "/echo/", 400, {"detail": "object"}, b"[]", (JSON,)),
    HTTPCase("POST", "/echo/", 400, {"detail": "form"}, b"a=%FF", (FORM,)),
    HTTPCase("POST", "/echo/", 415, {"detail": "text/plain"}, b"x", (("Content-Type", "text/plain"),)),
    HTTPCase("POST", "/echo/", 415, {"detail": "application/json"}, b"x"),
    HTTPCase("POST", "/echo/", 415, {"detail": "gzip is not"}, b"x", (JSON, ("Content-Encoding", "gzip")),
             expect={"accept-encoding": "identity"}),
    HTTPCase("POST", "/echo/", 415, {"detail": "br is not"}, b"a=1", (FORM, ("Content-Encoding", "br"))),
    HTTPCase("POST", "/echo/", 415, {"detail": "charset utf-16"}, b"{}",
             (("Content-Type", "application/json; charset=utf-16"),)),
    HTTPCase("POST", "/echo/", 200, {"a": "1"}, b"a=1", (FORM, ("Content-Encoding", "identity"))),
    HTTPCase("POST", "/echo/", 422, {"detail": "not be a file"}, multipart('; filename="x"'), (MULTIPART,)),
    HTTPCase("POST", "/echo/", 400, {"detail": "multipart"}, multipart()[:-9], (MULTIPART,)),
    HTTPCase("POST", "/echo/", 200, {"a": "x" * LONGEST}, b'{"a":"%s"}' % (b"x" * LONGEST), (JSON,)),
    HTTPCase("POST", "/echo/", 200, {"a": 2}, b'{"a":1,"a":2}', (JSON,)),
    HTTPCase("POST", "/echo/", 200, {"": 1, "self": 2}, b'{"":1,"self":2}', (JSON,)),
    HTTPCase("POST", "/echo/", 200, {"a": "\0"}, b'{"a":"\\u0000"}', (JSON,)),
    HTTPCase("POST", "/echo/", 200, {"a": 10**4000}, b'{"a":1%b}' % (b"0" * 4000), (JSON,)),
    HTTPCase("POST", "/echo/", 200, exact=nested(100), body=nested(100), headers=(JSON,)),
    HTTPCase("POST", "/echo/", 200, {"a": 1}, b'{"a":1}', (("Content-Type", "APPLICATION/x+json; a=b"),)),
    HTTPCase("POST", "/echo/", 415, {"detail": "json"}, b'{"a":1}', (JSON, FORM)),
    HTTPCase("POST", "/echo/", 415, {"detail": "json"}, b'{"a":1}', (JSON, JSON)),
    HTTPCase("POST", "/echo/", 415, {"detail": "is missing"}, b'{"a":1}', (("Content-Type", ""),)),
    HTTPCase("POST", "/call/", 422, {"detail": "a"}, b'{"a":1.5}', (JSON,)),
    HTTPCase("POST", "/call/", 422, {"detail": "a"}, b'{"a":"1"}', (JSON,)),
    *(HTTPCase("POST", "/echo/", 400, {"detail": "JSON"}, body, (JSON,)) for body in (
        b'{"a":NaN}', b'{"a":-Infinity}', b'{"a":1e400}', b'{"a":1%b}' % (b"0" * 5000),
        nested(101), nested(5000), b"[" * 50000, b'{"a":"\xff"}', b'{"a":"\0"}', b'{"a":"\\ud800"}',
        b'\xef\xbb\xbf{"a":1}', '{"a":1}'.encode("utf-16"), b'{"a":1}{', b"{'a':1}", b" ",
    )),
    HTTPCase("POST", "/echo/", 200, {"a": ["%zz", "\0", "ä", ""]}, "a=%zz&a=%00&a=ä&a".encode(), (FORM,)),
    HTTPCase("POST", "/echo/", 400, {"detail": "form"}, b"&".join([b"a"] * 1001), (FORM,)),
    HTTPCase("POST", "/echo/", 400, {"detail": "multipart"}, multipart().replace(b"\xa4", b""), (MULTIPART,)),
    HTTPCase("POST", "/echo/", 413, {"detail": str(MAX_BODY)}, b"x" * (MAX_BODY + 1), (JSON,)),
    HTTPCase("POST", "/echo/", 200, {"a": [1, 2]}, raw=chunked(b'{"a":', b"[1,", b" 2]}")),
    # Results.
    HTTPCase("GET", "/returns/reply/", 201, {"made": True}, expect={"x-made": "yes"}),
    HTTPCase("GET", "/returns/text/", 202, exact="plain ä".encode(),
             expect={"content-type": "text/plain; charset=utf-8"}),
    HTTPCase("GET", "/returns/bytes/", 200, exact=bytes(range(256)),
             expect={"content-type": "application/octet-stream", "content-length": "256"}),
    HTTPCase("GET", "/returns/nothing/", 204, exact=b"",
             expect={"content-type": None, "content-length": None}),
    HTTPCase("GET", "/returns/headers/", 200, expect=SENT, exact=b"{}"),
    HTTPCase("GET", "/raises_headers/", 429, {"title": "Too Many Requests"}, expect=SENT),
    HTTPCase("GET", "/returns/none_header/", 500),
    HTTPCase("GET", "/returns/sniffed/", 200, expect={"x-content-type-options": "none"}, exact=b"{}"),
    HTTPCase("HEAD", "/returns/sniffed/", 200, expect={"x-content-type-options": "none"}, exact=b""),
    HTTPCase("GET", "/returns/set/", 500, {"title": "Internal Server Error"}),
    HTTPCase("GET", "/returns/nan/", 500),
    HTTPCase("GET", "/returns/list/", 200, exact=b"[1]"),
    HTTPCase("GET", "/returns/name/", 200, exact=b'{"a":"x","b":{"1":2}}'),
    HTTPCase("GET", "/returns/equal_keys/", 500),
    HTTPCase("GET", "/raises/", 500, {"status": 500}),
    HTTPCase("GET", "/raises_http/", 418, {"detail": "short and stout"}, expect={"x-pot": "tea"}),
    HTTPCase("GET", "/raises_bad_http/", 500),
    HTTPCase("GET", "/coroutine/?a=y", 200, {"a": "y"}),
    HTTPCase("GET", "/coroutine_raises/", 500),
    # Files.
    HTTPCase("GET", "/returns/file/", 200, exact=CONTENT,
             expect={"content-type": FILE_TYPE, "content-length": SIZE, "accept-ranges": "bytes"}),
    HTTPCase("HEAD", "/returns/file/", 200, exact=b"",
             expect={"content-type": FILE_TYPE, "content-length": SIZE, "accept-ranges": "bytes"}),
    HTTPCase("POST", "/returns/file/", 200, exact=CONTENT, headers=(("Range", "bytes=1-2"),),
             expect={"content-type": FILE_TYPE, "etag": None, "accept-ranges": None}),
    HTTPCase("GET", "/returns/named_file/", 200, exact=CONTENT,
             expect={"content-type": "text/x-own", "etag": '"own"'}),
    HTTPCase("GET", "/returns/named_file/", 304, exact=b"", headers=(("If-None-Match", '"a", W/"own"'),),
             expect={"content-type": None, "content-length": None, "etag": '"own"'}),
    HTTPCase("GET", "/returns/named_file/", 200, exact=CONTENT, headers=(("If-None-Match", '"a"'),),
             expect={"content-type": "text/x-own"}),
    HTTPCase("GET", "/returns/file/", 304, exact=b"",
             headers=(("If-Modified-Since", "Fri, 31 Dec 2100 00:00:00 GMT"),)),
    HTTPCase("HEAD", "/returns/file/", 304, exact=b"", headers=(("If-None-Match", "*"),)),
    HTTPCase("GET", "/returns/named_file/", 412, headers=(("If-Match", '"other"'),),
             expect={"etag": '"own"'}),
    HTTPCase("GET", "/returns/file/", 206, exact=CONTENT[2:6], headers=(("Range", "bytes=2-5"),),
             expect={"content-type": FILE_TYPE, "content-length": "4", "content-range": f"bytes 2-5/{SIZE}"}),
    HTTPCase("GET", "/returns/file/", 206, exact=CONTENT[-3:], headers=(("Range", "bytes=-3"),),
             expect={"content-type": FILE_TYPE}),
    HTTPCase("GET", "/returns/file/", 200, exact=CONTENT, headers=(("Range", "bytes=0-1,4-5"),),
             expect={"content-type": FILE_TYPE, "content-range": None}),
    HTTPCase("GET", "/returns/named_file/", 200, exact=CONTENT, expect={"content-type": "text/x-own"},
             headers=(("Range", "bytes=0-1"), ("If-Range", '"old"'))),
    HTTPCase("GET", "/returns/named_file/", 206, exact=CONTENT[:2], expect={"content-type": "text/x-own"},
             headers=(("Range", "bytes=0-1"), ("If-Range", '"own"'))),
    HTTPCase("HEAD", "/returns/file/", 200, exact=b"", headers=(("Range", "bytes=0-1"),),
             expect={"content-length": SIZE}),
    HTTPCase("GET", "/returns/file/", 416, {"detail": "range"}, headers=(("Range", f"bytes={SIZE}-"),),
             expect={"content-range": f"bytes */{SIZE}"}),
    HTTPCase("GET", "/returns/missing_file/", 404, {"detail": "no such file"}),
    HTTPCase("GET", "/returns/folder/", 404, {"detail": "no such file"}),
    # Host and Origin.
    HTTPCase("GET", "/echo/1/", 200, {"a": "1"}, host="127.0.0.1:8080"),
    HTTPCase("GET", "/echo/1/", 200, {"a": "1"}, host="[::1]:65535"),
    HTTPCase("GET", "/echo/1/", 200, {"a": "1"}, host="localhost:"),
    HTTPCase("GET", "/echo/1/", 200, {"a": "1"}, host="localhost.:8080"),
    *(HTTPCase("GET", "/echo/1/", 400, {"detail": "Host"}, host=host) for host in (
        "", " ", "a b", "localhost:99999", "localhost:65536", "localhost:a", "a,b", "user@localhost", "[::1",
        "localhost/", "http://localhost", "b\u00fccher",
    )),
    HTTPCase("POST", "/echo/", 400, {"detail": "Host"}, b'{"a":1}', (JSON,), host=""),
    HTTPCase("GET", "http://localhost/echo/1/?b=2", 200, {"a": "1", "b": "2"}, host="evil.example"),
    HTTPCase("GET", "http://evil.example/echo/1/", 421),
    HTTPCase("GET", "http:///echo/1/", 400, {"detail": "host"}),
    HTTPCase("GET", "/echo/1/", 400, {"detail": "Host"}, raw=b"GET /echo/1/ HTTP/1.1\r\n\r\n"),
    HTTPCase("GET", "/echo/1/", 421, host="evil.example"),
    HTTPCase("GET", "/echo/1/", 403, headers=(("Origin", "http://evil.example"),)),
    HTTPCase("GET", "/echo/1/", 403, headers=(("Sec-Fetch-Site", "cross-site"),)),
    HTTPCase("GET", "/echo/1/", 200, {"a": "1"}, headers=(("Origin", "http://localhost"),)),
)  # fmt: skip
