"""What a server has counted since its last report, and the sums of such reports."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from msgspec import structs

from twisted_appserver.admin.counts import CountedDurations, Counts, Second
from twisted_appserver.admin.faults import FaultGroup, Faults

HISTORY = 600  # seconds that are kept
COMPLETE_AFTER = 2.0  # seconds after which all servers have reported a second
SUMS = ("completed", "failed", "restarts", "server_restarts")
JITTER = 0.2  # seconds by which the clock of a server may be late
By = dict[tuple[str, str], CountedDurations]


class Increments:
    """
    Divide the counts of a server into reports: their sum is what the server has counted.

    @param take: returns all counts since the start of the server.
    """

    def __init__(self, take: Callable[[], Counts]) -> None:
        self._take = take
        self._before = Counts()
        self._calls: By = {}
        self._attempts: By = {}
        self._faults: dict[tuple[str, str, str], FaultGroup] = {}
        self._last = self._phase = 0.0

    def next(self) -> Counts:
        """Return what was counted since this was called last."""
        now, before = self._take(), self._before
        self._before = now
        increment = Counts(now.started, now.counted_since, now.not_counted)
        for name in SUMS:
            setattr(increment, name, max(0, getattr(now, name) - getattr(before, name)))
        increment.calls, self._calls = _durations_since(now.calls, self._calls)
        increment.attempts, self._attempts = _durations_since(now.attempts, self._attempts)
        increment.faults = [_fault_since(each, self._faults.get(each.key)) for each in now.faults]
        increment.faults = [each for each in increment.faults if each.count]
        self._faults = {each.key: each for each in now.faults}
        increment.history = [self._numbered(each) for each in now.history if each.time > self._last]
        self._last = now.history[-1].time if now.history else self._last
        for name, counts in now.queues.items():
            last = before.queues.get(name, {})
            # A queue that was deleted and made again counts from zero.
            grown = {
                what: count - last.get(what, 0) * (count >= last.get(what, 0))
                for what, count in counts.items()
            }
            if any(grown.values()):
                increment.queues[name] = grown
        return increment

    def _numbered(self, second: Second) -> Second:
        """Give a second a whole number. The clock of a server ticks at any fraction of a second."""
        if JITTER < (second.time - self._phase) % 1 < 1 - JITTER:
            self._phase = second.time % 1
        return structs.replace(second, time=round(second.time - self._phase))


def _durations_since(now: Iterable[CountedDurations], before: By) -> tuple[list[CountedDurations], By]:
    """Return what was added, and all durations for the next time."""
    known = {(each.name, each.kind): each for each in now}
    added = []
    for key, each in known.items():
        last = before.get(key)
        if last is None:
            added.append(each)
        elif last.counts != each.counts:
            counts = [count - earlier for count, earlier in zip(each.counts, last.counts, strict=True)]
            added.append(CountedDurations(*key, each.first, counts, each.total - last.total))
    return added, known


def _fault_since(now: FaultGroup, before: FaultGroup | None) -> FaultGroup:
    """Return the failures of a group that were added. A group that was forgotten meanwhile is a new one."""
    if before is None or before.first != now.first:
        return now
    return replace(now, count=now.count - before.count)


class Sums:
    """Add the reports of all servers. What a server has reported stays in the sum when the server ends."""

    def __init__(self) -> None:
        self._sums = Counts()
        self._calls: By = {}
        self._attempts: By = {}
        self._faults = Faults()
        self._history: dict[float, Second] = {}

    def add(self, report: Counts) -> None:
        """Add a report that L{Increments} has made."""
        sums = self._sums
        for name in SUMS:
            setattr(sums, name, getattr(sums, name) + getattr(report, name))
        for name in ("started", "counted_since"):
            known = [value for value in (getattr(sums, name), getattr(report, name)) if value]
            setattr(sums, name, min(known, default=0.0))
        sums.not_counted = max(sums.not_counted, report.not_counted)
        _add_durations(self._calls, report.calls)
        _add_durations(self._attempts, report.attempts)
        for fault in report.faults:
            self._faults.add_group(fault)
        for queue, counts in report.queues.items():
            known_counts = sums.queues.setdefault(queue, {})
            for what, count in counts.items():
                known_counts[what] = known_counts.get(what, 0) + count
        self._add_history(report.history)

    def _add_history(self, seconds: list[Second]) -> None:
        history = self._history
        for each in seconds:
            known = history.get(each.time)
            history[each.time] = each if known is None else _second_of_both(each, known)
        for time in sorted(history)[:-HISTORY]:
            del history[time]

    def counts(self, now: float, since: float = 0.0, tracebacks: bool = True) -> Counts:
        """
        Return the sums.

        @param now: seconds since the epoch. Seconds that not all servers may have reported are left out of
            the history.
        @param since: only the history after this time.
        @param tracebacks: whether the tracebacks of failures are included.
        """
        times = [time for time in sorted(self._history) if since < time <= now - COMPLETE_AFTER]
        history = [self._history[time] for time in times]
        sums, faults = self._sums, self._faults.groups
        if not tracebacks:
            faults = [replace(each, traceback="") for each in faults]
        calls, attempts = [*self._calls.values()], [*self._attempts.values()]
        return structs.replace(sums, calls=calls, attempts=attempts, faults=faults, history=history)


def _second_of_both(one: Second, other: Second) -> Second:
    counts = [sum(pair) for pair in zip(one.counts, other.counts, strict=True)]
    running, pending = one.running + other.running, one.pending + other.pending
    return Second(one.time, one.refused + other.refused, one.failed + other.failed, running, pending, counts)


def _add_durations(sums: By, added: Iterable[CountedDurations]) -> None:
    for each in added:
        key = each.name, each.kind
        if (known := sums.get(key)) is not None:
            counts = [sum(pair) for pair in zip(known.counts, each.counts, strict=True)]
            each = CountedDurations(*key, each.first, counts, known.total + each.total)
        sums[key] = each
