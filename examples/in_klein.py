"""An application below /api/ of a Klein application.

python examples/in_klein.py [PORT]
curl localhost:8084/
curl localhost:8084/api/person/get/123/
"""

import sys
from typing import Any

from klein import Klein
from twisted.internet import endpoints, reactor
from twisted.python.log import startLogging
from twisted.web.server import Site

from twisted_appserver import AppResource


def get_object(object_type: str, object_id: str) -> dict[str, Any]:
    return {"object_type": object_type, "object_id": object_id}


url_patterns = ((r"/(?P<object_type>)/get/(?P<object_id>)/", get_object),)

app = Klein()
api = AppResource(url_patterns, reactor)


@app.route("/")
def home(request: Any) -> str:
    return "A page of the Klein application.\n"


@app.route("/api/", branch=True)
def below_api(request: Any) -> AppResource:
    return api


if __name__ == "__main__":
    startLogging(sys.stderr, setStdout=False)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8084
    site = Site(app.resource())
    listening = endpoints.TCP4ServerEndpoint(reactor, port, interface="127.0.0.1").listen(site)
    listening.addCallback(lambda port: print(f"http://localhost:{port.getHost().port}/", flush=True))
    reactor.run()
