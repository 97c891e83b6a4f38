"""Tests of the start of worker processes: what keeps them from starting is reported, and they start early."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import ARTICLE, CommandTestCase
from tests.support.programs import PERSON
from tests.support.slow import slow
from tests.support.wire import fetch
from twisted_appserver.core.shadowed_modules import shadowing_advice

MEETS = """
import os, sys, time

def wait_for(path):
    for _ in range(3000):
        if os.path.exists(path):
            return
        time.sleep(0.01)
    raise RuntimeError(f"there is no {path}")

if "worker" in sys.argv[0]:
    open("worker" + VERSION, "w").close()
    wait_for("server" + VERSION)
else:
    open("server" + VERSION, "w").close()
    wait_for("worker" + VERSION)

def version():
    return {"version": VERSION}

url_patterns = (("/version/", version),)
"""


class ShadowTests(CommandTestCase):
    """A file of the application has the name of a standard module."""

    timeout = 120
    broken = "raise AttributeError('this is not the standard library')\n"

    @slow
    async def test_file_named_like_an_imported_module_does_no_harm(self) -> None:
        """The server and its workers have imported the standard module before."""
        for name in ("random", "types", "enum", "tempfile"):
            folder = self.folder_of(**{"urls": ARTICLE, name: self.broken})
            for server_type in ("threaded", "forked"):
                program = self.twistd("--port", "0", "--type", server_type, folder=folder)
                self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
                await self.stopped(program)

    async def refused(self, said: str, folder: str, **environ: str) -> None:
        for server_type in ("threaded", "forked"):
            program = self.twistd("--port", "0", "--type", server_type, folder=folder, **environ)
            self.assertEqual(await program.ended, 1, program.output)
            (line,) = program.err.splitlines()
            self.assertIn(said, line)

    @slow
    async def test_file_that_hides_a_module_is_reported(self) -> None:
        """The error names the file, whether it fails itself or a module that imports it."""
        urls = "import chess\nurl_patterns = ()\n"
        chess = "import wave\nwave.open\n"
        for text in (self.broken, ""):
            folder = self.folder_of(urls=urls, chess=chess, wave=text)
            await self.refused(f"{folder}/wave.py hides the module wave of the standard library", folder)

    @slow
    async def test_last_line_of_a_worker_that_cannot_start_is_reported(self) -> None:
        """The file that hides a module is named too."""
        folder = self.folder_of(urls=ARTICLE)
        Path(folder, "site").mkdir()
        Path(folder, "site", "sitecustomize.py").write_text(
            "import os, sys\nif 'twisted_appserver.executors.processes.worker_main' in sys.orig_argv:\n"
            "    os.write(2, b'nowhere to be found\\n\\n')\n    os._exit(3)\n"
        )
        Path(folder, "site", "wave.py").touch()
        site = os.path.join(folder, "site")
        program = self.twistd(
            "--port", "0", "--type", "forked", folder=folder,
            PYTHONPATH=os.pathsep.join([os.environ.get("PYTHONPATH", ""), site]),
        )  # fmt: skip
        self.assertEqual(await program.ended, 1, program.output)
        self.assertIn("ended with status 3: nowhere to be found", program.err)
        self.assertIn(f"{site}/wave.py hides the module wave", program.err)


class SignalTests(CommandTestCase):
    timeout = 120

    async def test_ctrl_c_while_a_worker_starts_does_not_end_it(self) -> None:
        """A terminal sends SIGINT to workers too. It must not interrupt the start of Python in a worker."""
        folder = self.folder_of(
            urls=ARTICLE,
            sitecustomize="import os, signal, sys\n"
            "if 'twisted_appserver.executors.processes.worker_main' in sys.orig_argv:\n"
            "    os.kill(os.getpid(), signal.SIGINT)\n    os.kill(os.getpid(), signal.SIGTERM)\n",
        )
        search = os.pathsep.join([os.environ.get("PYTHONPATH", ""), folder])
        words = ("--port", "0", "--type", "forked", "--workers", "1")
        program = self.twistd(*words, folder=folder, PYTHONPATH=search)
        self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        await self.stopped(program)
        self.assertNotIn("KeyboardInterrupt", program.output)


class AdviceTests(SynchronousTestCase):
    def test_package_hides_a_module_too(self) -> None:
        """Other files and folders do not."""
        folder = os.path.abspath(self.mktemp())
        for name in ("random", "wave", "application"):
            os.makedirs(os.path.join(folder, name))
        Path(folder, "application.py").touch()
        self.assertEqual(shadowing_advice([folder, "/no/such/folder"]), "")
        Path(folder, "wave", "__init__.py").touch()
        self.assertIn(f"{folder}/wave hides the module wave", shadowing_advice([folder]))
        self.assertEqual(shadowing_advice([folder], ValueError()), "")


class HeadStartTests(CommandTestCase):
    timeout = 120

    @slow
    async def test_workers_import_beside_the_server(self) -> None:
        """At the start and at each reload, both import the application at the same time."""
        folder = self.folder_of(app=MEETS.replace("VERSION", "'1'"))
        words = ("--port", "0", "--type", "forked", "--workers", "2")
        program = self.twistd(*words, folder=folder)
        port = await program.port()
        while (await fetch(port, "/-/ready")).status != 200:
            await deferLater(reactor, 0.02)
        self.assertEqual((await fetch(port, "/version/")).json, {"version": "1"})
        path = Path(folder, "app.py")
        path.write_text(MEETS.replace("VERSION", "'22'"))
        program.signal("HUP")
        await program.line("application reloaded")
        self.assertEqual((await fetch(port, "/version/")).json, {"version": "22"})
        path.write_text("this is no Python\n")
        program.signal("HUP")
        await program.line("cannot be imported")
        self.assertEqual((await fetch(port, "/version/")).json, {"version": "22"})
        self.assertEqual(len((await fetch(port, "/-/status.json")).json["workers"]), 2)
        await self.stopped(program)

    @slow
    async def test_failed_start_leaves_no_workers_and_no_files(self) -> None:
        """The reason is one line."""
        for words, app in (((), "1 / 0"), (("--token-file", "/no/token"), ARTICLE)):
            folder = self.folder_of(app=app)
            temporary = self.folder_of()
            program = self.twistd("--port", "0", "--type", "forked", *words, folder=folder, TMPDIR=temporary)
            self.assertEqual(await program.ended, 1, program.output)
            self.assertEqual(program.err.count("\n"), 1, program.err)
            while program.processes():
                await deferLater(reactor, 0.02)
            self.assertEqual(os.listdir(temporary), [])
