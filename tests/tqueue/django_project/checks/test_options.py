"""Each mistake in C{TASKS} is one line."""

from __future__ import annotations

import os
from typing import Any
from unittest import TestCase
from unittest.mock import patch

from django.tasks.exceptions import InvalidTaskBackend

from checks import support  # noqa: F401
from twisted_appserver import Retry
from twisted_appserver.tqueue.django import Backend
from twisted_appserver.tqueue.django.options import PATIENCE

URL = "http://localhost:8082"
WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "url is missing: the URL of a TQueueSrv, such as http://localhost:8082"),
    ({"url": ""}, "url is missing: the URL of a TQueueSrv, such as http://localhost:8082"),
    ({"url": "localhost"}, "the url must be like http://localhost:8082, not 'localhost'"),
    ({"url": URL, "tokn": "x"}, "unknown option 'tokn'; did you mean 'token'?"),
    ({"url": URL, "zzz": 1}, "unknown option 'zzz'"),
    ({"url": URL, "token": "a b"}, "the token's character 2 of 3 cannot be sent in a header: "
     "a token is visible ASCII without spaces or line ends"),
    ({"url": URL, "keep": 0}, "keep must be more than 0 seconds, not 0"),
    ({"url": URL, "patience": "5"}, "patience must be more than 0 seconds, not '5'"),
    ({"url": URL, "retry": {"attempts": -1}}, "attempts must be 0 to"),
    ({"url": URL, "retry": {"tries": 3}}, "Unexpected keyword argument 'tries'"),
    ({"url": URL, "retry": "often"}, "attempts must be a number, not 'often'"),
    ({"url": URL, "database": "other"}, "database must be an alias in DATABASES, not 'other'"),
    ({"url": URL, "database": "lite"}, "database must be a PostgreSQL database, where TQueueSrv keeps its "
     "queues; 'lite' is sqlite. Without this option, tasks are enqueued over HTTP"),
)  # fmt: skip


class OptionsTests(TestCase):
    def make(self, options: Any, **params: Any) -> Backend:
        with patch.dict(os.environ):
            os.environ.pop("TQUEUE_URL", None)
            return Backend("default", {**params, "OPTIONS": options})

    def test_wrong_options_are_refused(self) -> None:
        for options, text in WRONG:
            with self.subTest(options=options), self.assertRaises(InvalidTaskBackend) as raised:
                self.make(options)
            found = str(raised.exception)
            self.assertEqual(found[: 29 + len(text)], f"OPTIONS of TASKS['default']: {text}")
            self.assertNotIn("\n", found)

    def test_wrong_queues_are_refused(self) -> None:
        for name in ("", "a/b", "a,b", "a:1", "q" * 37):
            with self.subTest(name=name), self.assertRaises(InvalidTaskBackend) as raised:
                self.make({"url": URL}, QUEUES=["good", name])
            self.assertIn("QUEUES of TASKS['default']: ", str(raised.exception))
            self.assertNotIn("\n", str(raised.exception))

    def test_url_and_token_may_come_from_the_environment(self) -> None:
        with patch.dict(os.environ, TQUEUE_URL=URL):
            backend = Backend("default", {})
        self.assertEqual((backend.read.url, backend.read.token, backend.names), (URL, None, ["default"]))
        self.assertEqual(backend.read.patience, PATIENCE)

    def test_retry_may_be_a_rule_a_dict_or_a_number(self) -> None:
        for given in (Retry(3), {"attempts": 3}, 3):
            self.assertEqual(self.make({"url": URL, "retry": given}).read.retry, Retry(3))
