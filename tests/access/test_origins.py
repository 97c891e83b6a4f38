"""Tests of L{twisted_appserver.access.origins}: hosts and origins that can never match are refused."""

from __future__ import annotations

import os
import sys
from io import StringIO
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from twisted_appserver import ConfigurationError, make_service
from twisted_appserver.access.origins import read_host, read_origin
from twisted_appserver.access.request_guard import RequestGuard
from twisted_appserver.serving.tap import Options, makeService
from twisted_appserver.testing import Client
from twisted_appserver.tqueue.tap import Options as QueueOptions
from twisted_appserver.tqueue.tap import makeService as makeQueues


class HostTests(SynchronousTestCase):
    def test_host_is_read_as_requests_contain_it(self) -> None:
        """It is compared in the form that a request contains."""
        for text, expected in (
            ("App.Example", b"app.example"), ("B\u00fccher.example", b"xn--bcher-kva.example"), ("*", b"*"),
            ("192.0.2.1", b"192.0.2.1"), ("[::0001]", b"[::1]"), ("my_host-1", b"my_host-1"),
        ):  # fmt: skip
            self.assertEqual(read_host(text), expected, text)

    def test_invalid_host_is_refused_with_a_hint(self) -> None:
        """The hint shows what to write instead."""
        example = ", such as app.example.org"
        for text, hint in (
            ("a:80", "; write a"), ("http://x/", "; write x"), ("https://x:8443", "; write x"),
            ("//x", "; write x"), ("::1", "; write [::1]"), ("[::1]:80", "; write [::1]"),
            ("a/b", "; write a"), ("u@a", "; write a"), ("a b", "; write a"),
            ("*.example.org", "; name each host, or write * for every host"), ("a*", example), ("", example),
            (" ", example), ("a,b", example), ("[::x]", example), ("[]", example), ("a\u0000", example),
        ):  # fmt: skip
            error = str(self.assertRaises(ConfigurationError, read_host, text))
            self.assertTrue(error.startswith(f"--allow-host {text!r}: must be a host name"), error)
            self.assertIn(hint, error)
            self.assertNotIn("\n", error)


class OriginTests(SynchronousTestCase):
    def test_origin_is_read_as_browsers_send_it(self) -> None:
        """It is compared in the form that browsers send."""
        for text, expected in (
            ("https://x", b"https://x"), ("HTTPS://X.example:8443/", b"https://x.example:8443"),
            ("https://x:443", b"https://x"), ("http://x:80/", b"http://x"), ("http://x:443", b"http://x:443"),
            ("http://B\u00fccher.example", b"http://xn--bcher-kva.example"), ("http://[0::1]:81", b"http://[::1]:81"),
            ("chrome-extension://abcdef", b"chrome-extension://abcdef"), ("capacitor://localhost", b"capacitor://localhost"),
        ):  # fmt: skip
            self.assertEqual(read_origin(text), expected, text)

    def test_invalid_origin_is_refused_with_a_hint(self) -> None:
        """The hint shows what to write instead."""
        for text, hint in (
            ("null", "every sandboxed frame"), ("NULL", "every sandboxed frame"),
            ("file://", "every sandboxed frame"), ("*", "must be named"),
            ("https://*.example.org", "must be named"),
            ("example.org:81", "; write https://example.org:81 or http://example.org:81"),
            ("localhost:81", "; write http://localhost:81"), ("127.0.0.1", "; write http://127.0.0.1"),
            ("[::1]:81", "; write http://[::1]:81"),
            ("https://x/path", "; write https://x"), ("http://x:81/a?b", "; write http://x:81"),
            ("https://x?y", "; write https://x"), ("https://u:p@x", "; write https://x"),
            ("", "such as https"), ("https://", "such as https"), (" https://x", "such as https"),
            ("https://a b", "; write https://a"), ("https://x:port", "; write https://x"),
            ("http:x", "; write http://x"),
        ):  # fmt: skip
            error = str(self.assertRaises(ConfigurationError, read_origin, text))
            self.assertTrue(error.startswith(f"--allow-origin {text!r}: "), error)
            self.assertIn(hint, error)
            self.assertNotIn("\n", error)

    def test_hints_are_accepted(self) -> None:
        """The value that a message suggests is valid."""
        for read, text in (
            (read_origin, "example.org:81"),
            (read_host, "http://x:80/"),
            (read_origin, "http://x/y"),
        ):
            error = str(self.assertRaises(ConfigurationError, read, text))
            for choice in error.rpartition("; write ")[2].split(" or "):
                read(choice)


class WaysTests(SynchronousTestCase):
    """The checks apply however an option is given."""

    def test_keyword_arguments_are_checked(self) -> None:
        """Of C{make_service} and of the client for tests."""
        for options in ({"allow_host": ("a:80",)}, {"allow_origin": ("null",)}, {"proxied": ("",)}):
            self.assertRaises(ConfigurationError, make_service, (), **options)
            self.assertRaises(ConfigurationError, Client, (), **options)
        self.assertRaises(ConfigurationError, make_service, (), token_file="")
        self.assertRaises(ConfigurationError, RequestGuard, [""])

    def test_command_line_and_environment_are_checked(self) -> None:
        """The error is one line that names the option or the variable, for both commands."""
        for command, made, make in (
            ("appserver", Options, makeService),
            ("tqueuesrv", QueueOptions, makeQueues),
        ):
            for words, variables in (
                (["--allow-origin", "*"], {}), (["--allow-host", ""], {}), (["--proxied", "localhost"], {}),
                ([], {"ALLOW_ORIGIN": "https://x example.org"}), ([], {"ALLOW_HOST": "http://x/"}),
                ([], {"PROXIED": "10.0.0.1/8"}), ([], {"TOKEN_FILE": ""}), (["--token-file", ""], {}),
            ):  # fmt: skip
                environ = {f"{command.upper()}_{name}": value for name, value in variables.items()}
                err = StringIO()
                with patch.dict(os.environ, environ), patch.object(sys, "stderr", err):
                    given = made()
                    given.parseOptions(words)
                    self.assertRaises(SystemExit, make, given)
                (name,) = environ or words[:1]
                self.assertRegex(err.getvalue(), rf"\A{command}: {name} .+\n\Z")
