"""An index of packages as an application: it receives files as twine sends them, and pip installs them."""

import os
import re
from pathlib import Path

from twisted_appserver import HTTPError, Reply, Route, Upload

FOLDER = Path(os.environ.get("INDEX", "."))


def upload(content: Upload, name: str, version: str, **metadata: str | list[str]) -> Reply:
    """Store a file (the legacy upload API of PyPI)."""
    path = FOLDER / Path(content.filename).name
    if path.exists():
        raise HTTPError(400, f"{path.name} exists already")
    path.write_bytes(content.data)
    return Reply(f"stored {name} {version}")


def listing(project: str) -> Reply:
    """List the files of a project (PEP 503)."""
    names = [each.name for each in FOLDER.iterdir() if re.sub(r"[-_.]+", "-", each.name).startswith(project)]
    links = "".join(f'<a href="/files/{name}">{name}</a>\n' for name in sorted(names))
    return Reply(f"<!DOCTYPE html><body>\n{links}</body>", headers={"content-type": "text/html"})


def file(name: str) -> Reply:
    """Return a file."""
    return Reply((FOLDER / name).read_bytes())


url_patterns = (
    Route(r"/legacy/", upload, methods=("POST",)),
    Route(r"/simple/(?P<project>)/", listing, methods=("GET",)),
    Route(r"/files/(?P<name>)", file, methods=("GET",)),
)
