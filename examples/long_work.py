"""Long-running work: a generator yields its progress. Start it, and then examples/following.py.

Open http://localhost:8081/-/docs too: there, a job has a progress bar. Or see the items as they are made:
`curl -N localhost:8081/primes/100000/`
"""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

import twisted_appserver as appserver

STEPS = 20


def primes(limit: Annotated[int, Meta(ge=1, le=10_000_000)]) -> Iterator[dict]:
    """Count the primes below a limit, in steps."""
    found: list[int] = []
    for step in range(1, STEPS + 1):
        for number in range(max(2, limit * (step - 1) // STEPS), limit * step // STEPS):
            root = int(number**0.5)
            for prime in found:
                if prime > root:
                    found.append(number)
                    break
                if number % prime == 0:
                    break
            else:
                found.append(number)
        yield {"done": step, "total": STEPS, "primes": len(found)}


url_patterns = ((r"/primes/(?P<limit>\d+)/", primes),)

if __name__ == "__main__":
    appserver.run_server(port=8081, server_type=appserver.FORKED_SERVER)
