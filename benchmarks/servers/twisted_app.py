"""twisted.web without additions: one leaf resource, one regular expression, C{deferToThread}."""

import json
import re
from typing import Any

import work
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

GET = re.compile(rb"/([^/]+)/get/([^/]+)/")
SLEEP = re.compile(rb"/sleep/([^/]+)/")
PLAIN = {b"/large/": work.large, b"/cpu/": work.cpu, b"/where/": work.where}


def find(path: bytes, body: bytes) -> Any:
    """Return the function that the path names, and its arguments."""
    if match := GET.fullmatch(path):
        return work.get_object(*(group.decode() for group in match.groups()))
    if match := SLEEP.fullmatch(path):
        return work.sleep(match[1].decode())
    if path == b"/echo/":
        return work.echo(**json.loads(body))
    return PLAIN[path]()


class Application(Resource):
    """A resource that calls every function in a thread."""

    isLeaf = True

    def render(self, request: Request) -> int:
        """Hand the request to the thread pool."""
        body = request.content.read()
        answer = deferToThread(lambda: json.dumps(find(request.path, body)).encode())
        answer.addCallbacks(self.reply, self.fail, (request,), errbackArgs=(request,))
        return NOT_DONE_YET

    def reply(self, body: bytes, request: Request) -> None:
        """Respond with JSON."""
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"content-length", b"%d" % len(body))
        request.write(body)
        request.finish()

    def fail(self, failure: Any, request: Request) -> None:
        """Respond with 404 for an unknown path, or with 500 if the function failed."""
        request.setResponseCode(404 if failure.check(KeyError) else 500)
        request.finish()


if __name__ == "__main__":
    reactor.suggestThreadPoolSize(work.THREADS)
    reactor.listenTCP(work.PORT, Site(Application()), backlog=2048, interface="127.0.0.1")
    reactor.run()
