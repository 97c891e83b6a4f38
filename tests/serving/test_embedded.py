"""Tests of an application inside another program: a script with a Site of its own, and init as process 1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from time import monotonic
from unittest import skipIf

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.serving.test_command import TWISTD, CommandTestCase
from tests.support.programs import ROOT
from tests.support.slow import slow
from tests.support.wire import connect, fetch, request
from twisted_appserver.http.app_resource import FLUSH

SCRIPT = """
import sys
from twisted.internet import endpoints, reactor
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted_appserver import AppResource, ProcessExecutor, Route
from tests.support.cases import holds, returns
from tests.support.child_processes import pool

url_patterns = ((r"/holds/", holds), (r"/returns/(?P<what>)/", returns), (r"/pool/(?P<method>)/", pool))

if __name__ == "__main__":
    executor, grace = None, float(sys.argv[2])
    if sys.argv[1] == "forked":
        executor = ProcessExecutor(reactor, "script", 1)
        reactor.callWhenRunning(executor.start)
    application = AppResource(url_patterns, reactor, executor, graceful_timeout=grace)
    if executor is not None:
        reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: application.finish().addCallback(lambda _: executor.stop())
        )
    root = Resource()
    root.putChild(b"api", application)
    listening = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Site(root))
    listening.addCallback(lambda port: print(f"port {port.getHost().port}", flush=True))
    reactor.run()
"""
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc"]
TINI = shutil.which("tini")


def can_unshare() -> bool:
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run([*UNSHARE, "true"], capture_output=True).returncode
    )


class StopTests(CommandTestCase):
    timeout = 120

    async def check(self, server_type: str) -> None:
        folder = self.folder_of(script=SCRIPT)
        program = self.python("script.py", server_type, "30", folder=folder)
        port = int((await program.line(r"port (\d+)"))[1])
        path = os.path.join(folder, "held")
        running, other = await connect(port), await connect(port)
        answer = running.send(request("GET", f"/api/holds/?path={path}"))
        while not os.path.exists(path):
            await deferLater(reactor, 0.01)
        program.signal("TERM")
        while (await other.send(request("GET", "/api/none/"))).status != 503:
            await deferLater(reactor, 0.01)
        until = monotonic() + 2 * FLUSH  # longer than it waits to send the last responses
        while monotonic() < until:
            self.assertEqual((await other.send(request("GET", "/api/none/"))).status, 503)
        self.assertFalse(answer.called)
        os.remove(path)
        self.assertEqual((await answer).status, 200)
        self.assertEqual(await program.ended, 0, program.output)

    async def test_sigterm_finishes_calls_of_an_embedded_resource(self) -> None:
        """Later calls get 503."""
        await self.check("threaded")

    @slow
    async def test_sigterm_finishes_calls_in_workers_of_an_embedded_resource(self) -> None:
        """The executor of the embedding program is stopped afterwards."""
        await self.check("forked")

    async def test_pools_of_functions_in_an_embedded_resource_end(self) -> None:
        """They do not hang."""
        program = self.python("script.py", "threaded", "30", folder=self.folder_of(script=SCRIPT))
        port = int((await program.line(r"port (\d+)"))[1])
        for _ in range(5):
            self.assertEqual((await fetch(port, "/api/pool/fork/")).json, {"squares": [1, 4, 9]})
        program.signal("TERM")
        self.assertEqual(await program.ended, 0, program.output)


UNLOGGED = """
from twisted.internet import endpoints, reactor
from twisted.web.server import Site
from twisted_appserver import AppResource

async def later():
    return {}

def fails():
    raise ValueError("no more bolts")

url_patterns = ((r"/fails/", fails), (r"/(a|b)/", later))

site = Site(AppResource(url_patterns, reactor))
listening = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
listening.addCallback(lambda port: print(f"port {port.getHost().port}", flush=True))
reactor.run()
"""
UNLOGGED_SERVICE = """
from twisted.application.service import Application
from twisted_appserver import make_service

async def later():
    return {}

application = Application("shop")
make_service([(r"/later/", later)], port=0).setServiceParent(application)
"""


class LogTests(CommandTestCase):
    """What a program sees that embeds an application."""

    async def test_failure_and_notes_are_shown_without_a_started_log(self) -> None:
        """On standard error. With a log, they would be logged."""
        program = self.python("script.py", folder=self.folder_of(script=UNLOGGED))
        port = int((await program.line(r"port (\d+)"))[1])
        self.assertEqual((await fetch(port, "/fails/")).status, 500)
        await program.line("ValueError: no more bolts")
        for text in ("later is a coroutine function", "a group without a name", "in fails"):
            self.assertIn(text, program.output)
        program.signal("TERM")
        self.assertEqual(await program.ended, 0, program.output)

    async def test_service_logs_that_coroutines_cannot_await_asyncio(self) -> None:
        """As C{twistd appserver} does."""
        folder = self.folder_of(shop=UNLOGGED_SERVICE)
        program = self.python(TWISTD, "-n", "--pidfile=", "--reactor=poll", "-y", "shop.py", folder=folder)
        await program.line("later is a coroutine function, which can await Deferreds but not asyncio")
        await self.stopped(program)


ORPHANS = """
import os, subprocess

def orphan():
    subprocess.run(["sh", "-c", "sleep 0.1 &"])
    return {}

def zombies():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with open(f"/proc/{name}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] == "Z":
                found.append(name)
    return {"zombies": found}

def count():
    return {"count": len(list(filter(str.isdigit, os.listdir("/proc"))))}

url_patterns = (("/orphan/", orphan), ("/zombies/", zombies), ("/count/", count))
"""


class InitTests(CommandTestCase):
    timeout = 60

    @skipIf(TINI is None, "there is no tini (Debian: apt-get install tini)")
    @skipIf(not can_unshare(), "namespaces for processes cannot be made here")
    async def test_init_of_the_image_reaps_orphans(self) -> None:
        """In a process namespace of its own."""
        folder = self.folder_of(app=ORPHANS)
        command = [*UNSHARE, "--kill-child", str(TINI), "--", sys.executable, "-m", "twisted_appserver"]
        program = self.start(*command, "--port", "0", folder=folder, PYTHONPATH=str(ROOT))
        port = await program.port()
        before = (await fetch(port, "/count/")).json
        for _ in range(3):
            await fetch(port, "/orphan/")
        while (await fetch(port, "/count/")).json != before:
            await deferLater(reactor, 0.05)
        self.assertEqual((await fetch(port, "/zombies/")).json, {"zombies": []})
        (tini,) = (
            pid for pid in program.processes() if pid != program.pid
            and os.readlink(f"/proc/{pid}/exe") == os.path.realpath(str(TINI))
        )  # fmt: skip
        os.kill(tini, signal.SIGTERM)
        self.assertIn(await program.ended, (0, 128 + signal.SIGTERM), program.output)
