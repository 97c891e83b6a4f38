"""Clients that record each request and its outcome."""

from __future__ import annotations

import http.client
import json
import random
import threading
from collections import Counter
from functools import partial

from tests.faults.repeating_threads import RepeatingThreads

# Calls of each function among a thousand calls.
WEIGHTS = {
    "quick": 880,
    "slow": 90,
    "large": 10,
    "prints": 8,
    "raises": 6,
    "leaks": 3,
    "hangs": 1,
    "crashes": 2,
}
PATIENCE = 30.0  # seconds to wait for a response
TURNED_AWAY = -2  # the outcome if a new connection was closed without a response


class Load(RepeatingThreads):
    """
    Many concurrent clients. When they have stopped, every request has its outcome.

    @param forked: whether functions may end their process.
    @ivar outcomes: the status of the response to each request, by the number of the request; 0 for a wrong
        response, -1 for none, or L{TURNED_AWAY}.
    """

    def __init__(self, port: int, clients: int, seed: int, forked: bool) -> None:
        self._port, self._forked = port, forked
        self._lock = threading.Lock()
        self._last = 0
        self.outcomes: dict[int, int] = {}
        self.functions: dict[int, str] = {}
        self.strange: list[str] = []
        super().__init__(partial(self._ask, random.Random(seed * 1000 + number)) for number in range(clients))

    def counts(self) -> dict[str, Counter[int]]:
        """Return how often each function had each outcome."""
        found: dict[str, Counter[int]] = {}
        for number, status in self.outcomes.items():
            found.setdefault(self.functions[number], Counter())[status] += 1
        return found

    def _ask(self, chance: random.Random) -> None:
        names = [name for name in WEIGHTS if self._forked or name not in ("crashes", "leaks")]
        weights = [WEIGHTS[name] for name in names]
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE)
        while not self.stopping.is_set():
            with self._lock:
                self._last += 1
                number = self._last
            (name,) = chance.choices(names, weights)
            self.functions[number] = name
            fresh = connection.sock is None
            try:
                connection.request("GET", f"/{name}/{number}")
                answer = connection.getresponse()
                body = json.loads(answer.read())
                right = answer.status != 200 or (body["number"], body["double"]) == (number, 2 * number)
                self.outcomes[number] = answer.status if right else 0
                if not right:
                    self.strange.append(f"{name} {number}: {str(body)[:200]}")
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                turned_away = fresh and isinstance(error, ConnectionError)  # no descriptor was left
                self.outcomes[number] = TURNED_AWAY if turned_away else -1
                if not turned_away:
                    self.strange.append(f"{name} {number}: {error!r}")
                connection.close()
        connection.close()
