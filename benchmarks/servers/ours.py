"""
This package, through its public names only.

C{BENCH_VARIANT} is where the functions run: C{threads} or C{processes} as usual, C{inline} with every route
on the reactor, or C{limit}, where a coroutine returns a constant. The latter measures the channel alone.
"""

import os
from typing import Any

import work

import twisted_appserver as appserver

VARIANT = os.environ.get("BENCH_VARIANT", "threads")
CONNECTIONS = os.environ.get("BENCH_CONNECTIONS")
CONSTANT = {"object_type": "person", "object_id": "123"}


async def constant() -> dict[str, Any]:
    return CONSTANT


def route(pattern: str, function: Any) -> Any:
    """Make a route for the variant."""
    if VARIANT == "inline":
        return appserver.Route(pattern, function, executor="inline")
    if VARIANT == "limit" and function is work.get_object:
        return (r"/person/get/123/", constant)
    if VARIANT == "limit":
        return appserver.Route(pattern, function, executor="inline")
    return (pattern, function)


url_patterns = (
    *(
        route(rf"/table{number}/(?P<object_type>)/(?P<object_id>)/", work.get_object)
        for number in range(work.PATTERNS)
    ),
    route(r"/(?P<object_type>)/get/(?P<object_id>)/", work.get_object),
    route(r"/echo/", work.echo),
    route(r"/large/", work.large),
    route(r"/cpu/", work.cpu),
    route(r"/sleep/(?P<milliseconds>)/", work.sleep),
    route(r"/where/", work.where),
)

if __name__ == "__main__":
    forked = VARIANT == "processes"
    limits = {"max_connections": int(CONNECTIONS)} if CONNECTIONS else {}
    appserver.run_server(
        port=work.PORT,
        server_type=appserver.FORKED_SERVER if forked else appserver.THREADED_SERVER,
        threads=work.THREADS,
        workers=work.WORKERS,
        channel=os.environ.get("BENCH_CHANNEL", "llhttp"),
        **limits,
    )
