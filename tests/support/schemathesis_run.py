"""
Runs schemathesis. Usage: python -m tests.support.schemathesis_run run URL ...

It sends the same C{Idempotency-Key} with different requests, which is an error. So each valid key is replaced
by one of its own.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import schemathesis
from schemathesis.cli import schemathesis as command

KEY, LONGEST = "Idempotency-Key", 255  # bytes


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and 0 < len(key.strip().strip('"')) <= LONGEST:
        case.headers[KEY] = str(uuid4())


if __name__ == "__main__":
    command()
