"""Follows long work from Twisted; start examples/long_work.py first.

python examples/following.py [URL [LIMIT]]
"""

import sys
from typing import Any

from twisted.internet.task import react

from twisted_appserver.client import AppClient, Problem

WIDTH = 40


def bar(item: dict[str, Any]) -> None:
    """Draw a progress bar over the previous one."""
    filled = WIDTH * item["done"] // item["total"]
    print(f"\r[{'#' * filled:{WIDTH}}] {item['primes']} primes", end="", file=sys.stderr, flush=True)


async def main(reactor: Any, url: str = "http://localhost:8081", limit: str = "200000") -> None:
    client = AppClient(url)

    # Read item after item; the work stops if we stop reading.
    async for item in client.stream(f"/primes/{limit}/"):
        bar(item)
    print(f"\nread: {item['primes']} primes below {limit}")

    # As a job: it continues even if this program ends. Poll it ten times a second.
    job = await client.job(f"/primes/{limit}/")
    result = await job.wait(
        reactor, lambda seen: bar(seen["progress"]) if seen.get("progress") else None, 0.1
    )
    print(f"\njob: {result['primes']} primes below {limit}")

    # A job can be cancelled.
    job = await client.job("/primes/10000000/")
    print((await job.cancel())["state"])
    try:
        await job.wait(reactor)
    except Problem as problem:
        print(f"{problem.status}: {problem.detail}")


if __name__ == "__main__":
    react(main, sys.argv[1:])
