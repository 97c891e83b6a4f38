"""Klein: C{deferToThread} for every call."""

import json
from collections.abc import Callable
from typing import Any

import work
from klein import Klein
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.web.iweb import IRequest
from twisted.web.server import Site

app = Klein()


def call(request: IRequest, function: Callable[..., Any], *arguments: Any) -> Deferred[bytes]:
    """Call a function in a thread, and respond with its result as JSON."""
    request.setHeader(b"content-type", b"application/json")
    return deferToThread(lambda: json.dumps(function(*arguments)).encode())


@app.route("/<object_type>/get/<object_id>/")
def get_object(request: IRequest, object_type: str, object_id: str) -> Deferred[bytes]:
    return call(request, work.get_object, object_type, object_id)


@app.route("/echo/", methods=["POST"])
def echo(request: IRequest) -> Deferred[bytes]:
    body = request.content.read()
    return call(request, lambda: work.echo(**json.loads(body)))


@app.route("/large/")
def large(request: IRequest) -> Deferred[bytes]:
    return call(request, work.large)


@app.route("/cpu/")
def cpu(request: IRequest) -> Deferred[bytes]:
    return call(request, work.cpu)


@app.route("/sleep/<milliseconds>/")
def sleep(request: IRequest, milliseconds: str) -> Deferred[bytes]:
    return call(request, work.sleep, milliseconds)


@app.route("/where/")
def where(request: IRequest) -> Deferred[bytes]:
    return call(request, work.where)


if __name__ == "__main__":
    reactor.suggestThreadPoolSize(work.THREADS)
    reactor.listenTCP(work.PORT, Site(app.resource()), backlog=2048, interface="127.0.0.1")
    reactor.run()
