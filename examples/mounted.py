"""An application below /api/ of a twisted.web Site that has other resources too.

python examples/mounted.py [PORT]
curl localhost:8083/
curl localhost:8083/api/person/get/123/
"""

import sys
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.python.log import startLogging
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from twisted_appserver import AppResource


def get_object(object_type: str, object_id: str) -> dict[str, Any]:
    return {"object_type": object_type, "object_id": object_id}


url_patterns = ((r"/(?P<object_type>)/get/(?P<object_id>)/", get_object),)


def make_site() -> Site:
    root = Resource()
    root.putChild(b"", Data(b"The site that was there before.\n", "text/plain"))
    root.putChild(b"api", AppResource(url_patterns, reactor))
    return Site(root)


if __name__ == "__main__":
    startLogging(sys.stderr, setStdout=False)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8083
    listening = endpoints.TCP4ServerEndpoint(reactor, port, interface="127.0.0.1").listen(make_site())
    listening.addCallback(lambda port: print(f"http://localhost:{port.getHost().port}/", flush=True))
    reactor.run()
