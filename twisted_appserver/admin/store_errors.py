"""The statuses of requests that a broker cannot perform."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted_appserver.errors import HTTPError
from twisted_appserver.queue.interface import (
    STOPPING,
    AwayError,
    BatchError,
    LimitError,
    ReusedError,
    StoreError,
)

T = TypeVar("T")


async def ask(asked: Coroutine[Any, Any, T]) -> T:
    """
    Await a result of a broker.

    @raise HTTPError: for each error of a broker: 403, 422, 503 or 507.
    """
    try:
        answer = await asked
    except LimitError as error:
        raise HTTPError(403, str(error)) from None
    except (ReusedError, BatchError) as error:
        raise HTTPError(422, str(error)) from None
    except AwayError as error:
        raise HTTPError(503, str(error), [("retry-after", "1")]) from None
    except StoreError as error:
        raise HTTPError(507, f"cannot be stored now: {error}", [("retry-after", "1")]) from None
    if answer == STOPPING:
        raise HTTPError(503, "the server is stopping; try again", [("retry-after", "1")])
    return answer
