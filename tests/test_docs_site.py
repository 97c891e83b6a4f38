"""The documentation as a site."""

from __future__ import annotations

from tests.support.pages import DOCS
from tests.support.programs import ProgramTestCase
from tests.support.slow import slow


class SiteTests(ProgramTestCase):
    """The documentation as a site."""

    timeout = 300

    @slow
    async def test_site_is_built_without_warnings(self) -> None:
        """It has every page and the reference of every module."""
        site = self.folder / "site"
        command = ("-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(self.folder / "work"))
        build = self.python(*command, str(DOCS), str(site))
        self.assertEqual(await build.ended, 0, build.output)
        self.assertEqual(build.output, "")
        for page in DOCS.rglob("*.md"):
            self.assertTrue((site / page.relative_to(DOCS).with_suffix(".html")).exists(), page)
        for name in ("dispatch.dispatcher.Dispatcher", "tqueue.client.queue.Queue", "jobs"):
            self.assertTrue((site / "api" / f"twisted_appserver.{name}.html").exists(), name)
        start = (site / "start.html").read_text()
        self.assertIn("examples/article.py", start)
        self.assertIn('href="guide/first-service.html"', start)
