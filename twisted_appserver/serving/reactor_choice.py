"""
Chooses the reactor of a server program.

Strategy: coroutine functions and Dask need Twisted's reactor on asyncio. All other tables get Twisted's
default reactor, which is a little faster. The table is known only after its modules have been imported. If
one of these modules imports the reactor, a reactor must be installed at once: the one on asyncio.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from twisted_appserver.core.lifespan import is_async
from twisted_appserver.core.router import Router
from twisted_appserver.settings import CLUSTER_SERVER, Settings

REACTOR = "twisted.internet.reactor"


def needs_asyncio(settings: Settings, router: Router) -> bool:
    """
    Return true if Twisted should run on asyncio: for Dask, for coroutine functions, and for an asynchronous
    lifespan.
    """
    if settings.server_type == CLUSTER_SERVER or (router.lifespan is not None and is_async(router.lifespan)):
        return True
    return any(handler.executor == "cluster" or handler.awaits for handler in router.handlers)


def choose_reactor(settings: Settings, router: Router) -> None:
    """Install the reactor that a table needs, unless one is installed already."""
    if REACTOR not in sys.modules and needs_asyncio(settings, router):
        _install()


@contextmanager
def asyncio_by_default() -> Iterator[None]:
    """Meanwhile, the first import of the reactor installs the one on asyncio."""
    from twisted.internet import default

    install = default.install
    default.install = _install
    try:
        yield
    finally:
        default.install = install


def _install() -> None:
    from twisted.internet import asyncioreactor

    # Twisted cannot use the event loop that is the default on Windows.
    asyncioreactor.install(asyncio.SelectorEventLoop() if sys.platform == "win32" else None)
