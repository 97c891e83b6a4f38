"""Checks of the rules of a queue by its records: groups, unique keys, and pauses after failures."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import inf

from tests.support.queue_processes import LEASE
from tests.support.queue_records import NONE, Delivery, Records, RecordsDisagree

ROUNDING = 0.01  # seconds
Moments = Sequence[tuple[float, float]]


def check_groups(records: Records, at_once: int, counts: Counter[str]) -> None:
    """
    Check the order within each group, and how many of its tasks were under way at the same time.

    @raise RecordsDisagree: when a task was handed out before enough earlier ones of its group had ended.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for name in records.got:
        groups[records.puts[name].group].append(name)
    groups.pop(NONE, None)
    for group, names in groups.items():
        counts["groups"] += 1
        counts["in groups"] += len(names)
        spans = {name: records.under_way(name) for name in names}
        most = _most_at_once(spans.values())
        counts["groups that were busy"] += most == at_once
        if most > at_once:
            raise RecordsDisagree(f"{most} tasks of {group} were under way at the same time: {spans}")
        for name in names:
            waiting = [each for each in _earlier(records, name, names) if spans[each][1] > spans[name][0]]
            counts["in order of a group"] += 1
            if len(waiting) >= at_once:
                raise RecordsDisagree(
                    f"{name} of {group} was handed out at {spans[name]} before the end of "
                    f"{ {each: spans[each] for each in waiting} }, which were put earlier"
                )


def _most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """Return how many of these spans of time have a common moment, at most."""
    events = sorted(each for begin, end in spans for each in ((begin, 1), (end, -1)))
    return max(itertools.accumulate(change for _, change in events))


def _earlier(records: Records, name: str, names: Iterable[str]) -> list[str]:
    """Return which of these tasks were certainly put before a task."""
    put, (producer, _, number) = records.puts[name], name.rpartition(".")
    found = []
    for each in names:
        other, _, its_number = each.rpartition(".")
        added = records.puts[each].added
        if added < put.tried or (added < inf and other == producer and int(its_number) < int(number)):
            found.append(each)
    return found


def check_keys(records: Records, counts: Counter[str]) -> None:
    """
    Check the unique keys.

    @raise RecordsDisagree: when two tasks with a key waited or ran at the same time, or nothing was added
        although no task had the key.
    """
    by_key: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for name in records.got:
        put, (given, end) = records.puts[name], records.under_way(name)
        by_key[put.key].append((min(put.added, given), end, name))
    by_key.pop(NONE, None)
    for key, spans in by_key.items():
        counts["with unique keys"] += len(spans)
        for (_, end, one), (begin, _, other) in itertools.pairwise(sorted(spans)):
            if begin < end:
                raise RecordsDisagree(f"{one} and {other} had the key {key} at the same time: {spans}")
    for name, put in records.puts.items():
        if put.existing:
            counts["existing"] += 1
            _check_existing(records, name)


def _check_existing(records: Records, name: str) -> None:
    """Check that the task because of which nothing was added may have had the key then."""
    put, existing = records.puts[name], records.names.get(records.puts[name].existing, name)
    if existing == name or records.puts[existing].key != put.key:
        raise RecordsDisagree(f"{name} was not added because of {existing}: {put}")
    last = records.got[existing][-1]
    if put.answered < records.puts[existing].tried or last.ended < put.tried:
        raise RecordsDisagree(f"{name}, {put}, was not added because of {existing}, which ended: {last}")


def check_pauses(records: Records, jumps: Moments, counts: Counter[str]) -> None:
    """
    Check that a task that failed was not delivered again before its pause was over.

    @param jumps: when the clock of servers and database was set. That may end pauses.
    @raise RecordsDisagree: when a task was delivered too early, or the response contained another pause.
    """
    for name, deliveries in records.got.items():
        for one, other in itertools.pairwise(deliveries):
            if one.verb != "fail":
                continue
            _check_answer(name, one)
            if _any_within(jumps, one.ending, other.given):
                counts["pauses with a clock set"] += 1
                continue
            counts["pauses"] += 1
            if other.given < _earliest(one) - ROUNDING:
                raise RecordsDisagree(f"{name} was given out before its pause was over: {deliveries}")


def _earliest(delivery: Delivery) -> float:
    """Return the earliest time for another delivery after one that failed. Perhaps its lease ended first."""
    rested = delivery.ending + delivery.pause
    return rested if delivery.failed else min(rested, delivery.asked + LEASE)


def _check_answer(name: str, delivery: Delivery) -> None:
    if delivery.answer not in (NONE, str(delivery.pause)):
        raise RecordsDisagree(f"{name} got another pause than {delivery.pause}: {delivery}")


def _any_within(moments: Moments, begin: float, end: float) -> bool:
    """Return whether one of these moments, each with a begin and an end, in order, is within a time."""
    place = bisect_left(moments, begin, key=lambda moment: moment[1])
    return place < len(moments) and moments[place][0] <= end
