"""The files with SQL, and how they are read."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.queue import local, postgresql
from twisted_appserver.queue.sql_files import read_migrations, read_statements

FILES = {
    "transaction.sql": (
        postgresql,
        ("locked_queue", "frequent_requests", "batch_requests", "other_requests", "outbox", "transaction"),
    ),
    "schema.sql": (
        postgresql,
        ("schema", "heartbeat", "connection", "dead_rows", "database", "session", "database_check"),
    ),
    "journal.sql": (local, ("sqlite_journal", "sqlite_results", "taken_keys")),
}


class SQLFileTests(SynchronousTestCase):
    def test_every_statement_is_used(self) -> None:
        for file, (package, modules) in FILES.items():
            folder = Path(package.__file__ or "").parent
            source = "".join((folder / f"{module}.py").read_text() for module in modules)
            used = set(re.findall(r'"(\w+)"', source))
            if 'f"peek_{request.state}"' in source:
                used |= {f"peek_{state}" for state in ("ready", "delayed", "leased", "held", "buried")}
            statements = read_statements(package.__name__, file)
            self.assertEqual(sorted(statements.keys() - used), [], file)

    def test_no_statement_is_empty(self) -> None:
        for file, (package, _) in FILES.items():
            for name, text in read_statements(package.__name__, file).items():
                self.assertRegex(text, r"(?m)^[A-Z]", f"{file}: {name}")

    def test_migrations_are_numbered_without_gaps(self) -> None:
        for package in (local, postgresql):
            folder = Path(package.__file__ or "").parent / "migrations"
            numbers = sorted(int(path.name.partition("_")[0]) for path in folder.iterdir())
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            self.assertEqual(len(read_migrations(package.__name__)), len(numbers))
