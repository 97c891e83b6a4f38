"""Tests of the command lines of servers: wrong words get one line that says what to write."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.python.usage import UsageError
from twisted.scripts.twistd import ServerOptions  # type: ignore[attr-defined]
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import CommandTestCase
from tests.support.slow import slow
from twisted_appserver.errors import OptionError
from twisted_appserver.queue.backends import open_store
from twisted_appserver.serving.command_options import StandaloneOptions
from twisted_appserver.serving.environment import ignored_variables, unknown_variables
from twisted_appserver.serving.tap import Options, makeService
from twisted_appserver.settings import OPTION_TYPES
from twisted_appserver.tqueue.tap import Options as QueueOptions
from twisted_appserver.tqueue.tap import makeService as make_queues


class UsageTests(SynchronousTestCase):
    def refused(self, *words: str, kind: Any = Options, parent: Any = None, **environ: str) -> str:
        """Check that a command line ends with status 2 and one line, and return the line."""
        err = StringIO()
        with patch.dict(os.environ, environ), patch.object(sys, "stderr", err):
            options = kind()
            options.parent = parent
            ended = self.assertRaises(
                SystemExit, lambda: options.parseOptions(words) or options.settings_or_exit()
            )
        self.assertEqual(ended.code, 2)
        line, end = err.getvalue()[:-1], err.getvalue()[-1:]
        self.assertEqual((end, line.count("\n")), ("\n", 0), line)
        return line

    def test_unknown_option_gets_the_closest_one(self) -> None:
        """A misspelt option: one line names the closest option, and no help hides it."""
        for kind, command, program in (
            (Options, "appserver", "appserver"),
            (QueueOptions, "tqueuesrv", "twistd tqueuesrv"),
        ):
            self.assertEqual(
                self.refused("--prot", "1", kind=kind),
                f"{command}: unknown option --prot; did you mean --port? See {program} --help",
            )
            self.assertEqual(
                self.refused("--xyzzy", kind=kind),
                f"{command}: unknown option --xyzzy; see {program} --help",
            )

    def test_option_with_one_dash_or_without_its_value_is_explained(self) -> None:
        """And so is one that has a value too much."""
        self.assertIn("write it with two dashes: --port", self.refused("-port", "8081"))
        self.assertIn("--port needs a value", self.refused("--port"))
        self.assertIn("--check takes no value", self.refused("--check=1"))

    def test_abbreviated_option_is_refused(self) -> None:
        """It could become ambiguous. Values may look like options."""
        for words in (
            ("--time", "3"),
            ("--time=3",),
            ("-p", "81", "--tim"),
            ("--app", "--port", "--tim", "3"),
        ):
            self.assertRegex(self.refused(*words), "unknown option --time?; did you mean --", words)
        self.assertIn("did you mean --store?", self.refused("--stor", "memory:", kind=QueueOptions))
        options = Options()
        options.parseOptions(["--token-file", "--time", "-p", "81", "--", "--chec"])
        self.assertEqual((options["token-file"], options["port"], options["app"]), ("--time", "81", "--chec"))

    def test_size_that_is_no_number_of_bytes_is_explained(self) -> None:
        line = self.refused("--max-body", "1M")
        self.assertIn("--max-body must be a number of bytes, such as 1048576 for 1 MiB, not '1M'", line)

    def test_help_shows_no_empty_default(self) -> None:
        for kind in (Options, QueueOptions):
            self.assertNotIn("[default: ]", " ".join(str(kind()).split()))

    def test_option_of_twistd_behind_the_command_is_explained(self) -> None:
        """An option of twistd that is given to the command."""
        for words in (("-n",), ("--pidfile", "x")):
            line = self.refused(*words, parent=ServerOptions())
            self.assertIn(f"write it before the command: twistd {words[0]} appserver", line)

    def test_wrong_arguments_are_named(self) -> None:
        """More than one application, a port without its option, and any argument of TQueueSrv."""
        self.assertIn("unexpected argument 'b.py'; see appserver --help", self.refused("a.py", "b.py"))
        self.assertIn("given twice: a.py and --app b.py", self.refused("a.py", "--app", "b.py"))
        self.assertIn("8081 is not an application; write --port 8081", self.refused("8081"))
        self.assertIn("unexpected argument 'a.py'", self.refused("a.py", kind=QueueOptions))

    def test_environment_does_not_change_messages_about_the_command_line(self) -> None:
        line = self.refused("--prot", "1", APPSERVER_PORT="8081")
        self.assertIn("did you mean --port?", line)

    def test_wrong_variable_of_the_environment_is_named(self) -> None:
        """A wrong value in the environment: the line names the variable and the value, not the option."""
        self.assertEqual(
            self.refused(APPSERVER_PORT="abc"), "appserver: APPSERVER_PORT must be an integer, not 'abc'"
        )
        self.assertIn(
            "TQUEUESRV_IDLE_TIMEOUT must be", self.refused(kind=QueueOptions, TQUEUESRV_IDLE_TIMEOUT="x")
        )
        self.assertIn("--port must be an integer, not 'x'", self.refused("--port", "x", APPSERVER_PORT="abc"))

    def test_variable_from_kubernetes_is_recognized(self) -> None:
        """Kubernetes sets APPSERVER_PORT for a Service named appserver; the line explains it."""
        line = self.refused(APPSERVER_PORT="tcp://10.0.0.1:80")
        self.assertIn("Kubernetes sets it for a Service named appserver", line)

    def test_variable_that_is_no_option_gets_a_warning(self) -> None:
        """Variables that Kubernetes makes for a Service get none."""
        known = ["APPSERVER_PORT", "APPSERVER_ALLOW_HOST"]
        others = {"APPSERVER_PORT": "1", "APPSERVER_PORT_80_TCP_ADDR": "::1", "APPSERVER_SERVICE_HOST": "::1"}
        found = list(unknown_variables({**others, "PATH": "x"}, "APPSERVER_", known))
        self.assertEqual(found, [])
        self.assertEqual(
            list(unknown_variables({"APPSERVER_ALOW_HOST": "a", "APPSERVER_XYZZY": ""}, "APPSERVER_", known)),
            [
                "the variable APPSERVER_ALOW_HOST has no effect; did you mean APPSERVER_ALLOW_HOST?",
                "the variable APPSERVER_XYZZY has no effect; no option has this name",
            ],
        )

    def test_variable_that_run_server_ignores_gets_a_warning(self) -> None:
        """A misspelt one too. Variables of Kubernetes, and those that resemble no option, get none."""
        others = {
            "APPSERVER_SERVICE_HOST": "::1",
            "APPSERVER_PORT": "tcp://10.0.0.1:80",
            "APPSERVER_URL": "x",
        }
        self.assertEqual(list(ignored_variables({**others, "PORT": "1"}, "APPSERVER_", OPTION_TYPES)), [])
        given = {"APPSERVER_PORT": "1", "APPSERVER_ALOW_HOST": "a", "APPSERVER_TYPE": "forked"}
        expected = (("ALOW_HOST", "allow_host"), ("PORT", "port"), ("TYPE", "server_type"))
        found = list(ignored_variables(given, "APPSERVER_", OPTION_TYPES))
        self.assertEqual(
            [line.partition(" instead;")[0] for line in found],
            [
                f"run_server() ignores the variable APPSERVER_{name}: pass {keyword}="
                for name, keyword in expected
            ],
        )

    def test_option_that_only_one_command_has_is_read_from_the_environment_too(self) -> None:
        with patch.dict(os.environ, TQUEUESRV_STORE="sqlite:a.db"):
            for words, store in (([], "sqlite:a.db"), (["--store", "memory:"], "memory:")):
                options = QueueOptions()
                options.parseOptions(words)
                self.assertEqual(options["store"], store)
        with patch.dict(os.environ, TQUEUESRV_STORE="tasks.db"):
            options = QueueOptions()
            options.parseOptions([])
            error = self.assertRaises(OptionError, open_store, options["store"])
            self.assertIn("TQUEUESRV_STORE must be memory:, sqlite:PATH", options.explain(error))

    def test_malformed_values_have_status_2_and_what_is_missing_has_status_1(self) -> None:
        """A value that no machine could use, and one that this machine cannot use."""
        for kind, make, words, status in (
            (Options, makeService, ("--listen", "8080"), 2),
            (Options, makeService, ("--allow-origin", "x"), 2),
            (Options, makeService, ("--allow-host", "http://x"), 2),
            (Options, makeService, ("--proxied", "x"), 2),
            (Options, makeService, ("--port", "99999"), 2),
            (QueueOptions, make_queues, ("--store", "tasks.db"), 2),
            (Options, makeService, ("--listen", "systemd:domain=INET:index=0"), 1),
            (Options, makeService, ("no.py",), 1),
        ):
            options = kind()
            options.parseOptions(
                [*words] if "no.py" in words or kind is QueueOptions else ["--example", *words]
            )
            with redirect_stderr(StringIO()) as printed:
                ended = self.assertRaises(SystemExit, make, options)
            self.assertEqual((ended.code, printed.getvalue().count("\n")), (status, 1), words)

    def test_application_in_the_arguments_overrides_the_environment(self) -> None:
        """The argument wins over APPSERVER_APP."""
        with patch.dict(os.environ, APPSERVER_APP="b.py"):
            options = Options()
            options.parseOptions(["a.py", "--port", "1"])
        self.assertEqual((options.settings().app, options.settings().port), ("a.py", 1))

    def test_missing_application_names_a_file_that_has_a_table(self) -> None:
        """A folder without urls.py and app.py: the message names a file with a table, or else --example."""
        folder = Path(self.mktemp())
        folder.mkdir()
        options = Options()
        options.parent = StandaloneOptions.__new__(StandaloneOptions)
        options.parseOptions([])
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(folder)
        self.assertIn("or try appserver --example", str(self.assertRaises(UsageError, self.find, options)))
        Path("other.py").write_text("x = 1\n")
        Path("shop.py").write_text("import x\nurl_patterns = ()\n")
        message = str(self.assertRaises(UsageError, self.find, options))
        self.assertTrue(message.endswith("such as appserver shop.py"), message)
        Path("app.py").touch()
        self.assertTrue(self.find(options).file.endswith("app.py"))

    def find(self, options: Options) -> Any:
        return options.application(options.settings())


class StatusTests(CommandTestCase):
    @slow
    async def test_usage_errors_have_status_2_and_failed_starts_have_status_1(self) -> None:
        """Also under twistd. A wrong command line ends before twistd prints its help."""
        folder = self.folder_of(app="1 / 0")
        for words, status in (
            (("--prot", "1"), 2),
            (("--port", "x"), 2),
            (("--port", "0"), 1),
            (("no.py",), 1),
        ):
            for program in (
                self.twistd(*words, folder=folder),
                self.python("-m", "twisted_appserver", *words, folder=folder),
            ):
                self.assertEqual((await program.ended, program.out), (status, ""), program.err)
                self.assertEqual(program.err.count("\n"), 1, program.err)

    async def test_version_names_this_package_twisted_and_python(self) -> None:
        """--version prints the three versions."""
        program = self.python("-m", "twisted_appserver", "--version", folder=self.folder_of())
        self.assertEqual(await program.ended, 0)
        self.assertRegex(program.out, r"^twisted_appserver \S+, Twisted \d+\.\d+\S*, Python 3\.\d+\S*\n$")
