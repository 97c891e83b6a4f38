"""
The file of results.

It is a JSON object: C{figures[group][workload][server]} holds the rounds of one server, and the ratios
of the reference server to it, made when both were measured in the same run.  A workload that is measured
again replaces its earlier results.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rounds import Series
from benchmarks.workloads import Workload


def ratios(reference: Series, series: Series, figure: str) -> list[float]:
    """Divide the figure of the reference by the figure of the other server, for each round that has both."""
    pairs = zip(reference.rounds, series.rounds, strict=False)
    return [ours[figure] / peer[figure] for ours, peer in pairs if ours and peer and peer[figure]]


@dataclass
class Entry:
    """The saved results of one server under one workload."""

    rounds: list[dict[str, float]]
    ratios: list[float]
    failed: str | None
    when: str
    seconds: float

    def names(self) -> list[str]:
        """Return the names of the figures."""
        return [name for name in (self.rounds[0] if self.rounds else ()) if name != "errors"]

    def median(self, name: str) -> float:
        """Return the median of a figure."""
        return median(one[name] for one in self.rounds)

    def ratio(self) -> float | None:
        """Return the median of the ratios."""
        return median(self.ratios) if self.ratios else None

    def errors(self) -> int:
        """Return the number of errors in all rounds."""
        return int(sum(one["errors"] for one in self.rounds))


@dataclass
class Results:
    """The results of all runs so far."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    def load(self) -> "Results":
        """Read the file, if it exists."""
        if self.path.exists():
            self.content = json.loads(self.path.read_text())
        return self

    def save(self) -> None:
        """Write the file atomically."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.content, indent=1))
        fresh.replace(self.path)

    def describe(self, machine: Mapping[str, str], versions: Mapping[str, str]) -> None:
        """Record the machine and the versions of the last run."""
        self.content["machine"] = dict(machine)
        self.content["versions"] = dict(versions)

    def put(self, workload: Workload, series: Mapping[str, Series], when: str, seconds: float
    ) -> None:  # fmt: skip
        """
        Save the servers of a workload.

        @param series: the series of each server, by its name.
        @param when: the date, as text.
        """
        group = self.content.setdefault("figures", {}).setdefault(workload.group, {})
        entries = group.setdefault(workload.name, {})
        reference = series.get(workload.servers[0], Series())
        for name, one in series.items():
            entries[name] = {
                "rounds": [figures for figures in one.rounds if figures],
                "ratios": ratios(reference, one, workload.figure),
                "failed": one.failed,
                "when": when,
                "seconds": seconds,
            }

    def entries(self, workload: Workload) -> dict[str, Entry]:
        """Return the results of each server, in the order of the workload."""
        group = self.content.get("figures", {}).get(workload.group, {})
        found = group.get(workload.name, {})
        return {name: Entry(**found[name]) for name in workload.servers if name in found}
