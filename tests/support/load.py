"""Many concurrent clients, each of which checks that every answer belongs to its request."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from tests.support.wire import connect, request


async def client(port: int, name: int, count: int) -> int:
    """C{count} requests over one kept connection; returns how many answers were their own."""
    connection, good = await connect(port), 0
    for number in range(count):
        answer = await connection.send(request("GET", f"/echo/{name}-{number}/?b={number}"))
        good += answer.status == 200 and answer.json == {"a": f"{name}-{number}", "b": str(number)}
    await connection.close()
    return good


async def crowd(port: int, clients: int, count: int) -> int:
    """That many clients at the same time; returns how many answers were right."""
    return sum(
        await gatherResults([Deferred.fromCoroutine(client(port, name, count)) for name in range(clients)])
    )
