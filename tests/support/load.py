"""Many concurrent clients. Each checks that every response belongs to its request."""

from __future__ import annotations

from twisted.internet.defer import Deferred, gatherResults

from tests.support.wire import connect, request


async def client(port: int, name: int, count: int) -> int:
    """Send requests over one connection, and return how many responses were correct."""
    connection, good = await connect(port), 0
    for number in range(count):
        answer = await connection.send(request("GET", f"/echo/{name}-{number}/?b={number}"))
        good += answer.status == 200 and answer.json == {"a": f"{name}-{number}", "b": str(number)}
    await connection.close()
    return good


async def many_clients(port: int, clients: int, count: int) -> int:
    """Run clients at the same time, and return how many responses were correct."""
    return sum(
        await gatherResults([Deferred.fromCoroutine(client(port, name, count)) for name in range(clients)])
    )
