"""Middleware: decorators around all functions below a prefix.

echo alice:secret > passwords && echo bob:secret >> passwords && chmod 600 passwords
appserver --app examples/middleware.py --auth file:passwords --port 8081
curl -u bob:secret localhost:8081/stock/bolt
curl -u bob:secret localhost:8081/stock/anvil                 # 404, from a KeyError
curl -u bob:secret localhost:8081/internal/bolt -d pieces=5   # 403: only alice may do this
curl -u bob:secret localhost:8081/count/3                     # a stream; the time includes all of it
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import perf_counter, sleep
from typing import Any

from twisted_appserver import HTTPError, current_call, include

PIECES = {"bolt": 17, "nut": 3}


@contextmanager
def timed() -> Iterator[None]:
    """Print how long each call takes. The server logs the line under the id of the request."""
    begin = perf_counter()
    try:
        yield
    finally:
        call = current_call()
        print(f"{call.method} {call.path} took {perf_counter() - begin:.3f} s for {call.user}")


@contextmanager
def missing_keys() -> Iterator[None]:
    """Turn a KeyError into 404."""
    try:
        yield
    except KeyError as error:
        raise HTTPError(404, f"there is no {error}") from None


def only(*users: str) -> Callable[[Any], Any]:
    """Let only these users call the functions."""

    def decorator(function: Any) -> Any:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            user = current_call().user
            if user not in users:
                raise HTTPError(403, f"{user} may not call {function.__name__}")
            return function(*args, **kwargs)

        return wrapper

    return decorator


def stock(name: str) -> dict[str, Any]:
    """How many pieces there are."""
    return {"name": name, "pieces": PIECES[name]}


def change(name: str, pieces: int) -> dict[str, Any]:
    """Add pieces, or take them away."""
    return {"name": name, "pieces": PIECES[name] + pieces}


def count(to: int) -> Iterator[dict[str, Any]]:
    """Count slowly."""
    for number in range(1, to + 1):
        sleep(0.1)
        yield {"number": number}


internal = [(r"(?P<name>)", change)]
patterns = [
    (r"/stock/(?P<name>)", stock),
    (r"/count/(?P<to>)", count),
    include("/internal/", internal, wrap=only("alice")),
]
url_patterns = [include("", patterns, wrap=[timed(), missing_keys()])]
