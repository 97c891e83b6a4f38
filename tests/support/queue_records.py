"""The records of the producers and consumers of one queue, see L{tests.support.queue_processes}.

All times are those of C{time.time()} in processes on one machine. A step is recorded before its request, and
again after the response. So the server has done it between these two times.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

from tests.support.queue_processes import LEASE
from twisted_appserver.tqueue.client import NoResult, Queue

NONE = "-"  # in a record, for no group, no key or no pause


class RecordsDisagree(Exception):
    """Raised when the records do not agree."""


@dataclass
class Put:
    """
    The put of a task.

    @ivar tried: when it began.
    @ivar group, key: the group and the unique key of the task; C{NONE} for none.
    @ivar added: when it was acknowledged that the task was added; infinite if it was not.
    @ivar existing: the id of the task that has the key, if nothing was added for that reason.
    @ivar answered: when this was known.
    """

    tried: float
    group: str = NONE
    key: str = NONE
    added: float = inf
    refused: bool = False
    existing: str = ""
    answered: float = inf


@dataclass
class Delivery:
    """
    A delivery of a task to a consumer.

    @ivar number: 1 for the first delivery of the task.
    @ivar asked, given: when the request for it began and ended.
    @ivar verb: how the consumer ended it: C{done}, C{fail} or C{bury}; empty if it was killed before.
    @ivar ending: when the request for that began; infinite if there was none.
    @ivar ended: when that was acknowledged; infinite if it was not.
    @ivar pause: the seconds for which a task that failed must rest.
    @ivar answer: the pause in the response; C{NONE} for none.
    """

    number: int
    asked: float
    given: float
    who: str
    verb: str = ""
    ending: float = inf
    ended: float = inf
    pause: float = 0.0
    answer: str = NONE

    @property
    def failed(self) -> bool:
        """Whether it has certainly failed."""
        return self.verb == "fail" and self.ended < inf


@dataclass
class Records:
    """
    The records of a queue.

    @ivar puts: by the names of the tasks.
    @ivar got: the deliveries of each task by their numbers, by the names of the tasks.
    @ivar names: the names of the tasks by their ids.
    """

    puts: dict[str, Put] = field(default_factory=dict)
    got: dict[str, list[Delivery]] = field(default_factory=lambda: defaultdict(list))
    names: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str) -> Records:
        """Read the files of all processes in a folder."""
        records = cls()
        for path in glob.glob(os.path.join(folder, "*")):
            with open(path) as file:
                for line in file:
                    records.enter(os.path.basename(path), *line.split())
        for deliveries in records.got.values():
            deliveries.sort(key=lambda each: (each.number, each.given))
        return records

    def enter(self, who: str, what: str, name: str, *words: str) -> None:
        """Enter one line of a process."""
        if what == "got":
            number, asked, given, task_id = words
            self.got[name].append(Delivery(int(number), float(asked), float(given), who))
            self.names[task_id] = name
        elif what == "try":
            self.puts[name] = Put(float(words[0]), *words[1:])
        elif what == "ack":
            self.puts[name].added = float(words[0])
            self.names[words[1]] = name
        elif what == "exists":
            self.puts[name].answered, self.puts[name].existing = float(words[0]), words[1]
        elif what == "refused":
            self.puts[name].refused = True
        elif what != "lost":
            self._enter_end(who, what, name, *words)

    def _enter_end(self, who: str, what: str, name: str, number: str, at: str, *words: str) -> None:
        delivery = next(each for each in self.got[name] if each.who == who and each.number == int(number))
        if what == "ended":
            delivery.ended, delivery.answer = float(at), words[0]
        else:
            delivery.verb, delivery.ending = what, float(at)
            delivery.pause = float(words[0]) if words else 0.0

    def under_way(self, name: str) -> tuple[float, float]:
        """
        Return from when to when a task was certainly under way: handed out, and neither done nor buried.

        A delivery after the last one that was received would have ended with its lease, so the last one that
        was received has ended the task.
        """
        deliveries = self.got[name]
        return min(each.given for each in deliveries), deliveries[-1].ending

    def check(self, counts: Counter[str]) -> None:
        """
        Check that the records agree.

        @raise RecordsDisagree: when an acknowledged put was lost, a task was delivered that was not put or
            was refused, a task was delivered again before its lease ended or it failed, or after it had
            ended, join returned before all tasks were done, or tasks were delivered in the wrong order.
        """
        counts["acknowledged"] += len(self.added())
        if lost := self.lost():
            raise RecordsDisagree(f"{len(lost)} acknowledged puts are lost, like {min(lost)}")
        if unknown := self.unknown():
            raise RecordsDisagree(f"{len(unknown)} tasks came out that were not put, like {min(unknown)}")
        early = {name for name, deliveries in self.got.items() if deliveries[-1].verb not in ("done", "bury")}
        if early:
            raise RecordsDisagree(f"join ended while {len(early)} tasks were not done, like {min(early)}")
        for wrong in self.wrong_deliveries(counts):
            raise RecordsDisagree(wrong)

    def added(self) -> set[str]:
        """Return the tasks whose puts were acknowledged."""
        return {name for name, put in self.puts.items() if put.added < inf}

    def lost(self) -> set[str]:
        """Return the tasks whose puts were acknowledged, and that were never delivered."""
        return self.added() - self.got.keys()

    def unknown(self) -> set[str]:
        """Return the tasks that were delivered and never put, or although they were refused."""
        refused = {name for name, put in self.puts.items() if put.refused or put.existing}
        return self.got.keys() - self.puts.keys() | self.got.keys() & refused

    def wrong_deliveries(self, counts: Counter[str]) -> Iterator[str]:
        """Describe each task that was delivered again too early, or after its end."""
        for name, deliveries in self.got.items():
            counts["answers lost"] += deliveries[-1].number - len(deliveries)
            for one, other in itertools.pairwise(deliveries):
                counts["delivered again"] += 1
                late = one.asked + LEASE * (other.number - one.number) - 0.01
                if one.number == other.number:
                    yield f"{name} was given out twice in one delivery: {deliveries}"
                elif one.verb in ("done", "bury") and one.ended < inf:
                    yield f"{name} was given out again after its end: {deliveries}"
                elif other.given < late and one.verb != "fail":
                    yield f"{name} was given out again too early: {deliveries}"

    def check_order(self, counts: Counter[str]) -> None:
        """
        Check the order of a queue without groups, failures aside.

        @raise RecordsDisagree: when tasks were delivered in the wrong order.
        """
        by_producer: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for name in (name for name, put in self.puts.items() if put.added < inf):
            producer, _, number = name.rpartition(".")
            by_producer[producer].append((int(number), name))
        for names in by_producer.values():
            first_got = inf  # the earliest get of tasks that the same producer put later
            for _, name in sorted(names, reverse=True):
                delivery = self.got[name][0]
                if delivery.number == 1:
                    counts["in order"] += 1
                    if first_got < delivery.asked:
                        raise RecordsDisagree(f"a task that was put after {name} came out before it")
                    first_got = min(first_got, delivery.given)

    def check_results(self, queue: Queue, counts: Counter[str]) -> None:
        """
        Check what the server keeps of the tasks.

        @raise RecordsDisagree: when the result of a task is missing or wrong, a buried task is not buried, or
            a failure that was acknowledged is not recorded.
        """
        for task_id, name in self.names.items():
            deliveries, found = self.got[name], ""
            try:
                result = queue.result(task_id, timeout=0)
            except NoResult as error:
                found = error.state
            if deliveries[-1].verb == "bury":
                counts["buried"] += 1
                if found != "buried":
                    raise RecordsDisagree(f"{name} was buried, but is {found or result!r}")
            elif found or result != {"of": name}:
                raise RecordsDisagree(f"the result of {name} is {found or result!r}")
            counts["results"] += 1
            failed = {f"no {name} at {each.number}" for each in deliveries if each.failed}
            if not failed:
                continue
            attempts = queue.show(task_id)["attempts"]
            if missing := failed - {each.get("error") for each in attempts}:
                raise RecordsDisagree(f"{missing} are not among {attempts}")
            counts["failures"] += len(failed)
