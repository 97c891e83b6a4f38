"""Runs one scenario: a steady load, the disturbance, its end, and a check of all records."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

from tests.support.postgres import PostgreSQL
from tests.support.queue_processes import LOADS
from tests.support.queue_records import Records
from tests.tqueue.pressure.load import LoadFailed
from tests.tqueue.pressure.outcome import Limits, Outcome
from tests.tqueue.pressure.scenarios import SCENARIOS
from tests.tqueue.pressure.stage import CHECK_INTERVAL, DRAIN_LIMIT, NotDrained, Stage

PATIENCE = 120.0  # seconds for which clients repeat a request, besides the length of the disturbance


@dataclass(frozen=True)
class Settings:
    """
    How scenarios run. All times are in seconds.

    @ivar warm_up: after the first task is done, until rates are measured.
    @ivar before, disturbance: how long each lasts.
    @ivar after: how long the rate after the disturbance is measured, at least.
    @ivar window: the time over which the rate must be back.
    @ivar rate: tasks per second that are put, apart from the disturbance; infinity for as many as possible.
    @ivar kind: what is put, one of L{tests.support.queue_processes.LOADS}.
    """

    warm_up: float = 3.0
    before: float = 10.0
    disturbance: float = 30.0
    after: float = 12.0
    window: float = 2.0
    rate: float = inf
    kind: str = "plain"
    seed: int = 1
    limits: Limits = field(default_factory=Limits)


@dataclass
class Course:
    """
    What happened over time.

    @ivar begin, end: of the disturbance, in seconds since rates were measured.
    @ivar rates: tasks done in each second.
    @ivar dead_rows: pairs of a time and a number.
    """

    begin: float
    end: float
    rates: list[float]
    dead_rows: list[tuple[float, int]]


def run(name: str, settings: Settings, database: PostgreSQL) -> tuple[Outcome, Course | None]:
    """
    Run a scenario.

    @return: its outcome, and its course if it has come to the end of the disturbance.
    """
    outcome, course, scenario = Outcome(name), None, SCENARIOS[name]
    patience = settings.disturbance + PATIENCE
    rate = inf if scenario.saturates else settings.rate
    with Stage(database, settings.kind, patience, rate, settings.seed) as stage:
        try:
            course = _measure(stage, outcome, settings)
            _finish(stage)
        except (LoadFailed, NotDrained) as error:
            outcome.problems.append(str(error))
        else:
            records = Records.read(stage.records)
            outcome.count(records, LOADS[settings.kind], stage.disturbed, stage.ended)
            outcome.judge(settings.limits, scenario.keeps_rate, scenario.refuses)
    return outcome, course


def _measure(stage: Stage, outcome: Outcome, settings: Settings) -> Course:
    """Measure the rates before, during and after the disturbance."""
    rates, limits = stage.rates, settings.limits
    _warm_up(stage, settings.warm_up)
    began = time.time()
    stage.pause(settings.before)
    disturbed = stage.disturbed = time.time()
    outcome.before = stage.steady = rates.rate(began, disturbed)
    SCENARIOS[outcome.name].disturb(stage, settings.disturbance)
    stage.end_disturbance()
    usual_again = time.time()
    enough, last = limits.ratio * outcome.before, stage.ended + limits.within + settings.window
    stage.pause(settings.after)
    while True:
        now = time.time()
        outcome.recovered = rates.recovered(stage.ended, now, enough, settings.window)
        if outcome.recovered is not None or now > last:
            break
        stage.pause(CHECK_INTERVAL)
    outcome.during = rates.rate(disturbed, stage.ended)
    outcome.after = rates.rate(max(usual_again, stage.ended + (outcome.recovered or 0.0)), now)
    times = (began, disturbed, stage.ended, now)
    outcome.other_work = tuple(stage.other_work.average(*each) for each in pairwise(times))
    outcome.dead_rows = stage.dead_rows.most(disturbed, now)
    return Course(
        disturbed - began,
        stage.ended - began,
        [rates.rate(began + second, began + second + 1) for second in range(int(now - began))],
        [(at - began, number) for at, number in stage.dead_rows.seen if at >= began],
    )


def _warm_up(stage: Stage, seconds: float) -> None:
    """Wait for the first task that is done, and some time more."""
    begin = time.time()
    while not stage.rates.rate(begin, time.time()):
        stage.pause(CHECK_INTERVAL)
        if time.time() > begin + 60:
            raise LoadFailed("no task is done within a minute")
    stage.pause(seconds)


def _finish(stage: Stage) -> None:
    """Stop the producers, wait until all tasks are done, and stop the consumers."""
    stage.load.stop_producers()
    if not stage.queue.join(DRAIN_LIMIT):
        raise NotDrained(f"not done after {DRAIN_LIMIT:.0f} s: {stage.queue.stats()}")
    stage.load.end()
