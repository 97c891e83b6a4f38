"""Robyn: an HTTP server in Rust, which calls C{def} handlers in threads of its own."""

from typing import Any

import work
from robyn import Request, Robyn

app = Robyn(__file__)


@app.get("/:object_type/get/:object_id/")
def get_object(request: Request) -> Any:
    names = request.path_params
    return work.get_object(names["object_type"], names["object_id"])


@app.post("/echo/")
def echo(request: Request) -> Any:
    return work.echo(**request.json())


@app.get("/large/")
def large(request: Request) -> Any:
    return work.large()


@app.get("/cpu/")
def cpu(request: Request) -> Any:
    return work.cpu()


@app.get("/sleep/:milliseconds/")
def sleep(request: Request) -> Any:
    return work.sleep(request.path_params["milliseconds"])


@app.get("/where/")
def where(request: Request) -> Any:
    return work.where()


if __name__ == "__main__":
    app.start(host="127.0.0.1", port=work.PORT)
