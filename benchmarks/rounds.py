"""
Rounds in which all servers take turns.

Strategy: the speed of a machine drifts, so only figures of the same round are compared.  In each
round every server of a group is started, checked, warmed up, measured and stopped; the next round
begins with the next server.  A server that fails is left out of the following rounds.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from benchmarks import measure
from benchmarks.checks import check
from benchmarks.launcher import Running, ServerFailed
from benchmarks.measure import Figures
from benchmarks.peers import BY_NAME, Server
from benchmarks.workloads import Workload

WARM_UP = 1.0


@dataclass
class Series:
    """The figures of one server under one workload: one entry for each round, None for a failure."""

    rounds: list[Figures | None] = field(default_factory=list)
    failed: str | None = None


@dataclass
class Group:
    """
    The workloads of one group.

    @ivar rounds: the number of rounds.
    @ivar seconds: the length of one measurement.
    @ivar loops: the value of C{BENCH_CPU_LOOPS}.
    """

    workloads: Sequence[Workload]
    rounds: int
    seconds: float
    loops: str
    series: dict[tuple[str, str], Series] = field(default_factory=dict)

    def servers(self, number: int) -> list[Server]:
        """Return the servers in the order of this round."""
        names = list(dict.fromkeys(name for one in self.workloads for name in one.servers))
        turn = number % len(names)
        return [BY_NAME[name] for name in names[turn:] + names[:turn]]

    def run(self) -> Iterator[str]:
        """Run all rounds, and yield a line of text for each measurement."""
        for number in range(self.rounds):
            due = [one for one in self.workloads if number < one.rounds]
            for server in self.servers(number) if due else ():
                wanted = [one for one in due if server.name in one.servers]
                for told, batch in groupby(wanted, lambda one: one.environment):
                    variables = {**told, "BENCH_CPU_LOOPS": self.loops}
                    yield from self.start(server, variables, list(batch), number)

    def start(
        self, server: Server, variables: dict[str, str], batch: list[Workload], number: int
    ) -> Iterator[str]:
        """Start a server once, and measure the workloads that need the same environment."""
        keys = [(one.name, server.name) for one in batch]
        for key in keys:
            self.series.setdefault(key, Series()).rounds.append(None)
        if any(self.series[key].failed for key in keys):
            return
        done = 0
        try:
            for figures in self.measure(server, variables, batch):
                self.series[keys[done]].rounds[-1] = figures
                yield line(number, batch[done], server, figures)
                done += 1
        except (ServerFailed, OSError, ValueError, KeyError) as error:
            for key in keys[done:]:
                self.series[key].failed = f"{type(error).__name__}: {error}"
            yield f"round {number + 1}  {server.name}: {error}"

    def measure(self, server: Server, variables: dict[str, str], batch: list[Workload]) -> Iterator[Figures]:
        """Yield the figures of each workload."""
        if server.place == "bare":
            for workload in batch:
                yield measure.bare(workload, self.seconds * workload.share, variables)
            return
        with Running(server, variables) as running:
            if server.speaker:
                for what in ("check", "cycle"):
                    measure.queue(running, dataclasses.replace(batch[0], path=what), WARM_UP)
            else:
                check(running, batch)
                measure.start(running, batch[0], WARM_UP).result()
            for workload in batch:
                kind = measure.KINDS[workload.kind]
                yield kind(running, workload, self.seconds * workload.share)


def line(number: int, workload: Workload, server: Server, figures: Figures) -> str:
    """Format a measurement."""
    figure = f"{figures[workload.figure]:,.1f} {workload.figure}"
    errors = f", {figures['errors']:.0f} errors" if figures["errors"] else ""
    return f"round {number + 1}  {workload.group}/{workload.name}  {server.name}: {figure}{errors}"
