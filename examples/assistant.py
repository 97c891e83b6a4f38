"""Notes that an AI assistant can search, write and delete: the functions are tools (Model Context Protocol).

Run `python examples/assistant.py`, and `claude mcp add --transport http notes http://localhost:8081/-/mcp`.
"""

import sqlite3
from collections.abc import Iterator

from msgspec import Struct

from twisted_appserver import HTTPError, Route, run_server


class Note(Struct):
    """A note, with the number that names it."""

    id: int
    text: str


def execute(statement: str, *values: object) -> list[Note]:
    with sqlite3.connect("notes.sqlite", timeout=10) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        return [Note(*row) for row in connection.execute(statement, values)]


def search(text: str = "") -> list[Note]:
    """Find the notes that contain a text."""
    return execute("SELECT id, text FROM note WHERE instr(text, ?)", text)


def write(text: str) -> Note:
    """Add a note."""
    return execute("INSERT INTO note (text) VALUES (?) RETURNING id, text", text)[0]


def delete(id: int) -> Note:
    """Delete a note, and return it."""
    for note in execute("DELETE FROM note WHERE id = ? RETURNING id, text", id):
        return note
    raise HTTPError(404, f"there is no note {id}; search returns the numbers of all notes")


def longest() -> Iterator[dict]:
    """Find the longest word in all notes. This reports its progress."""
    notes, word = search(), ""
    for done, note in enumerate(notes, 1):
        word = max(word, *note.text.split(), key=len)
        yield {"done": done, "total": len(notes), "word": word}


url_patterns = (
    Route(r"/notes", search, ("GET",)),
    Route(r"/notes", write, ("POST",)),
    Route(r"/notes/(?P<id>)", delete, ("DELETE",)),
    Route(r"/longest", longest, ("GET",)),
)

if __name__ == "__main__":
    run_server(port=8081, mcp=True)
