"""Tests of L{twisted_appserver.serving.reactor_choice}: coroutine functions in real servers."""

from __future__ import annotations

import json
from pathlib import Path

from tests.serving.test_command import TWISTD, CommandTestCase
from tests.support.programs import Program
from tests.support.wire import fetch

FUNCTIONS = """
import asyncio
from twisted.internet.defer import Deferred

async def both():
    from twisted.internet import reactor
    from twisted.internet.task import deferLater
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.sleep(0.001, 2))
        one = await deferLater(reactor, 0.001, lambda: 1)
    return {"sum": one + task.result()}

async def deferred():
    from twisted.internet import reactor
    from twisted.internet.task import deferLater
    return await deferLater(reactor, 0.001, lambda: {"deferred": True})

def plain():
    from twisted.internet import reactor
    return {"reactor": type(reactor).__name__}

url_patterns = ((r"/both", both), (r"/deferred", deferred), (r"/plain", plain))
"""
SCRIPT = f"""
import twisted_appserver
{FUNCTIONS}
if __name__ == "__main__":
    twisted_appserver.run_server(port=0)
"""
PLAIN = """
def plain():
    from twisted.internet import reactor
    return {"reactor": type(reactor).__name__}

url_patterns = ((r"/plain", plain),)
"""
LIFESPAN = """
import asyncio
from contextlib import asynccontextmanager

@asynccontextmanager
async def lifespan():
    await asyncio.sleep(0.001)
    yield
"""


class ReactorTests(CommandTestCase):
    async def check(self, program: Program) -> None:
        """Coroutine functions await asyncio and Deferreds."""
        answer = await fetch(await program.port(), "/both")
        self.assertEqual((answer.status, answer.body), (200, b'{"sum":3}'))
        await self.stopped(program)
        self.assertNotIn("does not run on asyncio", program.output)
        self.assertNotIn("not asyncio on", program.output)

    def shop(self, *arguments: str, twistd: tuple[str, ...] = (), **files: str) -> Program:
        """Run C{twistd appserver} on shop.py."""
        command = (TWISTD, "-n", "--pidfile=", *twistd, "appserver", "--port", "0", "--app", "shop.py")
        return self.python(*command, *arguments, folder=self.folder_of(**files))

    async def test_coroutine_functions_await_asyncio_with_run_server(self) -> None:
        await self.check(self.python("shop.py", folder=self.folder_of(shop=SCRIPT)))

    async def test_coroutine_functions_await_asyncio_with_twistd(self) -> None:
        await self.check(self.shop(shop=FUNCTIONS))

    async def test_coroutine_functions_await_asyncio_with_worker_processes(self) -> None:
        """They run on the reactor of the server. Workers import the table and never need a reactor."""
        await self.check(self.shop("--type", "forked", "--workers", "1", shop=FUNCTIONS))

    async def test_module_that_imports_the_reactor_gets_the_one_on_asyncio(self) -> None:
        await self.check(self.shop(shop="from twisted.internet import reactor\n" + FUNCTIONS))

    async def test_table_without_coroutines_gets_the_default_reactor(self) -> None:
        program = self.shop(shop=PLAIN)
        answer = await fetch(await program.port(), "/plain")
        self.assertNotIn("Asyncio", json.loads(answer.body)["reactor"])
        await self.stopped(program)

    async def test_asynchronous_lifespan_gets_the_reactor_on_asyncio(self) -> None:
        program = self.shop(shop=PLAIN + LIFESPAN)
        answer = await fetch(await program.port(), "/plain")
        self.assertIn("Asyncio", json.loads(answer.body)["reactor"])
        await self.stopped(program)

    async def test_other_reactor_explains_why_asyncio_cannot_be_awaited(self) -> None:
        """One line is logged at start-up. A call gets 500 at once; the reason is logged. Deferreds work."""
        program = self.shop(twistd=("--reactor=poll",), shop=FUNCTIONS)
        port = await program.port()
        await program.line("both is a coroutine function")
        self.assertEqual((await fetch(port, "/both")).status, 500)
        await program.line("does not run on asyncio here, so await Deferreds only")
        self.assertEqual(program.output.count("both is a coroutine function"), 1)
        self.assertEqual((await fetch(port, "/deferred")).body, b'{"deferred":true}')
        program.signal("TERM")
        await program.ended

    async def test_reload_that_adds_the_first_coroutine_logs_one_line(self) -> None:
        """It is served. On this reactor it can await Deferreds only, until the server is started again."""
        folder = Path(self.folder_of(shop=PLAIN))
        command = (TWISTD, "-n", "--pidfile=", "appserver", "--port", "0", "--app", "shop.py")
        program = self.python(*command, folder=str(folder))
        port = await program.port()
        (folder / "shop.py").write_text(FUNCTIONS)
        program.signal("HUP")
        await program.line("both is a coroutine function, which can await Deferreds but not asyncio")
        await program.line("application reloaded")
        self.assertEqual((await fetch(port, "/deferred")).body, b'{"deferred":true}')
        await self.stopped(program)
