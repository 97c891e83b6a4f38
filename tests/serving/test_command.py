"""Tests of the commands that start a server, as real processes."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from tests.support.programs import PERSON, Program, ProgramTestCase
from tests.support.slow import slow
from tests.support.wire import connect, fetch, request

ARTICLE = """\
import twisted_appserver as appserver

def get_object(object_type, object_id):
    return {"object_type": object_type, "object_id": object_id}

url_patterns = (
    (r'/(?P<object_type>)/get/(?P<object_id>)/', get_object),
)

if __name__ == "__main__":
    appserver.run_server(port=8081, server_type=appserver.THREADED_SERVER)
"""
TYPES = {"threaded": "THREADED_SERVER", "forked": "FORKED_SERVER"}
TWISTD = os.path.join(os.path.dirname(sys.executable), "twistd")


class CommandTestCase(ProgramTestCase):
    timeout = 60

    def folder_of(self, **files: str) -> str:
        """A new folder with these files in it, by their names without C{.py}."""
        path = os.path.abspath(self.mktemp())
        os.mkdir(path)
        for name, text in files.items():
            with open(os.path.join(path, name + ".py"), "w") as made:
                made.write(textwrap.dedent(text))
        return path

    def twistd(self, *arguments: str, **options: Any) -> Program:
        return self.python(TWISTD, "-n", "--pidfile=", "appserver", *arguments, **options)

    async def stopped(self, program: Program, name: str = "TERM") -> None:
        """Send a signal, and check that the program ends with status 0 or, as twistd does, by the signal."""
        program.signal(name)
        self.assertIn(await program.ended, (0, -getattr(signal, "SIG" + name)), program.err)
        self.assertNotIn("Traceback", program.err + program.out)


class ScriptTests(CommandTestCase):
    """C{python file.py}"""

    def article(self, server_type: str) -> str:
        """Write the example, with port 0, into a folder of its own."""
        text = ARTICLE.replace("8081", "0").replace("THREADED_SERVER", TYPES[server_type])
        return os.path.join(self.folder_of(article=text), "article.py")

    async def check(self, server_type: str, unit: str) -> None:
        program = self.python(self.article(server_type))
        line = await program.line()
        self.assertEqual((line[2], line[4]), (server_type, unit))
        answer = await fetch(await program.port(), "/person/get/123/")
        self.assertEqual((answer.status, answer.body), (200, PERSON))
        self.assertEqual(answer.headers["content-type"], "application/json")
        await self.stopped(program)

    async def test_article_example_runs_with_threads(self) -> None:
        """The example of the article runs with threads."""
        await self.check("threaded", "threads")

    async def test_variable_that_run_server_ignores_is_logged(self) -> None:
        """Only the commands read options from the environment."""
        program = self.python(self.article("threaded"), APPSERVER_PORT="1")
        await program.line("ignores the variable APPSERVER_PORT: pass port= instead")
        await self.stopped(program)

    async def test_article_example_runs_with_worker_processes(self) -> None:
        """The example of the article runs with worker processes, which import the script by its path."""
        await self.check("forked", "workers")

    async def test_ctrl_c_ends_the_server(self) -> None:
        """Ctrl-C ends the server."""
        program = self.python(self.article("forked"))
        await fetch(await program.port(), "/person/get/123/")
        await self.stopped(program, "INT")

    async def test_sigterm_finishes_and_answers_running_calls(self) -> None:
        """On SIGTERM running calls are finished and answered, in both types."""
        script = """
            import os, time
            import twisted_appserver as appserver

            def holds(path):
                open(path, "x").close()
                while os.path.exists(path):
                    time.sleep(0.01)
                return {"finished": True}

            url_patterns = ((r"/holds/(?P<path>.*)", holds),)

            if __name__ == "__main__":
                appserver.run_server(port=0, server_type=appserver.TYPE)
        """
        for server_type in TYPES.values():
            text = script.replace("appserver.TYPE", f"appserver.{server_type}")
            program = self.python(os.path.join(self.folder_of(script=text), "script.py"))
            path = os.path.abspath(self.mktemp())
            connection = await connect(await program.port())
            answer = connection.send(request("GET", f"/holds/{path}"))
            while not os.path.exists(path):
                await deferLater(reactor, 0.005)
            program.signal("TERM")
            while True:  # until it no longer listens
                try:
                    await (await connect(await program.port())).close()
                except Exception:
                    break
            self.assertFalse(answer.called)
            os.remove(path)
            self.assertEqual((await answer).json, {"finished": True})
            self.assertEqual(await program.ended, 0, program.err)
            await connection.close()

    async def test_missing_main_guard_is_a_clear_error(self) -> None:
        """Without C{if __name__ == "__main__":} worker processes would start servers. The error names it."""
        text = ARTICLE.replace("8081", "0").replace("THREADED_SERVER", "FORKED_SERVER")
        text = text.replace('if __name__ == "__main__":\n    ', "")
        program = self.python(os.path.join(self.folder_of(script=text), "script.py"))
        self.assertNotEqual(await program.ended, 0)
        self.assertIn("__name__", program.err)
        self.assertNotIn("Traceback", program.err)

    async def refused(self, statement: str) -> str:
        """Run a script with this statement, and return the one line with which it ends."""
        text = f"import twisted_appserver\ntwisted_appserver.{statement}\n"
        program = self.python(os.path.join(self.folder_of(script=text), "script.py"))
        self.assertNotEqual(await program.ended, 0)
        self.assertEqual(program.err.count("\n"), 1, program.err)
        return str(program.err)

    async def test_script_without_url_patterns_gets_one_line(self) -> None:
        """A script without url_patterns ends with one line."""
        self.assertIn("url_patterns", await self.refused("run_server(port=0)"))

    async def test_wrong_option_gets_one_line(self) -> None:
        """A script with an unknown option, or with a value of the wrong type, ends with one line."""
        self.assertIn("--port must be an integer, not '0'", await self.refused("run_server((), port='0')"))
        self.assertIn(
            "use server_type, the keyword argument for --type",
            await self.refused("run_server((), type='forked')"),
        )

    async def test_table_without_a_name_is_refused_for_workers(self) -> None:
        """A table without a name is refused, because worker processes could not import it."""
        self.assertIn("global variable", await self.refused("run_server((('/', print),), 0, 'forked')"))

    async def test_script_may_have_any_name(self) -> None:
        """A script may have any file name, also with worker processes and on SIGHUP."""
        script = self.article("forked")[: -len(".py")]
        os.rename(script + ".py", script)
        program = self.python(script)
        self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        program.signal("HUP")
        await program.line("application reloaded")
        self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        await self.stopped(program)

    @slow
    async def test_code_from_no_file_is_served_by_threads_only(self) -> None:
        """Code without a file can be served, but not by worker processes, and it cannot be reloaded."""
        text = ARTICLE.replace("8081", "0")
        program = self.python("-c", text)
        self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        program.signal("HUP")
        await program.line("still serving the previous code: .*there is none")
        await self.stopped(program)
        text = text.replace("THREADED_SERVER", "FORKED_SERVER")
        for words in (("-c", text), ("-",)):
            program = self.python(*words)
            program.transport.write(text.encode())
            program.transport.closeStdin()
            self.assertNotEqual(await program.ended, 0)
            self.assertEqual(program.err.count("\n"), 1, program.err)
            self.assertIn("need a file to import the application from", program.err)

    async def test_what_a_worker_prints_is_logged_with_its_pid(self) -> None:
        """What a function prints in a worker is logged with the pid of the worker."""
        text = ARTICLE.replace("8081", "0").replace("THREADED_SERVER", "FORKED_SERVER")
        text = text.replace("    return", "    import os\n    print('printed by', os.getpid())\n    return")
        program = self.python(os.path.join(self.folder_of(script=text), "script.py"))
        answer = await fetch(await program.port(), "/person/get/123/")
        self.assertEqual(answer.body, PERSON)
        await self.stopped(program)
        self.assertRegex(program.err, r"\[(\d+)\] printed by \1\b")


class TwistdTests(CommandTestCase):
    """C{twistd -n appserver}, C{appserver} and C{python -m twisted_appserver}"""

    async def test_file_is_served_in_both_types(self) -> None:
        """--app takes a file, in both types."""
        folder = self.folder_of(article=ARTICLE)
        for server_type in TYPES:
            program = self.twistd(
                "--port", "0", "--app", os.path.join(folder, "article.py"), "--type", server_type
            )
            self.assertEqual((await program.line())[2], server_type)
            answer = await fetch(await program.port(), "/person/get/123/")
            self.assertEqual((answer.status, answer.body), (200, PERSON))
            await self.stopped(program)

    @slow
    async def test_urls_py_in_the_current_folder_is_the_default(self) -> None:
        """Without --app, urls.py in the current folder is served, and it can import modules beside it."""
        folder = self.folder_of(urls=ARTICLE.replace("object_id}", "object_id, **other.extra}").replace(
            "import", "import other\nimport", 1), other="extra = {'from': 'urls'}")  # fmt: skip
        started = [
            self.twistd("--port", "0", *arguments, folder=folder)
            for arguments in ((), ("--type", "forked"), ("--app", "urls"), ("--app", "urls:url_patterns"))
        ]
        for program in started:
            answer = await fetch(await program.port(), "/person/get/123/")
            self.assertEqual(answer.json["from"], "urls")
        await gatherResults([Deferred.fromCoroutine(self.stopped(program)) for program in started])

    async def test_twistd_serves_the_example_without_any_application(self) -> None:
        """Without an application C{twistd appserver} serves the example."""
        folder = self.folder_of()
        program = self.twistd("--port", "0", "--threads", "3", folder=folder)
        self.assertEqual((await program.line())[3], "3")
        self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        await self.stopped(program)
        self.assertEqual(os.listdir(folder), [])

    async def test_command_serves_the_example_only_if_told_to(self) -> None:
        """C{appserver}, also as C{python -m}, serves the example with --example, and otherwise nothing."""
        folder = self.folder_of()
        program = self.python("-m", "twisted_appserver", "--example", "-p", "0", folder=folder)
        self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        await self.stopped(program)
        for words in ((), ("--check",)):
            program = self.python("-m", "twisted_appserver", *words, folder=folder)
            self.assertEqual((await program.ended, program.out), (2, ""))
            self.assertIn(f"no application: {folder} contains neither urls.py nor app.py", program.err)
            self.assertEqual(program.err.count("\n"), 1, program.err)

    async def test_application_may_be_an_argument(self) -> None:
        """The application may stand anywhere among the options: a file, a module, or module:name."""
        folder = self.folder_of(shop=ARTICLE)
        commands = (
            ("shop.py", "--port", "0"),
            ("--port", "0", "shop"),
            ("-p0", "shop:url_patterns", "--insecure"),
        )
        started = [self.twistd(*words, folder=folder) for words in commands]
        for program in started:
            self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        await gatherResults([Deferred.fromCoroutine(self.stopped(program)) for program in started])

    async def test_listen_takes_several_endpoints(self) -> None:
        """--listen takes several endpoints."""
        listen = ("--listen", "tcp:0:interface=127.0.0.1") * 2
        program = self.twistd(*listen, folder=self.folder_of())
        self.assertEqual((await fetch(await program.port(), "/person/get/123/")).body, PERSON)
        await self.stopped(program)

    async def test_help_explains_every_option(self) -> None:
        """--help explains every option; twistd lists the plugin."""
        program = self.python("-m", "twisted_appserver", "--help", folder=self.folder_of())
        plugins = self.python(TWISTD, "--help")
        self.assertEqual(await program.ended, 0)
        for option in ("--port", "--listen", "--app", "--type", "--threads", "--workers", "--timeout"):
            self.assertIn(option, program.out)
        self.assertEqual(await plugins.ended, 0)
        self.assertIn("appserver", plugins.out)


class OneLineTests(CommandTestCase):
    """Errors are exactly one line on stderr, and the exit status is not 0."""

    async def wrong(self, *arguments: str, said: str, **files: str) -> None:
        program = self.twistd(*arguments, folder=self.folder_of(**files))
        self.assertNotEqual(await program.ended, 0)
        lines = [line for line in program.err.splitlines() if line.strip()]
        self.assertEqual(len(lines), 1, program.err + program.out)
        self.assertIn(said, lines[0])
        self.assertNotIn("Traceback", program.out)

    @slow
    async def test_busy_port_gets_one_line(self) -> None:
        """The port is in use."""
        program = self.twistd("--port", "0", folder=self.folder_of())
        port = str(await program.port())
        await self.wrong("--port", port, said=port)
        await self.wrong("--port", port, "--type", "forked", said=port)
        await self.stopped(program)

    async def test_busy_port_gets_one_line_from_run_server(self) -> None:
        """The port is in use, with run_server()."""
        program = self.twistd("--port", "0", folder=self.folder_of())
        port = str(await program.port())
        script = os.path.join(self.folder_of(article=ARTICLE.replace("8081", port)), "article.py")
        second = self.python(script)
        self.assertNotEqual(await second.ended, 0)
        self.assertEqual(second.err.count("\n"), 1, second.err)
        self.assertIn(port, second.err)
        await self.stopped(program)

    @slow
    async def test_missing_or_broken_application_gets_one_line(self) -> None:
        """The module or file is missing or broken, or has no table."""
        await self.wrong("--app", "no_such_module", said="no_such_module")
        await self.wrong("--app", "no_such_file.py", said="no_such_file.py")
        await self.wrong("--app", ":x", said="module:name")
        await self.wrong("--app", "urls", said="url_patterns", urls="")
        await self.wrong(said="SyntaxError", urls="def")
        await self.wrong(said="ZeroDivisionError", app="1 / 0")

    async def test_invalid_pattern_gets_one_line(self) -> None:
        """A pattern is invalid."""
        await self.wrong(said="url_patterns[0]", urls="url_patterns = [('/(', print)]")

    @slow
    async def test_invalid_options_get_one_line(self) -> None:
        """An option has an invalid value."""
        await self.wrong("--type", "sideways", said="sideways")
        await self.wrong("--port", "many", said="many")
        await self.wrong("--threads", "0", said="--threads")
        await self.wrong("--listen", "nonsense:1", said="nonsense")

    async def test_application_that_workers_cannot_import_gets_one_line(self) -> None:
        """The server can import the application, but workers cannot."""
        urls = """
            import os, sys
            if sys.argv[0].endswith("worker_main.py"):
                raise RuntimeError("not here")
            url_patterns = ()
        """
        program = self.twistd("--port", "0", "--type", "forked", folder=self.folder_of(urls=urls))
        self.assertNotEqual(await program.ended, 0)
        self.assertIn("not here", program.err + program.out)
        self.assertNotIn("Traceback", program.err + program.out)
