"""Tests of the exit of servers: atexit functions run, and the start of a daemon is reported to the shell."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.serving.test_command import ARTICLE, TWISTD, CommandTestCase
from tests.support.programs import Program
from tests.support.slow import slow
from tests.support.wire import connect, fetch, request

AT_EXIT = """
import atexit, logging.handlers, os, sys, threading, time
from concurrent.futures import ProcessPoolExecutor
import twisted_appserver as appserver

def note(text):
    with open("notes", "a") as file:
        file.write(f"{text} {os.getpid()}\\n")

executor = None
here = os.getpid()
atexit.register(note, "exit")
buffered = logging.handlers.MemoryHandler(1000, target=logging.FileHandler("logged", delay=True))
logging.getLogger("buffered").addHandler(buffered)

def square(n: int):
    global executor
    logging.getLogger("buffered").error("in a buffer")
    executor = executor or ProcessPoolExecutor(1)
    return {"square": executor.submit(pow, n, 2).result(), "pid": os.getpid()}

def hangs(path: str):
    open(path, "w").close()
    time.sleep(1000)

def leaves_thread():
    threading.Thread(target=threading.Event().wait).start()
    return {}

url_patterns = (("/square/", square), ("/hangs/", hangs), ("/leaves_thread/", leaves_thread))

if __name__ == "__main__":
    appserver.run_server(port=0, server_type=sys.argv[1], workers=1, graceful_timeout=0.2)
"""


class AtExitTests(CommandTestCase):
    timeout = 120

    async def used(self, *words: str, script: bool = False) -> tuple[Program, str, int]:
        """Start a server and call it. Return it, its folder, and the id of the process that ran the call."""
        folder = self.folder_of(app=AT_EXIT)
        if script:
            program = self.python("app.py", *words, folder=folder)
        else:
            program = self.twistd("--port", "0", "--workers", "1", *words, folder=folder)
        answer = await fetch(await program.port(), "/square/?n=3")
        self.assertEqual(answer.json["square"], 9, program.output)
        return program, folder, answer.json["pid"]

    async def noted(self, program: Program, folder: str, *pids: int) -> None:
        """Check that atexit functions ran once in each of these processes."""
        notes = Path(folder, "notes").read_text().splitlines()
        self.assertEqual(sorted(notes), sorted(f"exit {pid}" for pid in pids), program.output)
        while program.processes():
            await deferLater(reactor, 0.02)

    async def check(self, name: str, server_type: str) -> None:
        program, folder, pid = await self.used("--type", server_type)
        program.signal(name)
        self.assertEqual(await program.ended, -getattr(signal, "SIG" + name), program.output)
        await self.noted(program, folder, *{pid, program.pid})
        self.assertEqual(Path(folder, "logged").read_text(), "in a buffer\n")

    @slow
    async def test_atexit_functions_run_at_both_signals(self) -> None:
        """On both signals, the functions registered with atexit run, also those of the standard library."""
        for name in ("TERM", "INT"):
            await self.check(name, "threaded")

    async def test_atexit_functions_run_in_the_server_and_in_each_worker(self) -> None:
        """atexit functions run in the server and in each worker."""
        await self.check("TERM", "forked")

    @slow
    async def test_atexit_functions_run_in_a_script(self) -> None:
        """The same with C{run_server()}, which ends with status 0."""
        for server_type in ("threaded", "forked"):
            program, folder, pid = await self.used(server_type, script=True)
            program.signal("TERM")
            self.assertEqual(await program.ended, 0, program.output)
            await self.noted(program, folder, *{pid, program.pid})

    @slow
    async def test_atexit_functions_run_though_functions_hang(self) -> None:
        """atexit functions run even if a function hangs in its thread; then the exit status is 0."""
        for script in (False, True):
            words = ("threaded",) if script else ("--graceful-timeout", "0.2")
            program, folder, pid = await self.used(*words, script=script)
            path = os.path.join(folder, "hangs")
            connection = await connect(await program.port())
            connection.send(request("GET", f"/hangs/?path={path}")).addErrback(lambda _: None)
            while not os.path.exists(path):
                await deferLater(reactor, 0.01)
            program.signal("TERM")
            if script:
                await program.line("functions hang in their threads")
            self.assertEqual(await program.ended, 0, program.output)
            await self.noted(program, folder, pid)

    @slow
    async def test_atexit_functions_run_though_threads_are_left(self) -> None:
        """atexit functions run even if a function left a thread that never ends."""
        program, folder, pid = await self.used()
        await fetch(await program.port(), "/leaves_thread/")
        program.signal("TERM")
        self.assertEqual(await program.ended, 0, program.output)
        await self.noted(program, folder, pid)

    @slow
    async def test_failed_start_runs_atexit_functions_and_exits_with_1(self) -> None:
        """A server whose workers cannot start runs atexit functions and exits with status 1."""
        text = AT_EXIT + '\nif "worker" in sys.argv[0]: raise SystemExit("not here")\n'
        folder = self.folder_of(app=text)
        program = self.twistd("--port", "0", "--type", "forked", folder=folder)
        self.assertEqual(await program.ended, 1, program.output)
        self.assertIn(f"exit {program.pid}", Path(folder, "notes").read_text())


class DaemonTests(CommandTestCase):
    """C{twistd appserver} and C{twistd tqueuesrv} in the background."""

    timeout = 120

    def daemon(self, command: str, *words: str, folder: str) -> Program:
        program = self.python(TWISTD, command, *words, folder=folder)
        self.addCleanup(self.kill_all, program)
        return program

    async def kill_all(self, program: Program) -> None:
        for pid in program.processes():
            os.kill(pid, signal.SIGKILL)
        while program.processes():
            await deferLater(reactor, 0.02)

    async def refused(self, command: str, *words: str, said: str, **files: str) -> None:
        """Check that it exits with status 1 and one line, and leaves no process and no pidfile."""
        folder = self.folder_of(**files)
        program = self.daemon(command, *words, folder=folder)
        self.assertEqual(await program.ended, 1, program.output)
        self.assertEqual(program.err.count("\n"), 1, program.err)
        self.assertTrue(program.err.startswith(f"{command}: "), program.err)
        self.assertIn(said, program.err)
        self.assertEqual(program.out, "")
        while program.processes():
            await deferLater(reactor, 0.02)
        self.assertNotIn("twistd.pid", os.listdir(folder))

    @slow
    async def test_daemon_that_cannot_start_gets_one_line(self) -> None:
        """The reason why a daemon cannot start is one line in the shell."""
        other = self.twistd("--port", "0", folder=self.folder_of())
        port = str(await other.port())
        for command in ("appserver", "tqueuesrv"):
            await self.refused(command, "--port", port, said=port)
            await self.refused(command, "--port", "0", "--token-file", "/no/token", said="/no/token")
            await self.refused(command, "--port", "0", "--access-log", "/no/log", said="/no/log")
        await self.refused("tqueuesrv", "--port", "0", "--store", "sqlite:/no/store", said="/no/store")
        await self.refused("appserver", "--port", "0", "--app", "missing", said="missing")
        await self.stopped(other)

    @slow
    async def test_daemon_whose_workers_cannot_start_gets_one_line(self) -> None:
        """The reason why workers cannot start is one line too, even if the daemon is killed."""
        app = 'import sys\nif "worker" in sys.argv[0]: raise SystemExit("not here")\nurl_patterns = ()\n'
        await self.refused("appserver", "--port", "0", "--type", "forked", said="not here", app=app)
        app = (
            'import os, signal, sys\nif "worker" in sys.argv[0]: os.kill(os.getppid(), signal.SIGKILL)\n'
            "url_patterns = ()\n"
        )
        folder = self.folder_of(app=app)
        program = self.daemon("appserver", "--port", "0", "--type", "forked", folder=folder)
        self.assertEqual(await program.ended, 1, program.output)
        self.assertEqual(program.err.count("\n"), 1, program.err)

    @slow
    async def test_daemon_serves_and_removes_its_pidfile(self) -> None:
        """A daemon serves when the command has ended, and removes its pidfile on SIGTERM."""
        for words in ((), ("--type", "forked")):
            folder = self.folder_of(article=ARTICLE)
            program = self.daemon(
                "appserver", "--listen", "unix:here", "--app", "article.py", *words, folder=folder
            )
            self.assertEqual((await program.ended, program.output), (0, ""))
            pid = int(Path(folder, "twistd.pid").read_text())
            self.assertTrue(os.path.exists(os.path.join(folder, "here")))
            os.kill(pid, signal.SIGTERM)
            while program.processes():
                await deferLater(reactor, 0.02)
            self.assertNotIn("twistd.pid", os.listdir(folder))

    async def test_failed_start_in_the_foreground_leaves_no_pidfile(self) -> None:
        """A server in the foreground that cannot start leaves no pidfile."""
        folder = self.folder_of()
        words: tuple[Any, ...] = ("appserver", "--port", "0", "--token-file", "/no/token")
        program = self.python(TWISTD, "-n", *words, folder=folder)
        self.assertEqual((await program.ended, program.err.count("\n")), (1, 1), program.err)
        self.assertEqual(os.listdir(folder), [])
