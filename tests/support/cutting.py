"""A proxy that cuts connections in the middle of an answer, now and then: python -m ... URL SEED."""

from __future__ import annotations

import random
import sys
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.protocols import portforward

CUT = 0.005  # of all pieces of answers


class Client(portforward.ProxyClient):
    def dataReceived(self, data: bytes) -> None:
        if random.random() < CUT:
            self.peer.transport.write(data[: random.randrange(len(data))])  # type: ignore[union-attr]
            self.peer.transport.loseConnection()  # type: ignore[union-attr]
            self.transport.abortConnection()  # type: ignore[union-attr]
        else:
            super().dataReceived(data)


class ClientFactory(portforward.ProxyClientFactory):
    protocol = Client  # type: ignore[assignment]


class Side(portforward.ProxyServer):
    clientProtocolFactory = ClientFactory


class Factory(portforward.ProxyFactory):
    protocol = Side  # type: ignore[assignment]


def main(url: str, seed: int) -> None:
    random.seed(seed)
    here: Any = reactor
    server = urlsplit(url)
    listening = here.listenTCP(0, Factory(str(server.hostname), server.port or 80), interface="127.0.0.1")
    print(listening.getHost().port, flush=True)
    here.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
