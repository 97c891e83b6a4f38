"""The headers of W3C Trace Context."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver.core.trace_context import is_traceparent, read_trace

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


class TraceContextTests(SynchronousTestCase):
    def test_valid_values(self) -> None:
        for text in (PARENT, f"00-{TRACE}-{SPAN}-ff", f"01-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-more"):
            self.assertTrue(is_traceparent(text), text)

    def test_invalid_values(self) -> None:
        for text in (
            "",
            PARENT.upper(),
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"{PARENT}-more",
            f"{PARENT} ",
            PARENT[:-1],
            f"01-{TRACE}-{SPAN}-01.more",
            f"01-{TRACE}-{SPAN}-01-{'x' * 512}",
            f"{PARENT}\n",
        ):
            self.assertFalse(is_traceparent(text), text)

    def test_state_belongs_to_a_valid_parent(self) -> None:
        parent, state = (b"traceparent", PARENT.encode()), (b"tracestate", b"a=1")
        self.assertEqual(read_trace([parent]), (PARENT, ""))
        self.assertEqual(
            read_trace([(b"host", b"x"), parent, state, (b"tracestate", b"b=2")]), (PARENT, "a=1,b=2")
        )
        self.assertEqual(read_trace([state, (b"traceparent", b"x")]), ("", ""))
        self.assertEqual(read_trace([parent, parent, state]), ("", ""))
        for wrong in (b"a=" + b"1" * 511, b"a=\xe4"):
            self.assertEqual(read_trace([parent, (b"tracestate", wrong)]), (PARENT, ""))
