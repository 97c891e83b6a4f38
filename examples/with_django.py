"""Django's ORM: old and broken connections are closed after each call, as Django does after each request.

pip install django
appserver --app examples/with_django.py --port 8081
curl localhost:8081/notes/ -d text=milk
curl localhost:8081/notes/
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.db import close_old_connections, connection, models

from twisted_appserver import Route, include

if not settings.configured:  # a project with a settings module calls only django.setup()
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("NOTES", "notes.sqlite")}
    settings.configure(DATABASES={"default": {**database, "CONN_MAX_AGE": 60}})
django.setup()


class Note(models.Model):
    """Something to remember."""

    text = models.CharField(max_length=100)

    class Meta:
        app_label = "notes"


@contextmanager
def connections() -> Iterator[None]:
    """Close old connections around each call. In threads, each thread has connections of its own."""
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


@contextmanager
def lifespan() -> Iterator[None]:
    """Make the table if it is missing. A project has migrations for that."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS notes_note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    connection.close()
    yield


def add(text: str) -> dict[str, Any]:
    """Store a note."""
    return {"id": Note.objects.create(text=text).id}


def notes() -> dict[str, Any]:
    """Return all notes."""
    return {"notes": [note.text for note in Note.objects.order_by("id")]}


patterns = [Route(r"/notes/", add, methods=["POST"]), Route(r"/notes/", notes, methods=["GET"])]
url_patterns = [include("", patterns, wrap=connections())]
