"""The documentation is right: its programs, commands, tables, links and names."""

from __future__ import annotations

import ast
import json
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from tests.support.programs import ROOT, ProgramTestCase
from tests.support.slow import slow
from twisted_appserver.core import request_data as variables
from twisted_appserver.core.router import Router
from twisted_appserver.http.request_parser import MAX_HEAD, MAX_HEADERS, MAX_TARGET
from twisted_appserver.serving import service
from twisted_appserver.serving.command_options import SHORT
from twisted_appserver.serving.tap import Options
from twisted_appserver.settings import Settings, cli_name
from twisted_appserver.testing import Client

PACKAGE = ROOT / "twisted_appserver"
TOP = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
PAGES = [*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md"))]
OPTION_COLUMNS = "| option | meaning | default |\n|---|---|---|\n"
CURL = r"(?m)^\$ (curl .+)\n(.*)$"

# The sections with commands: the test that runs all of them, or why none does.
SECTIONS = {
    ("README.md", "Install and test"): "no test: .ci/run runs them",
    ("README.md", "In ten commands"): "test_docs.TenTests.test_ten_commands_of_the_readme_work",
    ("CONTRIBUTING.md", "Set-up"): "no test: it needs the network",
    ("CONTRIBUTING.md", "Testing"): "no test: it runs tests",
    ("CONTRIBUTING.md", "Continuous integration"): "no test: .ci/run runs them",
    ("deployment.md", "systemd"): "no test: it changes the system",
    ("deployment.md", "TQueueSrv and its workers"): "no test: it changes the system",
    ("scaling.md", "Several hosts, and one cut off"): "no test: it needs root",
    ("guide.md", "Guide"): "test_docs.ProgramTests.test_curl_commands_of_the_guide_get_its_responses",
    ("guide.md", "File uploads"): "test_docs_commands.GuideTests.test_files_are_uploaded",
    ("guide.md", "Jobs"): "jobs.test_jobs.MemoryTests.test_prefer_respond_async_makes_a_job",
    ("guide.md", "Requests that clients may repeat"):
        "jobs.test_survival.SurvivalTests."
        "test_request_with_a_key_is_performed_once_although_the_server_is_killed",
    ("guide.md", "Jobs that survive"):
        "jobs.test_survival.SurvivalTests.test_every_job_ends_although_the_server_is_killed_again_and_again",
    ("guide.md", "The command line"): "test_docs_commands.GuideTests.test_servers_start",
    ("guide.md", "Testing"): "test_docs_commands.GuideTests.test_each_runner_runs_the_test",
    ("guide.md", "Generated clients"): "no test: tests.admin.test_clients installs generators",
    ("guide.md", "Pages, probes and figures"): "test_docs_commands.GuideTests.test_token_is_accepted",
    ("guide.md", "Authentication"): "test_docs_commands.GuideTests.test_token_is_accepted",
    ("guide.md", "CORS"): "test_docs_commands.BrowserTests.test_page_of_another_origin_calls_the_service",
    ("coming-from.md", "Celery and Redis"): "test_coming_from.CeleryTests.test_service_works",
    ("coming-from.md", "RQ and Redis"): "test_coming_from.RqTests.test_service_works",
    ("coming-from.md", "Huey and SQLite"): "test_coming_from.HueyTests.test_service_works",
    ("coming-from.md", "twisted_appserver and SQLite"):
        "test_coming_from.AppserverTests.test_service_works",
    ("tqueue.md", "TQueueSrv: a queue for several hosts"): "test_docs_commands.QueueTests.test_servers_start",
    ("tqueue.md", "From the command line"): "test_docs_commands.QueueTests.test_verbs_work",
    ("tqueue.md", "Workers"): "test_docs_commands.QueueTests.test_workers_start",
    ("tqueue.md", "HTTP requests"): "tqueue.test_docs.DocsTests.test_requests_with_curl",
    ("tqueue.md", "Results"): "test_docs_commands.QueueTests.test_tasks_are_finished",
    ("tqueue.md", "Failures and attempts"): "test_docs_commands.QueueTests.test_tasks_are_finished",
    ("tqueue.md", "Pauses after failures"): "test_docs_commands.QueueTests.test_tasks_are_finished",
    ("tqueue.md", "Options for one task"): "test_docs_commands.QueueTests.test_verbs_work",
    ("tqueue.md", "Groups"): "test_docs_commands.QueueTests.test_verbs_work",
    ("tqueue.md", "Unique keys"): "test_docs_commands.QueueTests.test_verbs_work",
    ("tqueue.md", "Rates"): "test_docs_commands.QueueTests.test_verbs_work",
    ("tqueue.md", "Traces"): "test_docs_commands.QueueTests.test_verbs_work",
    ("tqueue.md", "PostgreSQL"): "no test: it needs a database",
}  # fmt: skip


def blocks(page: Path, language: str) -> list[str]:
    """Return the code blocks of a page in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def programs() -> Iterator[tuple[str, str]]:
    """Yield each Python block of each page, with a name for messages."""
    for page in PAGES:
        if page.name == "troubleshooting.md":  # common mistakes, which do not work
            continue
        for number, block in enumerate(blocks(page, "python"), 1):
            yield f"Python block {number} of {page.name}", block


def commands(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each command of a page below the heading of its section."""
    section, language = "", ""
    for line in page.read_text().splitlines():
        if line.startswith("```"):
            language = line[3:] if not language else ""
        elif not language and (heading := re.match(r"#+ (.+)", line)):
            section = heading[1]
        elif language in ("sh", "console", "text") and line.startswith("$ "):
            yield section, line[2:]
        elif language == "sh" and re.match(r"[a-z(.]", line):
            yield section, re.sub(r"\s{2,}#.*", "", line)


def options_table() -> str:
    """Return the table of options that the guide must have."""
    rows = []
    for each in fields(Settings):
        meaning, _, default = each.metadata["help"].partition(" [")
        if each.type == "bool":
            default = "off"
        elif each.default is not None:
            default = "none" if each.default == () else str(each.default)
        option = f"{cli_name(each.name)} {each.metadata['metavar']}".rstrip()
        short = f", `-{SHORT[each.name]} {each.metadata['metavar']}`" if each.name in SHORT else ""
        rows.append(f"| `{option}`{short} | {meaning} | {default.removesuffix(']')} |\n")
    return OPTION_COLUMNS + "".join(rows)


def other_options() -> str:
    """Return the guide's table of the options that only the command line has."""
    known = {cli_name(each.name)[2:] for each in fields(Settings)}
    rows = [(name, text) for name, _, text in Options.optFlags if name not in known]
    rows += [("version", "Print the versions of this package, Twisted and Python, and exit")]
    rows += [("help", "Print all options, and exit")]
    return "| option | what it does |\n|---|---|\n" + "".join(f"| `--{n}` | {text} |\n" for n, text in rows)


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")


class PageTests(SynchronousTestCase):
    """Every page, read as text."""

    def test_links_within_the_repository_lead_somewhere(self) -> None:
        """To a file and heading that exist."""
        for page in PAGES:
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
                if "://" in target:
                    continue
                path, _, heading = target.partition("#")
                file = page.parent / path if path else page
                self.assertTrue(file.exists(), f"{page.name} links to {target}")
                if heading:
                    titles = re.findall(r"(?m)^#+ (.+)$", file.read_text())
                    anchors = list(map(anchor, titles))
                    self.assertIn(heading, anchors, f"{page.name} links to {target}")

    def test_contents_of_the_guide_list_its_headings(self) -> None:
        """In their order: a repository shows no table of contents of its own."""
        text = (ROOT / "docs" / "guide.md").read_text()
        contents = text.partition("\n## ")[0]
        found = re.findall(r"\[([^\]]+)\]\(#([^)]+)\)", contents)
        titles = re.findall(r"(?m)^## (.+)$", re.sub(r"(?ms)^```.*?^```$", "", text))
        self.assertEqual([title for title, _ in found], titles)
        self.assertEqual([target for _, target in found], list(map(anchor, titles)))

    def test_servers_in_the_foreground_can_run_beside_each_other(self) -> None:
        """In one folder: C{twistd} writes no pidfile there."""
        for page in PAGES:
            if page.name != "troubleshooting.md":
                found = re.findall(r"twistd -n(?! --pidfile=).*", page.read_text())
                self.assertEqual(found, [], page.name)

    def test_every_python_block_compiles(self) -> None:
        for name, block in programs():
            compile(block, name, "exec")

    def test_url_patterns_of_every_python_block_can_be_served(self) -> None:
        count = 0
        for name, block in programs():
            if "url_patterns =" in block:
                module: dict[str, Any] = {"__name__": "documented"}
                exec(compile(block, name, "exec"), module)
                self.assertTrue(Router(module["url_patterns"]).handlers, name)
                count += 1
        self.assertTrue(count)

    def test_example_of_the_readme_is_examples_article(self) -> None:
        """Byte for byte."""
        example = blocks(ROOT / "README.md", "python")[0]
        self.assertEqual(example, (ROOT / "examples" / "article.py").read_text())

    def test_guide_has_the_table_of_options(self) -> None:
        """Complete, and as the command line shows it."""
        expected = options_table()
        found = re.search(re.escape(OPTION_COLUMNS) + r"(?:\|.*\n)*", (ROOT / "docs/guide.md").read_text())
        shown = found[0] if found else ""
        self.assertTrue(shown == expected, f"the guide's table of options should be\n\n{expected}")

    def test_guide_has_the_options_without_a_default(self) -> None:
        expected = other_options()
        self.assertIn("--check", expected)
        self.assertIn(expected, (ROOT / "docs/guide.md").read_text())

    def test_every_option_that_a_page_names_exists(self) -> None:
        known = {cli_name(each.name) for each in fields(Settings)} | {"--version", "--help"}
        known |= {f"--{name}" for name, _, _ in Options.optFlags}
        for path in (PACKAGE / "tqueue" / "command").glob("*.py"):
            known |= set(re.findall(r'"(--[a-z-]+)"', path.read_text()))
        for page in PAGES:
            others = {
                "--pidfile",
                "--reactor",
                "--soak",
            }  # mentioned outside of the table
            named = set(re.findall(r"`(?:appserver |--listen )?(--[a-z-]+)", page.read_text()))
            self.assertEqual(named - others - known, set(), page.name)


class SectionTests(SynchronousTestCase):
    def test_commands_of_every_section_have_a_test(self) -> None:
        """Or a reason why they have none."""
        pages = [page for page in PAGES if page.name != "troubleshooting.md"]
        found = {(page.name, section) for page in pages for section, _ in commands(page)}
        self.assertEqual(found, set(SECTIONS), "name the test of the section's commands in SECTIONS")
        for name in SECTIONS.values():
            self.assertTrue(name.startswith("no test: ") or callable(namedAny(f"tests.{name}")), name)


class GuideTests(SynchronousTestCase):
    """The guide has the statuses and numbers of the code."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "guide.md").read_text()

    def section(self, title: str) -> str:
        found = re.search(rf"(?ms)^## {title}$(.*?)(?=^## |\Z)", self.text)
        assert found is not None, title
        return " ".join(found[1].split())

    def test_guide_has_every_status_that_the_package_sends(self) -> None:
        """And no other."""
        raised = set()
        for path in PACKAGE.rglob("*.py"):
            if path.is_relative_to(PACKAGE / "queue") or path.is_relative_to(PACKAGE / "tqueue"):
                continue  # the page on queues has these statuses
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and node.args:
                    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                    if name in ("HTTPError", "_fail"):
                        numbers = [
                            each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)
                        ]
                        raised |= {number for number in numbers if isinstance(number, int)}
        rows = re.findall(r"(?m)^\| (\d{3}(?:, \d{3})*) \|", self.text)
        told = {int(number) for row in rows for number in row.split(", ")}
        self.assertEqual(told, raised)

    def test_guide_has_the_limits_of_the_code(self) -> None:
        defaults = Settings()
        text = self.section("Limits")
        for told in (
            f"`--max-body` bytes ({defaults.max_body >> 20} MiB)",
            f"its JSON up to {variables.MAX_DEPTH} levels",
            f"a query string or form up to {variables.MAX_FIELDS} fields",
            f"may have up to {MAX_HEADERS} headers with a total of {MAX_HEAD >> 10} KiB",
            f"a target of up to {MAX_TARGET >> 10} KiB",
            f"`--max-bodies` ({defaults.max_bodies >> 20} MiB",
            f"`--header-timeout` seconds ({defaults.header_timeout:.0f})",
            f"`--max-connections` ({defaults.max_connections})",
            f"`--idle-timeout` seconds ({defaults.idle_timeout:.0f})",
            f"`--max-pending` calls ({defaults.max_pending})",
            f"`--timeout` limits each call ({defaults.timeout:.0f} s)",
        ):
            self.assertIn(told, text)

    def test_guide_has_the_times_of_stopping(self) -> None:
        """The grace period, and the time for the last responses."""
        text = self.section("Stopping")
        self.assertIn(f"`--graceful-timeout` seconds ({Settings().graceful_timeout:.0f})", text)
        self.assertEqual((service.FLUSH, "half a second" in text), (0.5, True))


class ArchitectureTests(SynchronousTestCase):
    """The page on the architecture names files and objects that exist."""

    def setUp(self) -> None:
        self.text = (ROOT / "docs" / "architecture.md").read_text()
        self.names = re.findall(r"`([^`\n]+)`", self.text.replace("```", ""))

    def test_every_file_that_architecture_names_exists(self) -> None:
        """In the package or in the repository."""
        files = re.findall(r"[\w/]+\.py\b", self.text)
        self.assertTrue(len(files) > 20, files)
        for name in files:
            places = (PACKAGE / name, ROOT / name)
            self.assertTrue(any(place.is_file() for place in places), name)

    def test_every_name_in_architecture_can_be_imported(self) -> None:
        modules = {path.stem for path in (*PACKAGE.glob("*.py"), *PACKAGE.iterdir())}
        named = [name for name in self.names if re.fullmatch(r"\w+(\.\w+)+", name)]
        named = [name for name in named if not name.endswith(".py") and name != "twisted.web"]
        self.assertTrue(len(named) > 20, named)
        for name in named:
            self.assertIn(name.partition(".")[0], modules, name)
            namedAny(f"twisted_appserver.{name}")


class PromiseTests(SynchronousTestCase):
    """The page on promises names tests that exist."""

    def test_every_promise_names_a_test(self) -> None:
        rows = re.findall(r"(?m)^\| (.+) \| `([\w.]+)` \|$", (ROOT / "docs" / "promises.md").read_text())
        self.assertGreater(len(rows), 30)
        for _, name in rows:
            self.assertTrue(callable(namedAny(f"tests.{name}")), name)


class ProgramTests(ProgramTestCase):
    """The programs in the documentation run."""

    async def test_every_whole_program_serves_and_stops(self) -> None:
        count = 0
        for name, block in programs():
            if "__main__" in block and "run_server(" in block:
                script = self.folder / f"program{count}.py"
                script.write_text(re.sub(r"run_server\((port=\d+)?", "run_server(port=0", block))
                program = self.start(sys.executable, str(script))
                await program.url()
                await program.stop()
                self.assertNotIn("Traceback", program.output, name)
                count += 1
        self.assertEqual(count, 2)

    @slow
    async def test_curl_commands_of_the_guide_get_its_responses(self) -> None:
        """In both server types."""
        guide = ROOT / "docs" / "guide.md"
        (self.folder / "shop.py").write_text(blocks(guide, "python")[0])
        commands = re.findall(CURL, "".join(blocks(guide, "console")))
        self.assertTrue(len(commands) > 5, commands)
        for server_type in ("threaded", "forked"):
            command = f"-m twisted_appserver --port=0 --app=shop.py --type={server_type}"
            server = self.start(sys.executable, *command.split())
            url = await server.url()
            for command, expected in commands:
                curl = self.start("curl", *shlex.split(command.replace("localhost:8080", url))[1:])
                await curl.ended
                answer = re.sub(r'"instance":"[\w-]+"', '"instance":"..."', curl.output)
                self.assertEqual(answer, expected, command)
            await server.stop()

    @slow
    async def test_client_of_the_guide_calls_its_shop(self) -> None:
        """It gets results and errors."""
        guide = blocks(ROOT / "docs" / "guide.md", "python")
        (self.folder / "shop.py").write_text(guide[0])
        calls = next(block for block in guide if "AppClient" in block)
        calls += "\nfrom twisted.internet.task import react\n"
        calls += "async def show(reactor, url): print(await bolts(url))\nreact(show, sys.argv[1:])\n"
        (self.folder / "calls.py").write_text("import sys\n" + calls)
        server = self.start(sys.executable, "-m", "twisted_appserver", "--port=0", "--app=shop.py")
        url = await server.url()
        for base, expected in ((url, "'count': 3"), (f"{url}/none", "'refused': 404")):
            caller = self.start(sys.executable, "calls.py", base)
            await caller.ended
            self.assertIn(expected, caller.output)
        await server.stop()

    async def test_app_resource_of_the_guide_works_below_a_path(self) -> None:
        """With its own worker processes."""
        block = next(block for _, block in programs() if "ProcessExecutor(" in block)
        block += "\nfrom twisted.web.server import Site\n"
        block += "port = reactor.listenTCP(0, Site(root), interface='127.0.0.1')\n"
        block += "print(f'http://localhost:{port.getHost().port}/')\nreactor.run()\n"
        (self.folder / "mounting.py").write_text(block)
        server = self.start(sys.executable, "mounting.py")
        answer = await self.get(await server.url() + "/api/person/get/123/")
        self.assertEqual(answer, b'{"object_type":"person","object_id":"123"}')
        await server.stop()

    async def test_coroutines_of_the_guide_work(self) -> None:
        """They await asyncio and Deferreds."""
        block = next(block for _, block in programs() if "wait_for_both" in block)
        (self.folder / "waiting.py").write_text(block)
        server = self.start(sys.executable, "-m", "twisted_appserver", "--port=0", "--app=waiting.py")
        url = await server.url()
        for path in ("wait", "deferred"):
            self.assertEqual(await self.get(f"{url}/{path}/0.01/"), b'{"waited":0.01}')
        self.assertEqual(await self.get(f"{url}/both/0.01/"), b'{"waited":["asyncio","Twisted"]}')
        self.assertEqual(await self.get(f"{url}/count/0.01/"), b'{"number":0}\n{"number":1}\n{"number":2}\n')
        await server.stop()

    async def test_tac_file_of_the_guide_works_with_twistd(self) -> None:
        block = next(block for _, block in programs() if "setServiceParent" in block)
        (self.folder / "example.tac").write_text(re.sub(r"port=\d+", "port=0", block))
        run = "import sys; sys.argv[0] = 'twistd'; from twisted.scripts.twistd import run; run()"
        command = "--nodaemon --pidfile= --python=example.tac"
        server = self.start(sys.executable, "-c", run, *command.split())
        answer = await self.get(await server.url() + "/person/get/123/")
        self.assertEqual(answer, b'{"object_type":"person","object_id":"123"}')
        self.assertIn('"logger":"twisted_appserver', server.output)
        await server.stop()


class TenTests(ProgramTestCase):
    """The commands that a newcomer types."""

    def commands(self) -> list[str]:
        """Return the commands, with ports that are free."""
        text = (ROOT / "README.md").read_text().partition("## In ten commands")[2]
        (block,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for port in sorted(set(re.findall(r"\b80\d\d\b", block))):
            with socket.create_server(("127.0.0.1", 0)) as free:
                block = block.replace(port, str(free.getsockname()[1]))
        return block.replace(".venv/bin/", f"{Path(sys.executable).parent}/").splitlines()

    @slow
    async def test_ten_commands_of_the_readme_work_together(self) -> None:
        """If all are pasted at once, they wait for the servers."""
        commands = [*self.commands(), "kill %1 %2 %3", "wait"]
        program = self.start("/bin/bash", "-c", "\n".join(commands))
        await program.ended
        for expected, count in (('{"double":8}', 2), ('"status":422', 1), ('"task": {"picture": 7}', 1)):
            self.assertEqual(program.out.count(expected), count, program.output)

    @slow
    async def test_ten_commands_of_the_readme_work(self) -> None:
        commands = self.commands()
        self.assertLessEqual(len(commands), 10)
        said = []
        for command in commands:
            if command.endswith("&"):
                await self.start("/bin/sh", "-c", f"exec {command[:-1]}").url()
            else:
                program = self.start("/bin/sh", "-c", command)
                self.assertEqual(await program.ended, 0, program.output)
                said.append(program.output)
        made, four, refused, page, forked, put, got = said
        self.assertEqual((made, four, forked), ("", '{"double":8}', '{"double":8}'))
        self.assertIn('"status":422', refused)
        self.assertIn("<title>Functions</title>", page)
        self.assertIn("task_id", put)
        self.assertEqual(json.loads(got)["task"], {"picture": 7})


class PrivacyTests(SynchronousTestCase):
    """The repository makes sense to every reader."""

    def test_no_text_names_a_folder_or_tracker_that_readers_cannot_see(self) -> None:
        private = re.compile(r"/(?:wor[k]|roo[t])/|\b[Ii]ssue[s ]*#?\d|(?<![\w&#])#\d+\b")
        count = 0
        for path in self.files(ROOT):
            try:
                text = path.read_text()
            except UnicodeDecodeError:
                continue
            count += 1
            for line in text.splitlines():
                self.assertIsNone(private.search(line), f"{path}: {line}")
        self.assertTrue(count > 40, count)

    def files(self, folder: Path) -> Iterator[Path]:
        """Return the files of the repository that its .gitignore does not exclude."""
        ignored = re.compile(
            r"\..*|__pycache__|node_modules|build|dist|venv|_trial_temp.*|.*\.egg-info|dropin\.cache"
        )
        for path in folder.iterdir():
            if ignored.fullmatch(path.name) and path.name not in (".ci", ".gitignore"):
                continue
            if path.is_dir():
                yield from self.files(path)
            elif path.suffix not in (".log", ".pid"):
                yield path


class SiteTests(ProgramTestCase):
    """The documentation as a site."""

    timeout = 300

    @slow
    async def test_site_is_built_without_warnings(self) -> None:
        """It has every page and the reference of every module."""
        site = self.folder / "site"
        command = ("-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(self.folder / "work"))
        build = self.python(*command, str(ROOT / "docs"), str(site))
        self.assertEqual(await build.ended, 0, build.output)
        self.assertEqual(build.output, "")
        for page in (ROOT / "docs").glob("*.md"):
            self.assertTrue((site / f"{page.stem}.html").exists(), page)
        for name in ("dispatch.dispatcher.Dispatcher", "tqueue.client.queue.Queue", "jobs"):
            self.assertTrue((site / "api" / f"twisted_appserver.{name}.html").exists(), name)
        start = (site / "start.html").read_text()
        self.assertIn("examples/article.py", start)
        self.assertIn('href="guide.html"', start)


class ComingTests(SynchronousTestCase):
    """Programs for other frameworks in docs/coming-from.md compile, and our counterparts run."""

    page = ROOT / "docs" / "coming-from.md"

    def client(self, number: int) -> Client:
        module: dict[str, Any] = {"__name__": "documented"}
        exec(blocks(self.page, "python")[number], module)
        return Client(module["url_patterns"])

    def test_programs_for_other_frameworks_compile(self) -> None:
        for block in blocks(self.page, "py"):
            compile(block, "theirs", "exec")

    def test_counterpart_of_flask_works(self) -> None:
        """Path, query and form fields, with a default and a type; an error on purpose."""
        client = self.client(0)
        self.assertEqual(client.get("/items/bolt?count=3").json, {"name": "bolt", "count": 3})
        self.assertEqual(client.post("/items/bolt", form={"count": 4}).json["count"], 4)
        self.assertEqual(client.get("/items/nut").status, 404)

    def test_counterpart_of_fastapi_works(self) -> None:
        """A struct from a body, a limited number, and a stream."""
        client = self.client(1)
        order = {"name": "bolt", "count": 1}
        self.assertEqual(client.post("/order", {"order": {"name": "bolt"}}).json, order)
        self.assertEqual(client.get("/order").status, 405)
        self.assertEqual(client.get("/root?number=-1").status, 422)
        self.assertEqual(client.get("/root?number=4").json, {"root": 2.0})
        self.assertEqual(client.get("/numbers?n=2").text, '{"number":0}\n{"number":1}\n')
