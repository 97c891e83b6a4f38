"""Twisted's own tests of its HTTP channel, run against ours."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

# What fails, and why the stricter behaviour is right.
STRICTER = {
    "ChannelProductionTests.test_HTTPChannelToleratesDataWhenTransportPaused": (
        "no request is begun while its client does not read the answers to those before"
    ),
    "ChunkingTests.test_multipartFormData": "HTTP/1.0 has no chunks (RFC 9112, section 6.1)",
    "HTTP0_9Tests.test_buffer": "HTTP/0.9 is not spoken",
    "HTTP0_9Tests.test_noPipeliningApi": "HTTP/0.9 is not spoken",
    "ParsingTests.test_chunkedEncoding": "HTTP/1.0 has no chunks (RFC 9112, section 6.1)",
    "ParsingTests.test_headerStripWhitespace": "no control characters (RFC 9110, section 5.5)",
    "ParsingTests.test_headersMultiline": "a folded line is refused (RFC 9112, section 5.2)",
    "ParsingTests.test_invalidRequestLineExtraSpaces": (
        "more than one space between method and target is let pass (RFC 9112, section 3)"
    ),
    "ParsingTests.test_transferEncodingIdentity": "identity is a coding no more (RFC 9112, section 7)",
}

PROGRAM = """
import sys
from twisted.web import http
from twisted_appserver.http.connection import HTTPChannel

http.HTTPChannel = HTTPChannel
from twisted.trial.reporter import TestResult
from twisted.trial.runner import TestLoader
from twisted.web.test import test_http

result = TestResult()
TestLoader().loadModule(test_http).run(result)
print(result.testsRun)
for test, _ in [*result.failures, *result.errors]:
    print(".".join(test.id().split(".")[-2:]))
"""


class TwistedTests(SynchronousTestCase):
    """The module L{twisted.web.test.test_http}, with our channel in place of Twisted's."""

    def test_all(self) -> None:
        """What does not pass stands on the list, with the reason, and nothing else."""
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", PROGRAM]
        folder = self.mktemp()
        os.mkdir(folder)
        done = subprocess.run(
            command, env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=True
        )
        ran, *failed = done.stdout.split()
        self.assertGreater(int(ran), 200)
        self.assertEqual(sorted(failed), sorted(STRICTER))
