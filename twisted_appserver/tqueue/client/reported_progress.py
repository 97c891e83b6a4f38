"""What a client reports about a leased task. Needs the standard library only."""

from __future__ import annotations

import json
from typing import Any

LONGEST = 1000  # bytes; the server has the same limit


def checked_progress(value: Any) -> Any:
    """
    Return a copy of a value that can be reported.

    @raise ValueError: when it is too long, or contains a number that is not finite.
    @raise TypeError: when it cannot be sent as JSON.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if (size := len(text.encode())) > LONGEST:
        raise ValueError(f"progress is at most {LONGEST} bytes of JSON, not {size}")
    return json.loads(text)


class ReportedProgress:
    """
    The last report about one task. A report may arrive while an earlier one is being sent.

    @ivar unsent: whether the server does not have the last report.
    """

    __slots__ = ("_count", "_sent", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self._count = self._sent = 0  # how many reports there were, and which one the server has

    @property
    def unsent(self) -> bool:
        return self._count > self._sent

    def report(self, value: Any) -> None:
        """Record a report. Raises the same errors as L{checked_progress}."""
        self.value = checked_progress(value)
        self._count += 1

    def begin_sending(self) -> int:
        """Return the number of the last report, for L{was_sent}. Read C{value} after this."""
        return self._count

    def was_sent(self, number: int) -> None:
        """Record that the server has a report."""
        self._sent = max(self._sent, number)
