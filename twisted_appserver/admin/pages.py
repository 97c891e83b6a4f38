"""
Web pages: the functions, each with a form, and the status. They load nothing from other hosts.

Pages and their files are the same for every client, and contain no data. So they need no credentials: the
script of a page asks for a token or a password, and sends it with each request for data.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache, wraps
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from twisted_appserver.core.call import Call, Reply
from twisted_appserver.core.error_page import prefers_html
from twisted_appserver.errors import HTTPError, how_to_install

CONTENT_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
HEADERS = (
    ("cache-control", "no-cache"),
    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    ("referrer-policy", "no-referrer"),
)
TITLES = {
    "docs": "Functions",
    "status": "Status",
    "jobs": "Jobs",
    "queues": "Queues",
    "swagger": "Swagger UI",
}
PLACE = re.compile(r"\{(\w+)\}")  # of a value in the template of the pages
FILE = re.compile(r"/-/(?:[a-z]+\.(?:js|css|svg)|swagger-ui\.css|swagger-ui-bundle\.js)")
PAGE = re.compile(rf"/-/(?:{'|'.join(TITLES)})?")
GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))")
LARGEST_COMPRESSED = 100_000  # bytes; the files of Swagger UI would block the reactor
MOST_COMPRESSED = 64  # files that are kept in their compressed form


def _swagger_folder() -> Path | None:
    """Return the folder of Swagger UI in the package that contains it, without importing that package."""
    found = find_spec("swagger_ui")
    return None if found is None or not found.origin else Path(found.origin).with_name("static")


SWAGGER_LINK = '<a href="swagger">Swagger UI</a>'
SWAGGER_STYLES = '<link rel="stylesheet" href="swagger-ui.css">\n'
SWAGGER_SCRIPTS = '<script src="swagger-ui-bundle.js" defer></script>\n'
SWAGGER = _swagger_folder()
SWAGGER_HEADERS = {  # Swagger UI has inline styles and images
    "content-security-policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'"
}


def is_public(call: Call) -> bool:
    """
    Return whether a call needs no credentials: it asks for the page itself, as browsers do when they open an
    address, or for a file that a page loads. Neither contains data of the application.
    """
    if call.method not in ("GET", "HEAD"):
        return False
    return FILE.fullmatch(call.path) is not None or (
        PAGE.fullmatch(call.path) is not None and _wants_page(call)
    )


def _wants_page(call: Call) -> bool:
    """Return whether a browser opens an address."""
    accept = ",".join(value.decode("latin-1") for name, value in call.raw_headers if name == b"accept")
    return prefers_html(accept)


def _read(path: Any, name: str) -> bytes:
    try:
        content: bytes = path.read_bytes()
    except OSError:
        raise HTTPError(404, f"{name} does not exist") from None
    return content


def _own_file(name: str) -> bytes:
    return _read(files(__package__).joinpath("static", name), name)


@lru_cache(MOST_COMPRESSED)
def _compress(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _reply(call: Call, content: bytes, name: str) -> Reply:
    """Return a file, compressed if it is small and the client accepts that (RFC 9110, section 12.5.3)."""
    kind = f"{CONTENT_TYPES[name.rpartition('.')[2]]}; charset=utf-8"
    headers = (("content-type", kind), *HEADERS, ("vary", "accept-encoding"))
    accepted = b",".join(value for field, value in call.raw_headers if field == b"accept-encoding")
    if len(content) <= LARGEST_COMPRESSED and GZIP.search(accepted):
        return Reply(_compress(content), 200, (*headers, ("content-encoding", "gzip")))
    return Reply(content, 200, headers)


class Pages:
    """
    Serve the web pages of a service.

    @param service: an L{AppService}.
    """

    def __init__(self, service: Any) -> None:
        self._service = service

    async def index(self) -> Reply:
        """Redirect to the page of functions."""
        return Reply(b"", 307, {"Location": "docs"})

    def _page(self, call: Call, page: str) -> Reply:
        credentials = self._service.dispatcher.guard.credentials
        swagger = "" if SWAGGER is None else SWAGGER_LINK
        filled = {
            "schemes": "" if credentials is None else " ".join(credentials.schemes),
            "title": TITLES[page],
            "page": page,
            "swagger": swagger,
            "styles": SWAGGER_STYLES if page == "swagger" else "",
            "scripts": SWAGGER_SCRIPTS if page == "swagger" else "",
        }
        template = _own_file("page.html").decode()
        return _reply(call, PLACE.sub(lambda found: filled[found[1]], template).encode(), "page.html")

    async def page(self, call: Call, page: str) -> Reply:
        """Return a page. Its data is loaded by its script."""
        return self._page(call, page)

    def or_json(self, page: str, show: Callable[..., Awaitable[Reply]]) -> Callable[..., Awaitable[Reply]]:
        """
        Return a function that returns a page to browsers that open its address, and JSON to all other
        clients (RFC 9110, section 12.1).

        @param show: returns the JSON; one of its arguments is C{call}.
        """

        @wraps(show)
        async def negotiated(call: Call, **variables: Any) -> Reply:
            reply = self._page(call, page) if _wants_page(call) else await show(call=call, **variables)
            return replace(reply, headers=(*reply.headers, ("vary", "accept")))

        return negotiated

    async def swagger(self, call: Call, name: str = "") -> Reply:
        """
        Return the page of Swagger UI or one of its files.

        @raise HTTPError: 501 if the extra C{docs} is not installed.
        """
        if SWAGGER is None:
            raise HTTPError(501, f"Swagger UI needs the extra docs; {how_to_install('docs')}")
        if name:
            return _reply(call, _read(SWAGGER.joinpath(name), name), name)
        reply = self._page(call, "swagger")
        headers = [(key, SWAGGER_HEADERS.get(key, value)) for key, value in reply.headers]
        return replace(reply, headers=tuple(headers))

    async def asset(self, call: Call, name: str) -> Reply:
        """Return a script, a style sheet or an image of a page."""
        return _reply(call, _own_file(name), name)

    async def service(self, call: Call) -> dict[str, Any]:
        """Return what the header of every page shows. C{jobs} is the number of jobs that have not ended."""
        service = self._service
        info, (broker, prefix) = service.info, service.shown_queues()
        jobs = service.dispatcher.jobs.unfinished(call.user)
        shown = {"queues": broker is not None, "queues_of_jobs": broker is not None and bool(prefix)}
        return {"title": info.title, "version": info.version, "jobs": jobs, **shown}
