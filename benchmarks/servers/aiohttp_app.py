"""aiohttp on uvloop: C{run_in_executor} with a pool of threads or of processes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import uvloop
import work
from aiohttp import web

pool: Executor


async def call(function: Callable[..., Any], *arguments: Any) -> web.Response:
    """Call a function in the pool, and respond with its result as JSON."""
    loop = asyncio.get_running_loop()
    return web.json_response(await loop.run_in_executor(pool, function, *arguments))


def post(variables: dict[str, Any]) -> dict[str, Any]:
    return work.echo(**variables)


async def get_object(request: web.Request) -> web.Response:
    names = request.match_info
    return await call(work.get_object, names["object_type"], names["object_id"])


async def echo(request: web.Request) -> web.Response:
    return await call(post, await request.json())


async def large(request: web.Request) -> web.Response:
    return await call(work.large)


async def cpu(request: web.Request) -> web.Response:
    return await call(work.cpu)


async def sleep(request: web.Request) -> web.Response:
    return await call(work.sleep, request.match_info["milliseconds"])


async def where(request: web.Request) -> web.Response:
    return await call(work.where)


def make_application() -> web.Application:
    app = web.Application()
    for number in range(work.PATTERNS):
        app.router.add_get(f"/table{number}/{{object_type}}/{{object_id}}/", get_object)
    app.router.add_get("/{object_type}/get/{object_id}/", get_object)
    app.router.add_post("/echo/", echo)
    app.router.add_get("/large/", large)
    app.router.add_get("/cpu/", cpu)
    app.router.add_get("/sleep/{milliseconds}/", sleep)
    app.router.add_get("/where/", where)
    return app


if __name__ == "__main__":
    pool = {"thread": ThreadPoolExecutor, "process": ProcessPoolExecutor}[work.PLACE](
        work.THREADS if work.PLACE == "thread" else work.WORKERS
    )
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(make_application(), host="127.0.0.1", port=work.PORT, access_log=None, backlog=2048)
