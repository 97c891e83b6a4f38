"""
A WSGI application without a framework for Granian, the fastest peer. It uses a regular expression and the
JSON encoder of our server.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import work

GET = re.compile(r"/([^/]+)/get/([^/]+)/")
SLEEP = re.compile(r"/sleep/([^/]+)/")
PLAIN = {"/large/": work.large, "/cpu/": work.cpu, "/where/": work.where}


def find(environ: dict[str, Any]) -> dict[str, Any] | None:
    """Return the function that the path names, and its arguments."""
    path = environ["PATH_INFO"]
    if match := GET.fullmatch(path):
        return work.get_object(*match.groups())
    if match := SLEEP.fullmatch(path):
        return work.sleep(*match.groups())
    if function := PLAIN.get(path):
        return function()
    if path == "/echo/":
        return work.echo(**msgspec.json.decode(environ["wsgi.input"].read()))
    return None


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The application."""
    result = find(environ)
    if result is None:
        start_response("404 Not Found", [("Content-Length", "0")])
        return [b""]
    body = msgspec.json.encode(result)
    start_response(
        "200 OK",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    )
    return [body]
