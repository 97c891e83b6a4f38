"""FastAPI: C{def} handlers in its thread pool, or a process pool behind C{async def} handlers."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated, Any

import work
from fastapi import Body, FastAPI

pool: ProcessPoolExecutor | None = None


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Keep the process pool while the server runs."""
    global pool
    if work.PLACE != "process":
        yield
        return
    with ProcessPoolExecutor(work.WORKERS) as pool:
        yield


app = FastAPI(lifespan=lifespan)


async def apart(function: Any, *arguments: str) -> Any:
    """Call a function in the process pool."""
    return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


if work.PLACE == "process":

    @app.get("/{object_type}/get/{object_id}/")
    async def get_object(object_type: str, object_id: str) -> Any:
        return await apart(work.get_object, object_type, object_id)

    @app.get("/cpu/")
    async def cpu() -> Any:
        return await apart(work.cpu)

    @app.get("/sleep/{milliseconds}/")
    async def sleep(milliseconds: str) -> Any:
        return await apart(work.sleep, milliseconds)

    @app.get("/where/")
    async def where() -> Any:
        return await apart(work.where)

else:
    app.get("/{object_type}/get/{object_id}/")(work.get_object)
    app.get("/cpu/")(work.cpu)
    app.get("/sleep/{milliseconds}/")(work.sleep)
    app.get("/where/")(work.where)
    app.get("/large/")(work.large)

    @app.post("/echo/")
    def echo(variables: Annotated[dict[str, Any], Body()]) -> Any:
        return work.echo(**variables)
