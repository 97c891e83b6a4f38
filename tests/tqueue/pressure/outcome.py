"""What a scenario has shown, and whether that is as it should be."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.support.queue_processes import Load
from tests.support.queue_records import Records, RecordsDisagree
from tests.support.queue_rules import check_groups, check_keys

COLUMNS = "{:16} {:>7} {:>7} {:>7} {:>10} {:>7} {:>5} {:>10} {:>8} {:>10}  {:15} {}"
HEADINGS = COLUMNS.format(
    "scenario", "before", "during", "after", "recovered", "tasks", "lost", "unexpected", "refused",
    "dead rows", "others' cores", "result",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """
    When a scenario passes.

    @ivar ratio: the part of the rate before that is enough.
    @ivar within: seconds from the end of the disturbance until this rate.
    @ivar dead_seconds: if dead rows must stay bounded, the bound: 100,000, or as many as the rate before
        makes in this time, if that is more. A task makes two: it is updated once, and deleted.
    """

    ratio: float = 0.8
    within: float = 10.0
    dead_seconds: float = 10.0

    def dead_rows(self, rate: float) -> int:
        """Return how many dead rows there may be. A table is rewritten when it has 50,000."""
        return max(100_000, int(2 * self.dead_seconds * rate))


@dataclass
class Outcome:
    """
    The figures of a scenario.

    @ivar before, during, after: tasks done per second.
    @ivar recovered: seconds from the end of the disturbance until the rate was back; C{None} if it was not.
    @ivar tasks: how many puts were acknowledged.
    @ivar lost: how many of them never came out.
    @ivar unexpected: how many deliveries were wrong.
    @ivar refused: how many tasks of the disturbance had no room for five seconds.
    @ivar dead_rows: the most dead rows at any time since the disturbance began.
    @ivar other_work: the processors that other processes used before, during and after the disturbance.
    @ivar problems: why the scenario has failed.
    """

    name: str
    before: float = 0.0
    during: float = 0.0
    after: float = 0.0
    recovered: float | None = None
    tasks: int = 0
    lost: int = 0
    unexpected: int = 0
    refused: int = 0
    dead_rows: int = 0
    other_work: tuple[float, ...] = ()
    problems: list[str] = field(default_factory=list)

    def count(self, records: Records, load: Load, begin: float, end: float) -> None:
        """
        Count what the records show.

        @param begin, end: of the disturbance.
        """
        lost, unknown = records.lost(), records.unknown()
        wrong = list(records.wrong_deliveries(Counter()))
        wrong += [f"{name} came out, but was not put" for name in unknown]
        if not lost and not wrong:  # otherwise these checks have no meaning
            wrong += _broken_rules(records, load)
        self.tasks, self.lost, self.unexpected = len(records.added()), len(lost), len(wrong)
        self.refused = sum(put.refused for put in records.puts.values() if begin <= put.tried <= end)
        if lost:
            self.problems.append(f"lost {min(lost)}")
        if wrong:
            self.problems.append(wrong[0].partition(": [")[0])  # without the deliveries

    def judge(self, limits: Limits, keeps_rate: bool, refuses: bool) -> None:
        """Compare the rates with the limits."""
        if self.recovered is None or self.recovered > limits.within:
            self.problems.append(f"below {limits.ratio} of the rate for {limits.within:.0f} s")
        if self.refused and not refuses:
            self.problems.append("puts were refused although there is no limit")
        if keeps_rate and self.during < limits.ratio * self.before:
            self.problems.append(f"{self.during / self.before:.2f} of the rate meanwhile")
        bound = limits.dead_rows(self.before)
        if keeps_rate and self.dead_rows > bound:
            self.problems.append(f"more than {bound} dead rows")

    def line(self) -> str:
        """Return the figures in one line, as L{HEADINGS} names them."""
        recovered = "never" if self.recovered is None else f"{self.recovered:.1f} s"
        rates = [f"{rate:.0f}" for rate in (self.before, self.during, self.after)]
        counts = (self.tasks, self.lost, self.unexpected, self.refused, self.dead_rows)
        others = " ".join(f"{number:.1f}" for number in self.other_work)
        result = "FAILED: " + "; ".join(self.problems) if self.problems else "passed"
        return COLUMNS.format(self.name, *rates, recovered, *counts, others, result)


def _broken_rules(records: Records, load: Load) -> list[str]:
    """Return a description of the first delivery that breaks a rule of the queue, if there is one."""
    try:
        if load.groups:
            check_groups(records, load.at_once, Counter())
        else:
            records.check_order(Counter())
        check_keys(records, Counter())
    except RecordsDisagree as error:
        return [str(error)]
    return []
