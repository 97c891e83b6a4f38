"""A proxy that sometimes cuts a connection in the middle of a response.

Usage: python -m tests.support.cutting_proxy URL SEED
"""

from __future__ import annotations

import random
import sys
from typing import Any
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.protocols import portforward

CUT = 0.005  # probability for each piece of a response


class CuttingClient(portforward.ProxyClient):
    def dataReceived(self, data: bytes) -> None:
        if random.random() < CUT:
            self.peer.transport.write(data[: random.randrange(len(data))])  # type: ignore[union-attr]
            self.peer.transport.loseConnection()  # type: ignore[union-attr]
            self.transport.abortConnection()  # type: ignore[union-attr]
        else:
            super().dataReceived(data)


class CuttingClientFactory(portforward.ProxyClientFactory):
    protocol = CuttingClient  # type: ignore[assignment]


class CuttingProxy(portforward.ProxyServer):
    clientProtocolFactory = CuttingClientFactory


class CuttingProxyFactory(portforward.ProxyFactory):
    protocol = CuttingProxy  # type: ignore[assignment]


def main(url: str, seed: int) -> None:
    random.seed(seed)
    here: Any = reactor
    server = urlsplit(url)
    listening = here.listenTCP(
        0, CuttingProxyFactory(str(server.hostname), server.port or 80), interface="127.0.0.1"
    )
    print(listening.getHost().port, flush=True)
    here.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
