"""Light functions in threads, and a heavy one in worker processes, so that it delays no other call.

Start it, run `curl localhost:8081/primes/5000000/`, and meanwhile `curl localhost:8081/greet/Ada/` in another
terminal. Both functions show the process that they ran in.
"""

import os

import twisted_appserver as appserver


def greet(name: str) -> dict:
    """Greet somebody. This runs in a thread of the server."""
    return {"hello": name, "process": os.getpid()}


def primes(limit: int) -> dict:
    """Count the primes below a limit. This runs in a worker process, which is killed at the time limit."""
    sieve = bytearray([1]) * max(2, limit)
    sieve[:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, len(sieve), number)))
    return {"primes": sum(sieve), "process": os.getpid()}


url_patterns = (
    (r"/greet/(?P<name>)/", greet),
    appserver.Route(r"/primes/(?P<limit>)/", primes, executor="processes", timeout=20),
)

if __name__ == "__main__":
    appserver.run_server(port=8081, workers=2)
