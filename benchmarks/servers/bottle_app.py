"""Bottle on waitress, which calls it in a pool of threads."""

import logging
from typing import Any

import bottle
import waitress
import work

app = bottle.Bottle()
for number in range(work.PATTERNS):
    app.get(f"/table{number}/<object_type>/<object_id>/")(work.get_object)
app.get("/<object_type>/get/<object_id>/")(work.get_object)
app.get("/large/")(work.large)
app.get("/cpu/")(work.cpu)
app.get("/sleep/<milliseconds>/")(work.sleep)
app.get("/where/")(work.where)


@app.post("/echo/")
def echo() -> Any:
    return work.echo(**bottle.request.json)


if __name__ == "__main__":
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    waitress.serve(
        app,
        host="127.0.0.1",
        port=work.PORT,
        threads=work.THREADS,
        connection_limit=20000,
        backlog=2048,
        asyncore_use_poll=True,
    )
