"""The pictures of the pages in the documentation are complete."""

from __future__ import annotations

from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from tests.support.pages import DOCS
from tests.support.screenshots import MOST_BYTES, PAGES, THEMES, WIDTHS
from twisted_appserver.admin.pages import TITLES


class PictureTests(SynchronousTestCase):
    def test_every_page_has_a_picture_in_both_themes_and_three_widths(self) -> None:
        """As a phone, a tablet and a screen show it. There are no others."""
        self.assertEqual({"docs", "status", "jobs", "queues", "swagger"}, set(TITLES))
        self.assertTrue({*TITLES, "queue", "sign-in", "not-found"} <= PAGES.keys())
        expected = {
            f"{page}-{width}-{theme}.png": (width, height)
            for page in PAGES
            for width, height in WIDTHS.items()
            for theme in THEMES
        }
        folder = DOCS / "images"
        self.assertEqual({path.name for path in folder.glob("*.png")}, expected.keys())
        for name, size in expected.items():
            with Image.open(folder / name) as picture:
                self.assertEqual(picture.size, size, name)
            self.assertLessEqual((folder / name).stat().st_size, MOST_BYTES, name)

    def test_both_themes_are_shown(self) -> None:
        """The corner of each picture is bright in the light theme, and dark in the dark theme."""
        for path in (DOCS / "images").glob("*.png"):
            with Image.open(path) as picture:
                brightness = picture.convert("L").getpixel((2, picture.height - 3))
            assert isinstance(brightness, int)
            self.assertEqual(brightness < 128, path.stem.endswith("-dark"), path.name)
