"""Twisted's own tests of its HTTP channel, run against our connection."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support.slow import slow

OWN_TIMEOUTS = "our time-outs differ; http.test_connection_bugs tests them"
OWN_LIMITS = "our limits are constants; http.test_connection_limits tests them"
NO_CHUNKS = "HTTP/1.0 has no chunks (RFC 9112, section 6.1)"
# The tests that fail, and why that is right.
DIFFERENT = {
    "ChannelProductionTests.test_HTTPChannelToleratesDataWhenTransportPaused": (
        "no request is begun while its client does not read earlier responses"
    ),
    "ChunkingTests.test_multipartFormData": NO_CHUNKS,
    "HTTP0_9Tests.test_buffer": "HTTP/0.9 is not supported",
    "HTTP0_9Tests.test_noPipeliningApi": "HTTP/0.9 is not supported",
    "ParsingTests.test_chunkedEncoding": NO_CHUNKS,
    "ParsingTests.test_headerStripWhitespace": "control characters are refused (RFC 9110, section 5.5)",
    "ParsingTests.test_headersMultiline": "a folded line is refused (RFC 9112, section 5.2)",
    "ParsingTests.test_headersTooBigInitialCommand": OWN_LIMITS,
    "ParsingTests.test_headersTooBigOtherHeaders": OWN_LIMITS,
    "ParsingTests.test_invalidRequestLineExtraSpaces": (
        "several spaces between method and target are accepted (RFC 9112, section 3)"
    ),
    "ParsingTests.test_transferEncodingIdentity": "identity is no longer a coding (RFC 9112, section 7)",
    "RequestTests.test_requestBodyTimeoutFromFactory": OWN_TIMEOUTS,
}
for version in ("HTTP0_9", "HTTP1_0", "HTTP1_1", "HTTP1_1_close_"):
    for test in (
        "connectionLostAfterForceClose",
        "requestBodyDefaultTimeout",
        "transportForciblyClosed",
        "transportNotAbortedAfterConnectionLost",
        "transportNotAbortedWithZeroAbortTimeout",
    ):
        DIFFERENT[f"{version}Tests.test_{test}"] = OWN_TIMEOUTS

PROGRAM = """
from tests.support.twisted_channel import TwistedChannel
from twisted.web import http

http.HTTPChannel = TwistedChannel
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
    """The module L{twisted.web.test.test_http}, with our connection in place of Twisted's channel."""

    @slow
    def test_all_pass_except_those_that_must_differ(self) -> None:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-c", PROGRAM]
        folder = self.mktemp()
        os.mkdir(folder)
        done = subprocess.run(
            command, env=environ, cwd=folder, capture_output=True, text=True, timeout=60, check=True
        )
        ran, *failed = done.stdout.split()
        self.assertGreater(int(ran), 200)
        self.assertEqual(sorted(failed), sorted(DIFFERENT))
