"""An inventory, kept in SQLite, so that threads and worker processes see the same stock.

    python examples/inventory.py [--port N] [--type threaded|forked]
    curl localhost:8082/items/bolt/put/ -d quantity=20 -d price=0.15
    curl localhost:8082/items/bolt/take/ -H 'Content-Type: application/json' -d '{"quantity": 3}'
    curl 'localhost:8082/items/?below=18'

The environment variable INVENTORY names the file of the database; the default is inventory.sqlite. Worker
processes receive environment variables, but neither arguments of the command line nor global variables.
"""

import argparse
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Annotated, Any

import msgspec

from twisted_appserver import HTTPError, Reply, Route, run_server

DATABASE = os.environ.get("INVENTORY", "inventory.sqlite")
SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS item (
    sku TEXT PRIMARY KEY, quantity INTEGER NOT NULL CHECK (quantity >= 0), price REAL
);
COMMIT
"""

Quantity = Annotated[int, msgspec.Meta(gt=0, le=1_000_000)]
Price = Annotated[float, msgspec.Meta(ge=0)]


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """
    Open a connection for this call only, in a transaction: nothing is shared between threads or processes.
    """
    with (
        closing(sqlite3.connect(DATABASE, timeout=10, isolation_level="IMMEDIATE")) as connection,
        connection,
    ):
        connection.row_factory = sqlite3.Row
        yield connection


def find(connection: sqlite3.Connection, sku: str) -> dict[str, Any]:
    row = connection.execute("SELECT * FROM item WHERE sku = ?", (sku,)).fetchone()
    if row is None:
        raise HTTPError(404, f"there is no item {sku!r}")
    return dict(row)


def list_items(below: int | None = None) -> dict[str, Any]:
    """All items, or only items of which fewer than C{below} are left."""
    with database() as connection:
        rows = connection.execute(
            "SELECT * FROM item WHERE ?1 IS NULL OR quantity < ?1 ORDER BY sku", (below,)
        ).fetchall()
    return {"items": [dict(row) for row in rows]}


def get_item(sku: str) -> dict[str, Any]:
    with database() as connection:
        return find(connection, sku)


def put(sku: str, quantity: Quantity, price: Price | None = None) -> Reply:
    """Add to the stock of an item. A new item gets 201. The last price stays."""
    with database() as connection:
        created = connection.execute("INSERT OR IGNORE INTO item VALUES (?, 0, NULL)", (sku,)).rowcount
        connection.execute(
            "UPDATE item SET quantity = quantity + ?, price = coalesce(?, price) WHERE sku = ?",
            (quantity, price, sku),
        )
        return Reply(find(connection, sku), 201 if created else 200)


def take(sku: str, quantity: Quantity = 1) -> dict[str, Any]:
    """Take from the stock of an item, if that much is left."""
    with database() as connection:
        taken = connection.execute(
            "UPDATE item SET quantity = quantity - ?1 WHERE sku = ?2 AND quantity >= ?1", (quantity, sku)
        ).rowcount
        item = find(connection, sku)
        if not taken:
            raise HTTPError(409, f"only {item['quantity']} of {sku!r} are left")
        return item


url_patterns = (
    Route(r"/items/", list_items, methods=["GET"]),
    Route(r"/items/(?P<sku>)/", get_item, methods=["GET"]),
    Route(r"/items/(?P<sku>)/put/", put, methods=["POST"]),
    Route(r"/items/(?P<sku>)/take/", take, methods=["POST"]),
)

# Each worker process imports this file; whichever comes first makes the table.
with closing(sqlite3.connect(DATABASE, timeout=10)) as _connection:
    _connection.executescript(SCHEMA)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An inventory, kept in SQLite.")
    parser.add_argument("--port", type=int, default=8082)
    parser.add_argument("--type", choices=["threaded", "forked"], default="threaded")
    arguments = parser.parse_args()
    run_server(port=arguments.port, server_type=arguments.type)
