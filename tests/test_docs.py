"""The documentation is right: its programs, commands, tables, links and names."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

import twisted_appserver
from tests.support.pages import (
    DOCS,
    MISTAKES,
    PAGES,
    anchor,
    blocks,
    commands,
    has_sessions,
    name_of,
    programs,
    titles,
    with_includes,
)
from tests.support.programs import ROOT
from twisted_appserver.core import request_data as variables
from twisted_appserver.core.router import Router
from twisted_appserver.http.request_parser import MAX_HEAD, MAX_HEADERS, MAX_TARGET
from twisted_appserver.serving import service
from twisted_appserver.serving.command_options import SHORT
from twisted_appserver.serving.tap import Options
from twisted_appserver.settings import Settings, cli_name
from twisted_appserver.testing import Client

PACKAGE = ROOT / "twisted_appserver"
OPTIONS, LIMITS = DOCS / "operations" / "options.md", DOCS / "operations" / "limits.md"
SUBJECTS = ("guide", "background", "queues", "operations")
MOST_WORDS = 50  # before the first code of a page
# Pages that may have more words before their first code, or none.
FIRST_PAGES = {"index.md": 80, "start.md": 80}  # they say what the product is, and for whom
WITHOUT_CODE = {"changes.md": "a list of changes"}
INCLUDE = r"(?m)^```\{include\} (\S+)$"
TESTED_LANGUAGES = {"python", "py", "console", "sh", "sql", "html", "js"}  # tests run or compile these blocks
OPTION_COLUMNS = "| option | keyword argument | meaning | default |\n|---|---|---|---|\n"

# The pages, or sections of pages, with commands: the test that runs all of them, or why none does.
TESTED = {
    "README.md: Install and test": "no test: .ci/run runs them",
    "index.md: An example": "no test: .ci/run runs the same commands of the README",
    "README.md: In ten commands": "test_docs_programs.TenTests.test_ten_commands_of_the_readme_work",
    "CONTRIBUTING.md: Contributing": "no test: it needs the network",
    "CONTRIBUTING.md: Testing": "no test: it runs tests",
    "CONTRIBUTING.md: Continuous integration": "no test: .ci/run runs them",
    "CONTRIBUTING.md: Releases":
        "test_release.ReleaseTests.test_release_is_reproducible_checked_and_uploaded",
    "tutorials/deployed.md: Write it": "no test: .ci/run installs the package",
    "tutorials/deployed.md: Deploy it with systemd": "no test: it changes the system",
    "tutorials/deployed.md: Put nginx in front": "test_deploy.NginxTests.test_tutorial_works_behind_nginx",
    "tutorials/deployed.md: Change it": "no test: it changes the system",
    "deployment.md: systemd": "no test: it changes the system",
    "deployment.md: TQueueSrv and its workers": "no test: it changes the system",
    "scaling.md: Several hosts, and one cut off": "no test: it needs root",
    "guide/first-service.md":
        "test_docs_programs.ProgramTests.test_curl_commands_of_the_guide_get_its_responses",
    "guide/file-uploads.md": "test_docs_commands.GuideTests.test_files_are_uploaded",
    "operations/options.md": "test_docs_commands.GuideTests.test_servers_start",
    "guide/testing.md": "test_docs_commands.GuideTests.test_each_runner_runs_the_test",
    "guide/openapi.md": "admin.test_clients.PythonTests.test_every_function_with_types_is_called",
    "operations/pages.md": "test_docs_commands.GuideTests.test_token_is_accepted",
    "guide/authentication.md": "test_docs_commands.GuideTests.test_token_is_accepted",
    "guide/cors.md": "test_docs_commands.BrowserTests.test_page_of_another_origin_calls_the_service",
    "coming-from.md: Celery and Redis": "test_coming_from.CeleryTests.test_service_works",
    "coming-from.md: RQ and Redis": "test_coming_from.RqTests.test_service_works",
    "coming-from.md: Huey and SQLite": "test_coming_from.HueyTests.test_service_works",
    "coming-from.md: twisted_appserver and SQLite": "test_coming_from.AppserverTests.test_service_works",
    "queues/tqueuesrv.md": "test_docs_commands.QueueTests.test_servers_start",
    "queues/command.md": "test_docs_commands.QueueTests.test_verbs_work",
    "queues/workers.md": "test_docs_commands.QueueTests.test_workers_start",
    "queues/http.md": "tqueue.test_docs.DocsTests.test_requests_with_curl",
    "queues/results.md": "test_docs_commands.QueueTests.test_tasks_are_finished",
    "queues/failures.md": "test_docs_commands.QueueTests.test_tasks_are_finished",
    "queues/failures.md: Pauses after failures": "test_docs_commands.QueueTests.test_tasks_are_finished",
    "queues/task-options.md": "test_docs_commands.QueueTests.test_verbs_work",
    "queues/groups.md": "test_docs_commands.QueueTests.test_verbs_work",
    "queues/unique-keys.md": "test_docs_commands.QueueTests.test_verbs_work",
    "queues/rates.md": "test_docs_commands.QueueTests.test_verbs_work",
    "queues/traces.md": "test_docs_commands.QueueTests.test_verbs_work",
    "queues/postgresql.md": "test_docs_commands.QueueTests.test_servers_start_over_postgresql",
    "queues/django-tasks.md": "tqueue.test_django.StoreTests.test_sqlite",
    "queues/django-tasks.md: The worker": "tqueue.test_django.StoreTests.test_sqlite",
    "queues/django-tasks.md: Your own transaction":
        "test_docs_commands.QueueTests.test_servers_start_over_postgresql",
}  # fmt: skip


# The pages whose first code neither a session nor TESTED covers: the test that runs this code.
FIRST_CODE = {
    "guide/embedding.md": "test_docs_programs.ProgramTests.test_app_resource_of_the_guide_works_below_a_path",
    "guide/python-client.md": "test_docs_programs.ProgramTests.test_client_of_the_guide_calls_its_shop",
    "queues/python.md": "tqueue.test_docs.DocsTests.test_python_examples_run",
    "queues/transactions.md": "tqueue.test_transactions.PageTests.test_sql_of_the_documentation_puts_a_task",
    "reference/python.md": "test_docs.ReferenceTests.test_first_code_of_the_page_runs",
    "works-with.md": "works_with.test_works_with.PageTests.test_page_is_current",
    "troubleshooting.md": "mistakes.test_mistakes.MistakesTests.test_page_shows_what_the_product_says_today",
}
NOT_RUN = {"contributing.md": "its first command needs the network"}


def options_table() -> str:
    """Return the table of options that the page on options must have."""
    rows = []
    for each in fields(Settings):
        meaning, _, default = each.metadata["help"].partition(" [")
        if each.type == "bool":
            default = "off"
        elif each.default is not None:
            default = "none" if each.default == () else str(each.default)
        option = f"{cli_name(each.name)} {each.metadata['metavar']}".rstrip()
        short = f", `-{SHORT[each.name]} {each.metadata['metavar']}`" if each.name in SHORT else ""
        rows.append(f"| `{option}`{short} | `{each.name}` | {meaning} | {default.removesuffix(']')} |\n")
    return OPTION_COLUMNS + "".join(rows)


def other_options() -> str:
    """Return the table of the options that only the command line has."""
    known = {cli_name(each.name)[2:] for each in fields(Settings)}
    rows = [(name, text) for name, _, text in Options.optFlags if name not in known]
    rows += [("version", "Print the versions of this package, Twisted and Python, and exit")]
    rows += [("help", "Print all options, and exit")]
    return "| option | what it does |\n|---|---|\n" + "".join(f"| `--{n}` | {text} |\n" for n, text in rows)


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
                self.assertTrue(file.exists(), f"{name_of(page)} links to {target}")
                if heading:
                    anchors = list(map(anchor, titles(file)))
                    self.assertIn(heading, anchors, f"{name_of(page)} links to {target}")

    def test_servers_in_the_foreground_can_run_beside_each_other(self) -> None:
        """In one folder: C{twistd} writes no pidfile there."""
        for page in PAGES:
            if page != MISTAKES:
                found = re.findall(r"twistd -n(?! --pidfile=).*", page.read_text())
                self.assertEqual(found, [], name_of(page))

    def test_every_python_block_compiles(self) -> None:
        for name, block in programs():
            compile(block, name, "exec")

    def test_url_patterns_of_every_python_block_can_be_served(self) -> None:
        count = 0
        self.addCleanup(sys.modules.pop, "documented", None)
        for name, block in programs():
            if "url_patterns =" in block:
                sys.modules["documented"] = module = ModuleType("documented")  # dataclasses look it up
                exec(compile(block, name, "exec"), module.__dict__)
                self.assertTrue(Router(module.url_patterns).handlers, name)
                count += 1
        self.assertTrue(count)

    def test_first_example_is_examples_article(self) -> None:
        """Byte for byte, and so is the example of the site's first page."""
        example = (ROOT / "examples" / "article.py").read_text()
        for page in (ROOT / "README.md", DOCS / "index.md"):
            self.assertEqual(blocks(page, "python")[0], example)

    def test_first_page_of_the_site_has_the_commands_of_the_readme(self) -> None:
        """The command that starts the example, and the one that calls it."""
        start, call = blocks(DOCS / "index.md", "sh")
        readme = (ROOT / "README.md").read_text()
        self.assertIn(f"```sh\n{start}```", readme)
        self.assertIn(f"`{call.strip()}` prints", readme)

    def test_page_on_options_has_all_of_them(self) -> None:
        """Complete, and as the command line shows it."""
        expected = options_table()
        found = re.search(re.escape(OPTION_COLUMNS) + r"(?:\|.*\n)*", OPTIONS.read_text())
        shown = found[0] if found else ""
        self.assertTrue(shown == expected, f"the table of options should be\n\n{expected}")

    def test_page_on_options_has_those_without_a_default(self) -> None:
        expected = other_options()
        self.assertIn("--check", expected)
        self.assertIn(expected, OPTIONS.read_text())

    def test_every_option_that_a_page_names_exists(self) -> None:
        known = {cli_name(each.name) for each in fields(Settings)} | {"--version", "--help"}
        known |= {f"--{name}" for name, _, _ in Options.optFlags}
        commands = "tqueue/command/*.py", "tqueue/django/management/commands/*.py"
        for path in (path for each in commands for path in PACKAGE.glob(each)):
            known |= set(re.findall(r'"(--[a-z-]+)"', path.read_text()))
        for page in PAGES:
            others = {
                "--pidfile",
                "--reactor",
                "--soak",
            }  # mentioned outside of the table
            named = set(re.findall(r"`(?:appserver |--listen )?(--[a-z-]+)", page.read_text()))
            self.assertEqual(named - others - known, set(), name_of(page))


class SubjectTests(SynchronousTestCase):
    """The pages about one subject: a short introduction, and then code."""

    def test_first_page_links_to_every_page(self) -> None:
        """In the navigation, and in the table for those who read the pages in the repository."""
        text = (DOCS / "index.md").read_text()
        for page in DOCS.rglob("*.md"):
            name = name_of(page)
            if name != "index.md" and (page.parent.name != "decisions" or page.name == "index.md"):
                self.assertIn(f"]({name})", text)
                self.assertRegex(text, rf"(?m)^{name.removesuffix('.md')}$")

    def test_every_page_of_the_site_starts_with_code(self) -> None:
        """After a few words, and before lists and tables. Other tests run this code."""
        pages = list(DOCS.rglob("*.md"))
        self.assertGreater(len(pages), 90)
        for page in pages:
            name = name_of(page)
            before, code, rest = with_includes(page).partition("\n```")
            self.assertEqual(bool(code), name not in WITHOUT_CODE, f"{name}: begin the page with code")
            if code:
                self.assertLessEqual(len(before.split()), FIRST_PAGES.get(name, MOST_WORDS), name)
                self.assertIsNone(re.search(r"(?m)^(- |\|)", before), name)
                self.assertIn(rest.split()[0], TESTED_LANGUAGES, name)

    def test_first_code_of_every_page_runs(self) -> None:
        """In a session, in a test that L{TESTED} or L{FIRST_CODE} names, or as a table that is loaded."""
        for page in DOCS.rglob("*.md"):
            name, text = name_of(page), page.read_text()
            sources = [page, *(page.parent / each for each in re.findall(INCLUDE, text))]
            if name in WITHOUT_CODE or name in NOT_RUN or any(map(has_sessions, sources)):
                continue
            language, code = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", with_includes(page))[0]
            tests = [FIRST_CODE.get(name, "")]
            tests += [
                test for key, test in TESTED.items() for each in sources if key.startswith(name_of(each))
            ]
            is_loaded = language == "python" and "url_patterns =" in code
            is_run = any(test and not test.startswith("no test: ") for test in tests)
            self.assertTrue(is_loaded or is_run, f"{name}: name the test of its first code in FIRST_CODE")
        for test in FIRST_CODE.values():
            self.assertTrue(callable(namedAny(f"tests.{test}")), test)

    def test_every_page_has_one_title(self) -> None:
        """Another one than all other pages, so that readers know which one to open."""
        found: dict[str, str] = {}
        for page in DOCS.rglob("*.md"):
            text = re.sub(r"(?ms)^```.*?^```$", "", page.read_text())
            tops = re.findall(r"(?m)^# (.+)$", text)
            self.assertEqual(len(tops), 1, name_of(page))
            self.assertNotIn(tops[0], found, name_of(page))
            found[tops[0]] = name_of(page)

    def test_first_page_says_what_it_is_for_whom_and_why(self) -> None:
        """A picture and an example with two commands come before the three reasons."""
        before, _, after = (DOCS / "index.md").read_text().partition("\n## Why use it\n")
        start, _, example = before.partition("\n## An example\n")
        paragraphs = [" ".join(each.split()) for each in start.split("\n\n")]
        self.assertIn("Python functions", paragraphs[1])
        self.assertTrue(paragraphs[2].startswith("It is for "), paragraphs[2])
        self.assertIn("```{image} images/docs-", start)
        self.assertEqual((example.count("```python\n"), example.count("```sh\n")), (1, 2))
        reasons = re.findall(r"(?m)^- \*\*.+?\*\*", after.partition("\n## ")[0])
        self.assertEqual(len(reasons), 3)

    def test_every_page_about_a_subject_is_short(self) -> None:
        """It has no section before its first code."""
        for page in (page for folder in SUBJECTS for page in (DOCS / folder).glob("*.md")):
            text = page.read_text()
            self.assertLess(len(text.split()), 2000, f"{name_of(page)} is long: split it by subject")
            self.assertNotIn("\n## ", text.partition("\n```")[0], name_of(page))


class ReferenceTests(SynchronousTestCase):
    def test_first_code_of_the_page_runs(self) -> None:
        code, names = blocks(DOCS / "reference" / "python.md", "python")[0], {}
        exec(code, names)
        self.assertTrue(callable(names["run_server"]))

    def test_page_of_public_names_has_all_of_them(self) -> None:
        """Each of them can be imported."""
        text = (DOCS / "reference" / "python.md").read_text()
        cells = re.findall(r"(?m)^\| (`.+?) \|", text)
        names = [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]
        for name in names:
            namedAny(f"twisted_appserver.{name}")
        self.assertEqual({name for name in names if "." not in name}, set(twisted_appserver.__all__))
        for name in ("jobs", "tqueue"):
            exported = {f"{name}.{each}" for each in namedAny(f"twisted_appserver.{name}").__all__}
            found = {each for each in names if re.fullmatch(rf"{name}\.\w+", each)}
            self.assertEqual(exported - found - {"jobs.EnqueuedJob", "jobs.JobOptions"}, set())


class TestedTests(SynchronousTestCase):
    def test_commands_of_every_page_have_a_test(self) -> None:
        """Or a reason why they have none. L{tests.test_docs_sessions} runs all sessions."""
        found = set()
        for page in PAGES:
            title = next(iter(titles(page)), "")
            languages = ("sh", "text") if has_sessions(page) else ("sh", "text", "console")
            for section, _ in commands(page, languages) if page != MISTAKES else ():
                own = section == title and page.is_relative_to(DOCS)
                found.add(name_of(page) if own else f"{name_of(page)}: {section}")
        self.assertEqual(found, set(TESTED), "name the test of these commands in TESTED")
        for name in TESTED.values():
            self.assertTrue(name.startswith("no test: ") or callable(namedAny(f"tests.{name}")), name)


class GuideTests(SynchronousTestCase):
    """The pages have the statuses and numbers of the code."""

    def test_page_on_errors_has_every_status_that_the_package_sends(self) -> None:
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
        text = (DOCS / "guide" / "errors.md").read_text()
        rows = re.findall(r"(?m)^\| (\d{3}(?:, \d{3})*) \|", text)
        told = {int(number) for row in rows for number in row.split(", ")}
        self.assertEqual(told, raised)

    def test_page_on_limits_has_the_limits_of_the_code(self) -> None:
        defaults = Settings()
        text = " ".join(LIMITS.read_text().split())
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

    def test_page_on_stopping_has_its_times(self) -> None:
        """The grace period, and the time for the last responses."""
        text = " ".join((DOCS / "operations" / "stopping.md").read_text().split())
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
