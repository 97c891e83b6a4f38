"""Sanic in one process: C{run_in_executor} with a pool of threads."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import work
from sanic import HTTPResponse, Request, Sanic, json

app = Sanic("benchmark", configure_logging=False)
pool = ThreadPoolExecutor(work.THREADS)


async def call(function: Callable[..., Any], *arguments: Any) -> HTTPResponse:
    """Call a function in the pool, and respond with its result as JSON."""
    loop = asyncio.get_running_loop()
    return json(await loop.run_in_executor(pool, function, *arguments))


def post(variables: dict[str, Any]) -> dict[str, Any]:
    return work.echo(**variables)


@app.get("/<object_type:str>/get/<object_id:str>/")
async def get_object(request: Request, object_type: str, object_id: str) -> HTTPResponse:
    return await call(work.get_object, object_type, object_id)


@app.post("/echo/")
async def echo(request: Request) -> HTTPResponse:
    return await call(post, request.json)


@app.get("/large/")
async def large(request: Request) -> HTTPResponse:
    return await call(work.large)


@app.get("/cpu/")
async def cpu(request: Request) -> HTTPResponse:
    return await call(work.cpu)


@app.get("/sleep/<milliseconds:str>/")
async def sleep(request: Request, milliseconds: str) -> HTTPResponse:
    return await call(work.sleep, milliseconds)


@app.get("/where/")
async def where(request: Request) -> HTTPResponse:
    return await call(work.where)


if __name__ == "__main__":
    app.run(
        host="127.0.0.1",
        port=work.PORT,
        single_process=True,
        access_log=False,
        debug=False,
        motd=False,
        backlog=2048,
    )
