"""Tests of what a server logs when it starts."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import ARTICLE, TWISTD, CommandTestCase
from tests.support.slow import slow
from twisted_appserver.core.application import Application
from twisted_appserver.serving.banner import banner, describe_access, describe_application, docs_url
from twisted_appserver.settings import Settings


class FactTests(SynchronousTestCase):
    def test_application_is_named_with_its_file(self) -> None:
        """A file, a module, another variable than url_patterns, and a table without a file."""
        for application, expected in (
            (Application(file="/srv/shop.py"), "shop (/srv/shop.py), 2 routes"),
            (Application(file="/srv/shop.py", name="urls"), "shop:urls (/srv/shop.py), 2 routes"),
            (Application(module=__name__), f"{__name__} ({__file__}), 2 routes"),
            (Application(name=""), "a table without a file, 2 routes"),
        ):
            self.assertEqual(describe_application(application, 2), expected)

    def test_example_is_named_as_such(self) -> None:
        """Whoever starts in the wrong folder sees that the example is served."""
        text = describe_application(Application.parse("twisted_appserver.example"), 1)
        self.assertEqual(text, "the example of this package, 1 route; to serve your own: appserver FILE.py")

    def test_docs_url_can_be_opened(self) -> None:
        """The page's URL has a host that a client can connect to, and unix sockets need another command."""
        for urls, expected in (
            (["http://localhost:1/"], "http://localhost:1/-/docs"),
            (["http://0.0.0.0:1/"], "http://localhost:1/-/docs"),
            (["https://[::]:1/"], "https://localhost:1/-/docs"),
            (["http://[::1]:1/"], "http://[::1]:1/-/docs"),
            (["/run/s", "https://10.0.0.1:1/"], "https://10.0.0.1:1/-/docs"),
            (["/run/s"], "curl --unix-socket /run/s http://localhost/-/docs"),
            ([], ""),
        ):
            self.assertEqual(docs_url(urls), expected)

    def test_required_credentials_are_named(self) -> None:
        """A reader sees why requests get 401."""
        self.assertEqual(describe_access(Settings()), "")
        both = Settings(token_file="token", auth=("hashed:x",))
        self.assertEqual(describe_access(both), "the token in token or a name and password")

    def test_terminal_gets_lines_and_other_logs_get_one_entry(self) -> None:
        """The same facts, and on a terminal how to stop."""
        facts = {"application": "shop", "access": "", "functions": "URL"}
        self.assertEqual(banner("first", facts, False), "first; application: shop; functions: URL")
        lines = [line.split() for line in banner("first", facts, True).splitlines()]
        self.assertEqual(lines[:2], [["first"], ["application", "shop"]])
        self.assertEqual(lines[2:], [["functions", "URL"], ["stop", "Ctrl-C"]])


class TerminalTests(CommandTestCase):
    """Servers whose output is a terminal."""

    timeout = 120

    async def served(self, *command: str, stop: bool = True, **options: Any) -> list[str]:
        """Start a server on a terminal, press Ctrl-C when it serves, and return the lines of its banner."""
        program = self.python(*command, terminal=True, TERM="dumb", **options)
        await program.line(r"stop +Ctrl-C")
        program.transport.write(program.CTRL_C)
        self.assertIn(await program.ended, (0, -signal.SIGINT), program.output)
        self.assertNotIn("Traceback", program.output)
        lines = program.output.splitlines()
        begin = next(number for number, line in enumerate(lines) if "http://localhost" in line)
        end = next(number for number, line in enumerate(lines) if line.startswith("  stop"))
        return lines[begin : end + 1]

    async def test_banner_shows_what_is_served_where_and_how_to_stop(self) -> None:
        """A script, the command and twistd, on a terminal."""
        folder = self.folder_of(shop=ARTICLE.replace("8081", "0"))
        command = ("-m", "twisted_appserver", "shop:url_patterns", "-p", "0", "--insecure")
        for words in (("shop.py",), command):
            first, *rest = await self.served(*words, folder=folder)
            url = re.search(r"http://localhost:\d+/", first)
            assert url is not None
            self.assertIn("threaded, 10 threads", first)
            self.assertEqual([line.split() for line in rest], [
                ["application", "shop", f"({folder}/shop.py),", "1", "route"],
                ["functions", f"{url[0]}-/docs"],
                ["stop", "Ctrl-C"],
            ])  # fmt: skip

    @slow
    async def test_banner_is_right_for_every_kind_of_server(self) -> None:
        """The example, --no-admin, a token, worker processes, and TQueueSrv."""
        folder = self.folder_of()
        token = Path(folder, "token")
        token.touch(0o600)
        token.write_text("0123456789abcdefTOKEN\n")
        words = (TWISTD, "-n", "--pidfile=")
        for given, said in (
            (("appserver", "--no-admin"), "application  the example of this package"),
            (("appserver", "--token-file", "token"), "access       the token in token"),
            (("appserver", "--type", "forked", "--workers", "1"), "forked, 1 worker\n"),
            (("tqueuesrv",), "application  TQueueSrv, tasks in memory: they are lost when it ends"),
            (("tqueuesrv", "--store", "sqlite:tasks.db"), "application  TQueueSrv, tasks in sqlite:tasks.db"),
        ):
            banner = "\n".join(await self.served(*words, *given, "--port", "0", folder=folder))
            self.assertIn(said, banner)
            self.assertEqual("/-/docs" in banner, "--no-admin" not in given)

    async def test_json_on_a_terminal_has_one_entry(self) -> None:
        """--log-format json, on a terminal: the banner is one entry."""
        words = ("-m", "twisted_appserver", "--example", "-p", "0", "--log-format", "json")
        program = self.python(*words, terminal=True, folder=self.folder_of())
        await program.line("application: the example of this package.*functions: http://localhost")
        program.transport.write(program.CTRL_C)
        await program.ended
        self.assertNotIn("stop         Ctrl-C", program.output)

    async def test_log_that_is_no_terminal_gets_one_entry(self) -> None:
        """Without a terminal the facts are in one entry."""
        folder = self.folder_of(shop=ARTICLE)
        program = self.twistd("shop.py", "--port", "0", folder=folder)
        port = await program.port()
        self.assertIn(
            f'"http://localhost:{port}/ threaded, 10 threads; application: shop ({folder}/shop.py), 1 route; '
            f'functions: http://localhost:{port}/-/docs"',
            program.output,
        )
        await self.stopped(program)
