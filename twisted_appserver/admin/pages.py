"""Web pages: the functions, each with a form, and the status. They load nothing from other hosts."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from time import time
from typing import Any

from msgspec.structs import replace

from twisted_appserver.admin.figures import Figures, percentile
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.errors import HTTPError, how_to_install

CONTENT_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
HEADERS = (
    ("cache-control", "no-cache"),
    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    ("referrer-policy", "no-referrer"),
)
RATE_TIME = 10  # seconds over which the rate of requests is averaged


def _swagger_folder() -> Path | None:
    """Return the folder of Swagger UI in the package that contains it, without importing that package."""
    found = find_spec("swagger_ui")
    return None if found is None or not found.origin else Path(found.origin).with_name("static")


SWAGGER = _swagger_folder()
SWAGGER_HEADERS = {  # Swagger UI has inline styles and images
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'"
}


def _file(name: str) -> Reply:
    """Return a file of this package."""
    return _reply(files(__package__).joinpath("static", name), name)


def _reply(path: Any, name: str) -> Reply:
    try:
        body = path.read_bytes()
    except OSError:
        raise HTTPError(404, f"{name} does not exist") from None
    kind = f"{CONTENT_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    return Reply(body, 200, (("content-type", kind), *HEADERS))


class Pages:
    """
    Serve the web pages of a service.

    @param figures: the figures of the service.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def index(self) -> Reply:
        """Redirect to the page of functions."""
        return Reply(b"", 307, {"Location": "docs"})

    async def page(self, page: str) -> Reply:
        """Return the page of functions or the status page."""
        reply = _file(f"{page}.html")
        if SWAGGER is None:
            return reply
        return replace(reply, body=reply.body.replace(b"</nav>", b' <a href="swagger">Swagger UI</a></nav>'))

    async def swagger(self, name: str = "") -> Reply:
        """
        Return the page of Swagger UI or one of its files.

        @raise HTTPError: 404 if the extra C{docs} is not installed.
        """
        if SWAGGER is None:
            raise HTTPError(404, f"Swagger UI needs the extra docs; {how_to_install('docs')}")
        if name:
            return _reply(SWAGGER.joinpath(name), name)
        reply = _file("swagger.html")
        headers = [(key, SWAGGER_HEADERS.get(key, value)) for key, value in reply.headers]
        return replace(reply, headers=tuple(headers))

    async def asset(self, name: str) -> Reply:
        """Return a script, a style sheet or an image of a page."""
        return _file(name)

    async def figures(self, call: Call) -> dict[str, Any]:
        """Return the data of the status page."""
        figures, service = self._figures, self._figures.service
        figures.keep_counting()
        last = [second for second in figures.history if second[0] > time() - RATE_TIME]
        return {
            "title": service.info.title,
            "line": service.line(),
            "unready": "; ".join(filter(None, (service.unready(), service.reload_problem))),
            "rate": sum(second[1] for second in last) / len(last) if last else 0.0,
            "running": figures.total("running"),
            "pending": figures.total("pending"),
            "parked": figures.total("parked"),
            "completed": figures.total("completed"),
            "failed": figures.total("failed"),
            "restarts": figures.restarts,
            "connections": service.site.connections,
            "at_work": figures.active_calls(),
            "workers": figures.workers(),
            "routes": _routes(figures),
            "errors": figures.errors_for(call.user),
            "history": [list(second) for second in figures.history],
            "queues": service.queues(),
        }


def _routes(figures: Figures) -> dict[str, dict[str, Any]]:
    """Return the numbers of calls and errors, and the durations in seconds, by the names of routes."""
    routes: dict[str, dict[str, Any]] = {}
    for (name, status), durations in figures.calls.items():
        route = routes.setdefault(name or "(none)", {"calls": 0, "errors": 0, "counts": []})
        route["calls"] += durations.number
        route["errors"] += durations.number if status >= 500 else 0
        pairs = zip(route["counts"] or [0] * len(durations.counts), durations.counts, strict=True)
        route["counts"] = [one + other for one, other in pairs]
    for route in routes.values():
        counts = route.pop("counts")
        route |= {"p50": percentile(counts, 0.5), "p99": percentile(counts, 0.99)}
    return routes
