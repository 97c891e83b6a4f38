"""Calls a service from Twisted; start examples/article.py first.

python examples/calling.py [URL]
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from twisted_appserver.client import AppClient, Problem


async def main(reactor: Any, url: str = "http://localhost:8081") -> None:
    client = AppClient(url)
    print(await client.call("/person/get/123/"))

    # Several at the same time.
    calls = [client.call(f"/person/get/{number}/") for number in range(3)]
    print(await gatherResults([Deferred.fromCoroutine(call) for call in calls]))

    # Keyword arguments are sent as JSON. An error response is raised as an exception.
    try:
        await client.call("/nothing/here/", colour="red")
    except Problem as problem:
        print(f"{problem.status}: {problem.detail}")


if __name__ == "__main__":
    react(main, sys.argv[1:])
