"""Which server accepts connections from which sockets."""

from __future__ import annotations

from collections.abc import Collection

from twisted_appserver.serving.servers.supervised_server import SupervisedServer


def owners_of_sockets(count: int, servers: Collection[SupervisedServer]) -> dict[SupervisedServer, list[int]]:
    """
    Return the owners of the sockets from which each server accepts: itself, and servers that are not there,
    because clients would wait at their sockets.

    @param count: the number of sockets.
    """
    ready = [each for each in servers if each.ready and not each.ending]
    owners: dict[SupervisedServer, list[int]] = {each: [each.number] for each in ready}
    orphans = {*range(1, count + 1)} - {each.number for each in ready}
    for number in sorted(orphans) if ready else ():
        owners[ready[number % len(ready)]].append(number)
    return owners
