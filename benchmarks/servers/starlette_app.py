"""Starlette: C{def} endpoints, which it runs in its thread pool."""

from typing import Any

import work
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def get_object(request: Request) -> JSONResponse:
    return JSONResponse(work.get_object(**request.path_params))


async def echo(request: Request) -> JSONResponse:
    variables: dict[str, Any] = await request.json()
    return JSONResponse(await run_in_threadpool(work.echo, **variables))


def large(request: Request) -> JSONResponse:
    return JSONResponse(work.large())


def cpu(request: Request) -> JSONResponse:
    return JSONResponse(work.cpu())


def sleep(request: Request) -> JSONResponse:
    return JSONResponse(work.sleep(**request.path_params))


def where(request: Request) -> JSONResponse:
    return JSONResponse(work.where())


app = Starlette(
    routes=[
        *(
            Route(f"/table{number}/{{object_type}}/{{object_id}}/", get_object)
            for number in range(work.PATTERNS)
        ),
        Route("/{object_type}/get/{object_id}/", get_object),
        Route("/echo/", echo, methods=["POST"]),
        Route("/large/", large),
        Route("/cpu/", cpu),
        Route("/sleep/{milliseconds}/", sleep),
        Route("/where/", where),
    ]
)
