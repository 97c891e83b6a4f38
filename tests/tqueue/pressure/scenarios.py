"""The table of all scenarios."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tests.tqueue.pressure import cells, chaos
from tests.tqueue.pressure.stage import Stage


class Scenario(NamedTuple):
    """
    A disturbance.

    @ivar disturb: causes it for some seconds.
    @ivar keeps_rate: whether tasks must be done as fast as before meanwhile, and dead rows must stay bounded.
    @ivar refuses: whether puts may be refused, because a full queue had no room for five seconds.
    @ivar saturates: whether as many tasks as possible must be put before, because the disturbance depends on
        that rate.
    """

    disturb: Callable[[Stage, float], None]
    keeps_rate: bool = False
    refuses: bool = True
    saturates: bool = False


SCENARIOS = {
    "restart": Scenario(chaos.restart),
    "backend-kill": Scenario(chaos.backend_kill),
    "pool-exhaustion": Scenario(chaos.pool_exhaustion),
    "crash": Scenario(chaos.crash),
    "repeated-kills": Scenario(chaos.repeated_kills),
    "idle": Scenario(cells.idle, keeps_rate=True),
    "sustained": Scenario(cells.sustained, refuses=False, saturates=True),
    "readers": Scenario(cells.readers),
    "burst": Scenario(cells.burst, refuses=False),
}
