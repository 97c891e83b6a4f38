"""When the scheduled calls of a route are due. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from datetime import tzinfo as TimeZone
from typing import Any
from zoneinfo import ZoneInfo

from twisted_appserver.errors import how_to_install

LONGEST = 366 * 86400.0  # seconds; the longest period
SHORTEST = 1.0  # seconds; the shortest period
SPECIAL = re.compile(r"[.^$*+?{}\[\]|()]|\\[^\W_]")  # what a pattern has that matches one path only has not
ESCAPED = re.compile(r"\\(.)")
ALIASES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}  # fmt: skip


class Schedule:
    """
    The times at which a function is called. They depend on the clock only, so that all hosts agree on them.

    @param cron: five fields, as crontab(5) describes them: minute, hour, day of month, month, day of week; or
        a name such as C{"@daily"}.
    @param every: seconds. The calls are due when the seconds since the epoch are a multiple of this number.
    @param timezone: the time zone of C{cron}, such as C{"Europe/Berlin"}; UTC if C{None}.
    @raise ValueError: when these cannot be used together, or one of them is wrong.
    @raise ImportError: when the package cronsim is missing.
    @ivar text: describes the schedule for people.
    """

    def __init__(
        self, cron: str | None = None, every: float | None = None, timezone: str | None = None
    ) -> None:
        if (cron is None) == (every is None):
            raise ValueError("a schedule needs cron or every, and not both")
        self._expression, self._every, self._zone = "", every, _zone(timezone)
        if every is not None:
            if timezone is not None:
                raise ValueError("timezone is for cron; every does not use it")
            if isinstance(every, bool) or not isinstance(every, int | float):
                raise ValueError(f"every must be a number of seconds, not {every!r}")
            if not SHORTEST <= every <= LONGEST:
                raise ValueError(f"every must be {SHORTEST:g} to {LONGEST:.0f} seconds, not {every!r}")
            self.text = f"every {every:g} s"
            return
        if not isinstance(cron, str):
            raise ValueError(f"cron must be text such as '0 3 * * *', not {cron!r}")
        self._expression = ALIASES.get(cron.strip().lower(), cron)
        if len(self._expression.split()) != 5:
            raise ValueError(
                f"cron must have five fields: minute, hour, day, month, day of week; not {cron!r}"
            )
        self._iterator(0.0)
        self.text = f"{cron} ({timezone or 'UTC'})"
        if self.next(datetime.now(UTC).timestamp()) == math.inf:
            raise ValueError(f"cron {cron!r} is never due")

    def _iterator(self, after: float) -> Any:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError as error:
            raise ImportError(f"cron needs the package cronsim; {how_to_install('cron')}") from error
        try:
            return CronSim(self._expression.upper(), datetime.fromtimestamp(after, self._zone))
        except CronSimError as error:
            raise ValueError(f"cron {self._expression!r}: {str(error).lower()}") from None

    def next(self, after: float) -> float:
        """
        Return the first time after another one at which a call is due; infinity if there is none.

        When clocks are changed, C{cron} behaves like the cron of Debian. A time that the change leaves out
        is due right after the change, and a time that it repeats is due once, if minute and hour are fixed.

        @param after: seconds since the epoch, like the result.
        """
        if self._every is not None:
            due = (math.floor(after / self._every) + 1) * self._every
            return due if due > after else due + self._every
        found = next(self._iterator(after), None)
        return found.timestamp() if found is not None else math.inf


def _zone(name: str | None) -> TimeZone:
    """
    @raise ValueError: when there is no such time zone.
    """
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, TypeError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"there is no time zone {name!r}; write a name such as 'Europe/Berlin'") from None


def only_path(regex: str) -> str:
    """
    Return the path that a pattern matches, if it is the only one.

    @raise ValueError: when it may match several.
    """
    if SPECIAL.search(regex.replace("\\.", "").replace("\\-", "")):
        raise ValueError(f"a scheduled call needs a pattern that is a fixed path, not {regex!r}")
    return ESCAPED.sub(r"\1", regex)
