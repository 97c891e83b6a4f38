"""Pages for a person: the functions, each with a form, and what goes on. All they need comes from here."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from time import time
from typing import Any

from msgspec.structs import replace

from twisted_appserver.admin.figures import Figures, percentile
from twisted_appserver.core.call import Call, Reply
from twisted_appserver.errors import HTTPError

KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
HEADERS = (
    ("cache-control", "no-cache"),
    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    ("referrer-policy", "no-referrer"),
)
SPAN = 10  # seconds over which the rates at the top of the page are taken


def _swagger() -> Path | None:
    """The folder of Swagger UI in the package that brings it, which need not be imported."""
    found = find_spec("swagger_ui")
    return None if found is None or not found.origin else Path(found.origin).with_name("static")


SWAGGER = _swagger()
STYLED = {  # it has styles and pictures in its elements
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'"
}


def _file(name: str) -> Reply:
    """A file of this package."""
    return _reply(files(__package__).joinpath("static", name), name)


def _reply(path: Any, name: str) -> Reply:
    try:
        body = path.read_bytes()
    except OSError:
        raise HTTPError(404, f"there is no {name}") from None
    kind = f"{KINDS[name.rpartition('.')[2]]}; charset=utf-8"
    return Reply(body, 200, (("content-type", kind), *HEADERS))


class Pages:
    """
    @param figures: of the service.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    async def index(self) -> Reply:
        """To the page of functions."""
        return Reply(b"", 307, {"Location": "docs"})

    async def page(self, page: str) -> Reply:
        """The functions, or the status."""
        found = _file(f"{page}.html")
        if SWAGGER is None:
            return found
        return replace(found, body=found.body.replace(b"</nav>", b' <a href="swagger">Swagger UI</a></nav>'))

    async def swagger(self, name: str = "") -> Reply:
        """Swagger UI, from the package of the extra C{docs}; 404 without it."""
        if SWAGGER is None:
            raise HTTPError(
                404, "Swagger UI comes with the extra docs: pip install 'twisted_appserver[docs]'"
            )
        if name:
            return _reply(SWAGGER.joinpath(name), name)
        found = _file("swagger.html")
        headers = [(key, STYLED.get(key, value)) for key, value in found.headers]
        return replace(found, headers=tuple(headers))

    async def asset(self, name: str) -> Reply:
        """What a page needs besides."""
        return _file(name)

    async def figures(self, call: Call) -> dict[str, Any]:
        """What the page of the status shows."""
        figures, service = self._figures, self._figures.service
        figures.look()
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
        last = [second for second in figures.history if second[0] > time() - SPAN]
        return {
            "title": service.title,
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
            "at_work": figures.at_work(),
            "workers": figures.workers(),
            "routes": routes,
            "errors": figures.errors_for(call.user),
            "history": [list(second) for second in figures.history],
            "queues": service.queues(),
        }
