"""Tests of L{twisted_appserver.access.credentials}: who someone is, and whose word on that is taken."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
from base64 import b64encode
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import SSL4ServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import CommandTestCase
from tests.support.slow import slow
from tests.support.wire import exchange, fetch, request
from twisted_appserver import Call, ConfigurationError, HTTPError, InlineExecutor, Reply, Route, Router
from twisted_appserver.access import passwords
from twisted_appserver.access.credentials import Credentials, make_checkers, read_token
from twisted_appserver.access.passwords import HashedPasswords
from twisted_appserver.access.proxies import Proxies, client_network
from twisted_appserver.access.request_guard import EVERY_METHOD, RequestGuard
from twisted_appserver.dispatch.dispatcher import Dispatcher
from twisted_appserver.serving.endpoints import Endpoints, _interface
from twisted_appserver.settings import Settings
from twisted_appserver.testing import Client, Response

TOKEN = b"0123456789abcdefTOKEN"
APP = """\
    from twisted_appserver import Call, HTTPError, Reply

    def who(call: Call):
        return {"user": call.user, "client": call.client}

    def made():
        return Reply({}, 201, {"X-Made": "yes"})

    def fails():
        raise HTTPError(418, "it is a teapot")

    url_patterns = ((r"/who/", who), (r"/made/", made), (r"/fails/", fails))
"""


def basic(name: str, password: str) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


class Now:
    """A reactor whose thread pool works at once, in the thread that asks."""

    def getThreadPool(self) -> Any:
        return self

    def callInThreadWithCallback(self, done: Any, function: Any, *args: Any) -> None:
        try:
            done(True, function(*args))
        except Exception as error:
            from twisted.python.failure import Failure

            done(False, Failure(error))

    def callFromThread(self, function: Any, *args: Any) -> None:
        function(*args)


def private(path: str, text: str) -> str:
    """Create a file that only its owner can read. Return its path."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


class TokenFileTests(SynchronousTestCase):
    def made(self, content: bytes, mode: int = 0o600) -> str:
        path = private(self.mktemp(), content.decode())
        os.chmod(path, mode)
        return path

    def test_token_is_the_first_line(self) -> None:
        """The token is the file's first line."""
        self.assertEqual(read_token(self.made(TOKEN + b"\nanything\n")), TOKEN)

    def test_unusable_token_file_is_refused(self) -> None:
        """A file that is missing, empty, too short, or open to every user is refused."""
        for path, said in (
            (self.mktemp(), "No such file or directory; make a token: (umask 077; python -c "),
            (self.made(b""), "its first line is empty; make a token"),
            (self.made(b"\n" + TOKEN), "its first line is empty"),
            (self.made(b"sesame"), "the token must have at least 16 characters, not 6; make a token"),
            (self.made(TOKEN, 0o644), "every user can read it (mode 0644); run: chmod 600 "),
            (self.made(TOKEN, 0o602), "every user can write it"),
            (self.made(TOKEN, 0o640), "its group can read it (mode 0640)"),
            (self.made(TOKEN, 0o660), "its group can write it"),
            (self.made(TOKEN, 0o440), "its group can read it"),
        ):
            error = self.assertRaises(ConfigurationError, read_token, path)
            self.assertIn(said, str(error))
            self.assertNotIn("\n", str(error))
            self.assertNotIn("sesame", str(error))
            self.assertNotIn(TOKEN.decode(), str(error))


class CredentialsTests(SynchronousTestCase):
    def setUp(self) -> None:
        database = InMemoryUsernamePasswordDatabaseDontUse(anna=b"secret")
        self.credentials = Credentials(TOKEN, [database])

    def refused(self, authorization: bytes, credentials: Credentials | None = None) -> HTTPError:
        failure = self.failureResultOf(
            (credentials or self.credentials).authenticate(authorization), HTTPError
        )
        error = failure.value
        assert isinstance(error, HTTPError)
        self.assertEqual(error.status, 401)
        return error

    def test_only_the_exact_token_is_accepted(self) -> None:
        """The scheme may be in any case."""
        for right in (b"Bearer " + TOKEN, b"bearer   " + TOKEN + b" "):
            self.assertEqual(self.successResultOf(self.credentials.authenticate(right)), "")
        for wrong in (b"", b"Bearer", b"Bearer ", TOKEN, b"Bearer " + TOKEN[:-1], b"Bearer " + TOKEN + b"x",
                      b"Bearer " + TOKEN.lower(), b"Token " + TOKEN, b"Basic " + TOKEN):  # fmt: skip
            self.refused(wrong)

    def test_header_without_a_scheme_is_told_apart_from_no_header(self) -> None:
        self.assertIn("authentication required", self.refused(b"").detail)
        self.assertIn("the header Authorization has another form: send", self.refused(TOKEN).detail)

    def test_correct_password_gives_the_name(self) -> None:
        asked = self.credentials.authenticate(basic("anna", "secret").encode())
        self.assertEqual(self.successResultOf(asked), "anna")
        for name, password in (("anna", "Secret"), ("anna", ""), ("", "secret"), ("bob", "secret")):
            self.refused(basic(name, password).encode())
        self.refused(b"Basic " + b64encode(b"\xff:x"))
        self.refused(b"Basic " + b64encode(b"anna"))

    def test_refusal_has_a_challenge_and_no_secret(self) -> None:
        """RFC 9110, section 11.6.1. Nothing that the client sent is repeated."""
        error = self.refused(basic("anna", "hunter2").encode())
        self.assertEqual(dict(error.headers)["www-authenticate"].count("realm"), 2)
        self.assertNotIn("hunter2", error.detail)
        only = self.refused(basic("anna", "secret").encode(), Credentials(TOKEN))
        self.assertEqual(dict(only.headers)["www-authenticate"], 'Bearer realm="appserver"')

    def test_tokens_are_compared_in_constant_time(self) -> None:
        """By their digests, so that equal first bytes take no longer."""
        compared = []
        with patch(
            "twisted_appserver.access.credentials.compare_digest", lambda *two: compared.append(two) or False
        ):
            self.refused(b"Bearer " + TOKEN)
            self.refused(b"Bearer " + TOKEN[:8])
        self.assertEqual([list(map(len, two)) for two in compared], [[32, 32]] * 2)

    def slow(self) -> tuple[Credentials, list[tuple[bytes, Deferred[bytes]]]]:
        """
        Return credentials whose checker answers later, and a list of what it receives: names and Deferreds.
        """
        asked: list[tuple[bytes, Deferred[bytes]]] = []

        def check(credentials: UsernamePassword) -> Deferred[bytes]:
            asked.append((credentials.username, Deferred()))
            return asked[-1][1]

        return Credentials(None, [SimpleNamespace(requestAvatarId=check)]), asked

    def statuses(self, deferreds: list[Deferred[str]]) -> list[int]:
        return [self.failureResultOf(each, HTTPError).value.status for each in deferreds]

    def test_equal_passwords_are_checked_once(self) -> None:
        """Many requests with the same name and password cause one check."""
        credentials, asked = self.slow()
        same = [credentials.authenticate(basic("anna", "secret").encode(), f"192.0.2.{n}") for n in range(30)]
        self.assertEqual(len(asked), 1)
        asked[0][1].callback(b"anna")
        self.assertEqual([self.successResultOf(each) for each in same], ["anna"] * 30)
        self.assertEqual(credentials.remembered_user(basic("anna", "secret").encode()), "anna")

    def guesses(self, credentials: Credentials, client: str, number: int) -> list[Deferred[str]]:
        return [
            credentials.authenticate(basic("anna", f"{client} {n}").encode(), client) for n in range(number)
        ]

    def test_guessing_client_does_not_lock_others_out(self) -> None:
        """Eight passwords of one client are checked at a time. Others can be checked meanwhile."""
        for guesser, other in (("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8:0:1::1"), ("", "::1")):
            credentials, asked = self.slow()
            waiting = self.guesses(credentials, guesser, 70)
            self.assertEqual(len(asked), 8)
            self.assertEqual(self.statuses(waiting[8:]), [429] * 62)
            good = credentials.authenticate(basic("bob", "secret").encode(), other)
            asked[8][1].callback(b"bob")
            self.assertEqual(self.successResultOf(good), "bob")
            for _, answer in asked[:8]:
                answer.errback(UnauthorizedLogin())
            self.assertEqual(self.statuses(waiting[:8]), [401] * 8)
            self.assertNoResult(credentials.authenticate(basic("anna", "once more").encode(), guesser))

    def test_one_network_is_one_client(self) -> None:
        """An IPv6 network cannot guess from each of its addresses."""
        credentials, asked = self.slow()
        for number in range(20):
            credentials.authenticate(basic("anna", str(number)).encode(), f"2001:db8::{number:x}").addErrback(
                str
            )
        self.assertEqual(len(asked), 8)
        self.assertEqual(client_network("::ffff:192.0.2.1"), client_network("192.0.2.1"))

    def test_all_clients_together_have_a_limit_of_checks(self) -> None:
        """64 passwords are checked at a time. A known password needs no check."""
        credentials, asked = self.slow()
        known = basic("bob", "secret").encode()
        credentials.authenticate(known, "192.0.2.200")
        asked[0][1].callback(b"bob")
        for number in range(8):
            self.guesses(credentials, f"192.0.2.{number}", 8)
        (busy,) = self.guesses(credentials, "192.0.2.99", 1)
        error = self.failureResultOf(busy, HTTPError).value
        self.assertEqual((error.status, dict(error.headers)["retry-after"]), (503, "1"))
        self.assertEqual(self.successResultOf(credentials.authenticate(known, "192.0.2.1")), "bob")

    def test_known_password_is_renewed_while_in_use(self) -> None:
        """Its user never waits. It is checked again in time, and refused once it is wrong."""
        credentials, asked = self.slow()
        known = basic("bob", "secret").encode()
        with patch("twisted_appserver.access.credentials.monotonic", Clock().seconds) as seconds:
            clock = seconds.__self__
            credentials.authenticate(known)
            asked[0][1].callback(b"bob")
            for wait, checks in ((30, 1), (15, 2), (10, 2)):
                clock.advance(wait)
                self.assertEqual((credentials.remembered_user(known), len(asked)), ("bob", checks))
            asked[1][1].callback(b"bob")
            clock.advance(30)
            self.assertEqual((credentials.remembered_user(known), len(asked)), ("bob", 2))
            clock.advance(15)
            self.assertEqual((credentials.remembered_user(known), len(asked)), ("bob", 3))
            asked[2][1].errback(UnauthorizedLogin())
            self.assertIsNone(credentials.remembered_user(known))

    def test_remembered_passwords_are_bounded(self) -> None:
        """The oldest one is forgotten."""
        checker = SimpleNamespace(requestAvatarId=lambda asked: asked.username)
        credentials = Credentials(None, [checker])
        with patch("twisted_appserver.access.credentials.MAX_REMEMBERED", 3):
            for name in "abcd":
                credentials.authenticate(basic(name, "x").encode())
        known = [credentials.remembered_user(basic(name, "x").encode()) for name in "abcd"]
        self.assertEqual(known, [None, "b", "c", "d"])

    def test_checker_that_raises_accepts_nobody(self) -> None:
        """The error is logged."""

        class Broken:
            def requestAvatarId(self, credentials: Any) -> Any:
                raise ZeroDivisionError

        with patch.object(Credentials, "log") as log:
            self.refused(basic("anna", "secret").encode(), Credentials(None, [Broken()]))
        self.assertIn("ZeroDivisionError", log.error.call_args.kwargs["trace"])
        self.assertNotIn("secret", str(log.error.call_args))
        self.assertEqual(len(self.flushLoggedErrors()), 0)


class HashedTests(SynchronousTestCase):
    def checker(self, *lines: str) -> HashedPasswords:
        return HashedPasswords(private(self.mktemp(), "\n".join(lines) + "\n"), Now())

    def test_only_the_correct_password_is_accepted(self) -> None:
        """Equal passwords have different hashes."""
        lines = [passwords.password_line("anna", "päss:word"), passwords.password_line("bob", "x")]
        self.assertNotIn("word", lines[0])
        self.assertNotEqual(lines[1], passwords.password_line("bob", "x"))
        checker = self.checker(*lines)
        right = UsernamePassword(b"anna", "päss:word".encode())
        self.assertEqual(self.successResultOf(checker.requestAvatarId(right)), b"anna")
        for name, password in ((b"anna", b"x"), (b"bob", b""), (b"carl", b"x"), (b"", b"")):
            self.failureResultOf(checker.requestAvatarId(UsernamePassword(name, password)))

    def test_malformed_line_is_named_by_its_number(self) -> None:
        for text in ("anna", "anna:secret", "anna:md5$1$1$1$YQ==$YQ==", "anna:scrypt$a$8$1$YQ==$YQ=="):
            error = self.assertRaises(ValueError, self.checker, passwords.password_line("bob", "x"), text)
            self.assertIn("line 2", str(error))
            self.assertNotIn("secret", str(error))

    def test_command_prints_a_line(self) -> None:
        """For the password that it reads."""
        command = [sys.executable, "-m", "twisted_appserver.access.passwords"]
        made = subprocess.run(
            [*command, "anna"], input="secret\n", capture_output=True, text=True, timeout=60
        )
        checker = self.checker(made.stdout)
        right = UsernamePassword(b"anna", b"secret")
        self.assertEqual(self.successResultOf(checker.requestAvatarId(right)), b"anna")
        with patch("sys.stdin", io.StringIO("x\n")), patch("sys.stderr", io.StringIO()) as said:
            self.assertEqual([passwords.main(["a:b"]), passwords.main([]), passwords.main(["-h"])], [2, 2, 2])
            self.assertEqual(passwords.main(["anna"]), 2)  # there is nothing more to read
        self.assertIn("password must not be empty", said.getvalue())
        self.assertIn("colon", said.getvalue())

    def test_unusable_checkers_are_refused(self) -> None:
        """
        C{--auth} takes C{hashed:FILE} and Twisted's checkers. The error for any other value is one line.
        """
        path = private(self.mktemp(), passwords.password_line("anna", "x"))
        self.assertEqual(len(make_checkers(Now(), [f"hashed:{path}", f"file:{path}"])), 2)
        for text in ("hashed:/nowhere", "nonsense:secret", "anonymous", "memory:secret"):
            error = self.assertRaises(ConfigurationError, make_checkers, Now(), [text])
            self.assertIn(f"--auth {text.partition(':')[0]}", str(error))
            self.assertNotIn("secret", str(error))
        for kind in ("hashed", "file"):
            error = self.assertRaises(ConfigurationError, make_checkers, Now(), [f"{kind}:/no/file"])
            self.assertIn(f"--auth {kind}:/no/file: No such file or directory", str(error))
            self.assertEqual("passwords NAME > /no/file)" in str(error), kind == "hashed")
            for mode in (0o640, 0o604, 0o620):
                os.chmod(path, mode)
                error = self.assertRaises(ConfigurationError, make_checkers, Now(), [f"{kind}:{path}"])
                self.assertIn(f"--auth {kind}", str(error))
                self.assertIn(f"chmod 600 {path}", str(error))
        error = self.assertRaises(ConfigurationError, make_checkers, Now(), ["foo"])
        self.assertIn("twistd --help-auth", str(error))


class ProxiesTests(SynchronousTestCase):
    def client(
        self, proxies: Proxies, client: str, *headers: tuple[bytes, bytes]
    ) -> tuple[str, dict[Any, Any]]:
        call = Call("GET", "/", "", ((b"host", b"localhost"), *headers), b"", client)
        call = proxies.apply(call)
        return call.client, dict(call.raw_headers)

    def test_client_is_the_last_address_that_is_no_proxy(self) -> None:
        """Earlier addresses in the chain are ignored."""
        proxies = Proxies(["10.0.0.0/8", "::1", "unix"])
        said = (b"x-forwarded-for", b"6.6.6.6, 192.0.2.1, 10.1.1.1")
        for peer, expected in (
            ("10.0.0.1", "192.0.2.1"), ("::1", "192.0.2.1"), ("", "192.0.2.1"), ("192.0.2.9", "192.0.2.9")
        ):  # fmt: skip
            self.assertEqual(self.client(proxies, peer, said)[0], expected)
        twice = ((b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-for", b"192.0.2.2"))
        self.assertEqual(self.client(proxies, "10.0.0.1", *twice)[0], "192.0.2.2")
        self.assertEqual(self.client(proxies, "10.0.0.1")[0], "10.0.0.1")
        self.assertEqual(self.client(Proxies(["10.0.0.1"]), "", said)[0], "")

    def test_host_is_taken_from_a_trusted_proxy(self) -> None:
        said = (b"x-forwarded-host", b"evil.example, app.example")
        self.assertEqual(self.client(Proxies(["unix"]), "", said)[1][b"host"], b"app.example")
        self.assertEqual(self.client(Proxies(["unix"]), "192.0.2.9", said)[1][b"host"], b"localhost")

    def test_forwarded_header_is_parsed_in_all_its_forms(self) -> None:
        """RFC 7239, section 6."""
        proxies = Proxies(["10.0.0.0/8"])
        for value, client, host in (
            (b"for=192.0.2.1", "192.0.2.1", b"localhost"),
            (b'For="192.0.2.1:4711";Proto=https;Host=app.example', "192.0.2.1", b"app.example"),
            (b'for=6.6.6.6, for="[2001:db8::1]:80";by=10.0.0.1, for=10.1.1.1', "2001:db8::1", b"localhost"),
            (b'for=192.0.2.1;host=evil.example, for=10.1.1.1;host="app.example:81"', "192.0.2.1",
             b"app.example:81"),
            (b"for=192.0.2.1, for=unknown", "10.0.0.1", b"localhost"),
            (b"for=192.0.2.1, for=_hidden, for=10.1.1.1", "10.1.1.1", b"localhost"),
            (b'x="for=6.6.6.6;host=evil.example"', "10.0.0.1", b"localhost"),
            (b'for="6.6.6.6, for="[2001:db8::1]"', "10.0.0.1", b"localhost"),
            (b'for=6.6.6.6;host="evil.example, for=192.0.2.1', "10.0.0.1", b"localhost"),
            (b"", "10.0.0.1", b"localhost"),
        ):  # fmt: skip
            got, headers = self.client(proxies, "10.0.0.1", (b"forwarded", value))
            self.assertEqual((got, headers[b"host"]), (client, host), value)
        both = ((b"forwarded", b"for=6.6.6.6"), (b"x-forwarded-for", b"192.0.2.1"))
        self.assertEqual(self.client(proxies, "10.0.0.1", *both)[0], "192.0.2.1")

    def test_addresses_with_ports_and_mapped_addresses_are_parsed(self) -> None:
        """An invalid address ends the chain."""
        proxies = Proxies(["10.0.0.0/8"])
        for peer, said, expected in (
            ("::ffff:10.0.0.1", b"192.0.2.1", "192.0.2.1"),
            ("10.0.0.1", b"192.0.2.1:80, ::ffff:10.0.0.2", "192.0.2.1"),
            ("10.0.0.1", b"[2001:db8::1]:80", "2001:db8::1"),
            ("10.0.0.1", b"2001:db8::1", "2001:db8::1"),
            ("10.0.0.1", b"192.0.2.1, <script>", "10.0.0.1"),
            ("10.0.0.1", b"192.0.2.1, , ", "192.0.2.1"),
            ("10.0.0.1", b'fe80::1%" 200 1 "forged', "10.0.0.1"),
            ("10.0.0.1", b"[fe80::1%eth0]:80", "10.0.0.1"),
        ):
            self.assertEqual(self.client(proxies, peer, (b"x-forwarded-for", said))[0], expected, said)

    def test_headers_of_other_clients_are_removed(self) -> None:
        """So functions can trust these headers: they come from a proxy only."""
        said = (b"x-forwarded-proto", b"https"), (b"forwarded", b"for=6.6.6.6")
        for peer, expected in (("10.0.0.1", set(said)), ("192.0.2.9", set())):
            _, headers = self.client(Proxies(["10.0.0.1"]), peer, *said)
            self.assertEqual(set(headers.items()), {(b"host", b"localhost")} | expected)

    def test_invalid_addresses_are_refused_with_a_hint(self) -> None:
        """The hint shows what to write instead."""
        for text, hint in (
            ("10.0.0.0/33", ""), ("", ""), ("proxy.example", ""), ("unix:/run/x", ""), ("*", ""),
            ("10.0.0.1/8", "; write 10.0.0.0/8"), ("127.0.0.1:80", "; write 127.0.0.1"),
            ("[::1]", "; write ::1"), ("localhost", "; write 127.0.0.1"),
        ):  # fmt: skip
            error = str(self.assertRaises(ConfigurationError, Proxies, [text]))
            self.assertIn(f"--proxied {text!r}: must be an IP address", error)
            self.assertTrue(error.endswith(hint or "or unix"), error)

    def test_mapped_network_is_the_same_proxy(self) -> None:
        """IPv4 addresses may be written as IPv6 addresses."""
        said = (b"x-forwarded-for", b"192.0.2.1")
        for name in ("::ffff:10.0.0.1", "::ffff:10.0.0.0/104"):
            self.assertEqual(self.client(Proxies([name]), "10.0.0.1", said)[0], "192.0.2.1")


class GuardTests(SynchronousTestCase):
    """A guard with credentials, in a dispatcher."""

    def setUp(self) -> None:
        self.guard = RequestGuard(origins=["https://pages.example"])
        self.waiting: list[Deferred[dict[str, Any]]] = []
        slow, endless = Route(r"/slow/", self.slow, timeout=20), Route(r"/endless/", self.slow, timeout=0)
        router, executors = Router([(r"/who/", self.who), slow, endless]), {"inline": InlineExecutor()}
        self.clock = Clock()
        self.dispatcher = Dispatcher(self.clock, router, executors, "inline", self.guard, timeout=5.0)
        self.calls: list[str] = []

    async def who(self, call: Call) -> dict[str, Any]:
        self.calls.append(call.user)
        return {"user": call.user}

    async def slow(self) -> dict[str, Any]:
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    def ask(self, method: str = "GET", path: str = "/who/", **headers: str) -> Deferred[Reply]:
        raw = [(b"host", b"localhost")]
        raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        return self.dispatcher.dispatch(Call(method, path, raw_headers=tuple(raw)))

    def check_slowly(self) -> list[Deferred[bytes]]:
        """Require credentials that are checked later. Return the list of Deferreds for the checks."""
        answers: list[Deferred[bytes]] = []
        checker = SimpleNamespace(requestAvatarId=lambda _: answers.append(Deferred()) or answers[-1])
        self.guard.credentials = Credentials(None, [checker])
        return answers

    def status(self, **headers: str) -> int:
        return self.successResultOf(self.ask(**headers)).status

    def test_only_the_token_leads_to_the_patterns(self) -> None:
        """
        Without it, a client does not learn which paths exist. Only equal requests reuse an earlier
        decision.
        """
        self.guard.require(Credentials(TOKEN))
        right = f"Bearer {TOKEN.decode()}"
        for _ in range(2):
            self.assertEqual(self.status(authorization=right), 200)
            self.assertEqual(self.status(authorization=right + "x"), 401)
            self.assertEqual(self.status(), 401)
            self.assertEqual(self.status(path="/nowhere/"), 401)
            self.assertEqual(self.status(path="/nowhere/", authorization=right), 404)
        self.assertEqual(self.calls, ["", ""])

    def test_function_receives_the_name_of_the_user(self) -> None:
        """Also if the same head was received before."""
        path = private(self.mktemp(), "anna:secret\n")
        self.guard.require(Credentials(None, make_checkers(Now(), [f"file:{path}"])))
        for _ in range(2):
            reply = self.successResultOf(self.ask(authorization=basic("anna", "secret")))
            self.assertEqual(reply.body, b'{"user":"anna"}')
        self.assertEqual(self.status(authorization=basic("anna", "wrong")), 401)

    def test_checked_once_whatever_the_headers(self) -> None:
        """A correct password is not checked again because another header differs."""
        answers = self.check_slowly()
        first = self.ask(authorization=basic("anna", "x"), x_number="0")
        answers[0].callback(b"")
        self.assertEqual(self.successResultOf(first).status, 200)
        for number in range(1, 50):
            self.assertEqual(self.status(authorization=basic("anna", "x"), x_number=str(number)), 200)
        self.assertEqual((len(answers), set(self.calls)), (1, {"anna"}))

    def test_guesses_count_for_the_real_client(self) -> None:
        """Behind a trusted proxy, this is the client that the proxy names."""
        self.dispatcher.guard = self.guard = RequestGuard(proxies=Proxies(["unix"]))
        answers = self.check_slowly()
        for number in range(20):
            self.ask(authorization=basic("anna", str(number)), x_forwarded_for="192.0.2.1")
        self.assertEqual(len(answers), 8)
        self.ask(authorization=basic("bob", "x"), x_forwarded_for="192.0.2.2")
        self.assertEqual(len(answers), 9)

    def test_password_checked_during_a_replacement_must_match_the_new_ones(self) -> None:
        answers = self.check_slowly()
        asked = self.ask(authorization=basic("anna", "x"))
        self.guard.require(Credentials(TOKEN))
        answers[0].callback(b"")
        self.assertEqual(self.successResultOf(asked).status, 401)
        self.assertEqual(self.calls, [])

    def test_revoked_password_stops_working_after_a_minute(self) -> None:
        """A password is checked again after a minute, a token never."""
        database = InMemoryUsernamePasswordDatabaseDontUse(anna=b"secret")
        self.guard.require(Credentials(TOKEN, [database]))
        anna, token = basic("anna", "secret"), f"Bearer {TOKEN.decode()}"
        with patch("twisted_appserver.access.credentials.monotonic", Clock().seconds) as seconds:
            self.assertEqual([self.status(authorization=each) for each in (anna, token)], [200, 200])
            database.users.clear()
            self.assertEqual([self.status(authorization=each) for each in (anna, token)], [200, 200])
            seconds.__self__.advance(61)
            self.assertEqual([self.status(authorization=each) for each in (anna, token)], [401, 200])

    def test_old_token_stops_working_at_once(self) -> None:
        """Even in a request that was received before."""
        for new, old in ((TOKEN, b"another" + TOKEN), (b"another" + TOKEN, TOKEN)):
            self.guard.require(Credentials(new))
            self.assertEqual(self.status(authorization=f"Bearer {old.decode()}"), 401)
            self.assertEqual(self.status(authorization=f"Bearer {new.decode()}"), 200)

    def test_client_that_left_during_a_check_is_not_called_for(self) -> None:
        answers = self.check_slowly()
        here, gone = (self.ask(authorization=basic(name, "x")) for name in ("anna", "bob"))
        self.assertNoResult(here)
        gone.addErrback(lambda _: None)
        gone.cancel()
        for answer in answers:
            answer.callback(b"")
        self.assertEqual(self.successResultOf(here).status, 200)
        self.assertEqual((self.calls, self.dispatcher.in_flight), (["anna"], 0))

    def test_time_limit_includes_the_check_of_the_password(self) -> None:
        """Even if the checker never answers."""
        answers = self.check_slowly()
        asked = self.ask(authorization=basic("anna", "x"))
        self.clock.advance(4)
        self.assertNoResult(asked)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(asked).status, 504)
        self.ask(authorization=basic("bob", "x"))
        self.clock.advance(4)
        answers[0].callback(b"")
        self.assertEqual((self.calls, self.dispatcher.in_flight), ([], 1))
        answers[1].callback(b"")
        self.assertEqual((self.calls, self.dispatcher.in_flight), (["bob"], 0))

    def test_limit_of_the_route_applies_after_the_check(self) -> None:
        """It is counted from the arrival of the call."""
        answers = self.check_slowly()
        paths = ("/endless/", "/slow/", "/who/")
        endless, slow, late = (self.ask(path=path, authorization=basic(path, "x")) for path in paths)
        self.clock.advance(4)
        for answer in answers[:2]:
            answer.callback(b"")
        self.clock.advance(1)  # it no longer waits behind the others
        self.assertEqual(self.successResultOf(late).status, 504)
        self.clock.advance(14.9)
        self.assertNoResult(slow)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(slow).status, 504)
        self.clock.advance(1000)
        self.waiting[0].callback({})
        self.assertEqual((self.successResultOf(endless).status, self.dispatcher.in_flight), (200, 0))

    def test_allowed_origin_may_read_answers_and_errors(self) -> None:
        """Other origins may not."""
        for path, status in (("/who/", 200), ("/nowhere/", 404)):
            reply = self.successResultOf(self.ask(path=path, origin="https://pages.example"))
            headers = dict(reply.headers)
            self.assertEqual((reply.status, headers["vary"]), (status, "origin"))
            self.assertEqual(headers["access-control-allow-origin"], "https://pages.example")
        for headers in ({}, {"origin": "http://localhost"}, {"origin": "https://evil.example"}):
            reply = self.successResultOf(self.ask(**headers))
            self.assertNotIn("access-control-allow-origin", dict(reply.headers))
            self.assertEqual(dict(reply.headers)["vary"], "origin")

    def test_allowed_origin_may_read_refusals(self) -> None:
        """For example, that its request was too large."""
        for channel in ("llhttp", "twisted"):
            client = Client(
                [("/who/", basic)], allow_origin=("https://pages.example",), max_body=5, channel=channel
            )
            answer = client.post("/who/", {"long": "body"}, headers={"Origin": "https://pages.example"})
            self.assertEqual(answer.status, 413)
            self.assertEqual(answer.headers["access-control-allow-origin"], "https://pages.example")

    def test_preflight_is_answered_without_a_token(self) -> None:
        """The response lists what a page may send. No function is called."""
        self.guard.require(Credentials(TOKEN))
        asked = {"access_control_request_method": "PUT", "access_control_request_headers": "authorization"}
        reply = self.successResultOf(self.ask("OPTIONS", origin="https://pages.example", **asked))
        headers = dict(reply.headers)
        self.assertEqual(reply.status, 204)
        self.assertIn("PUT", headers["access-control-allow-methods"])
        other = self.successResultOf(self.ask("OPTIONS", "/no/", origin="https://pages.example", **asked))
        self.assertEqual(dict(other.headers), headers)  # it does not show which paths exist
        self.assertEqual(headers["access-control-allow-headers"], "authorization")
        self.assertEqual(headers["access-control-allow-origin"], "https://pages.example")
        self.assertEqual(self.successResultOf(self.ask("OPTIONS", origin="null", **asked)).status, 403)
        self.assertEqual(self.calls, [])

    def test_preflight_lists_the_methods_of_the_path(self) -> None:
        """Also of a path that differs in its slash. Pages may read the 404 of an unknown path."""
        asked = {"origin": "https://pages.example", "access_control_request_method": "PUT"}
        for path, expected in (
            ("/who/", "GET, HEAD, POST, OPTIONS"),
            ("/who", "GET, HEAD, POST, OPTIONS"),
            ("/nothing/", EVERY_METHOD),
        ):
            headers = dict(self.successResultOf(self.ask("OPTIONS", path, **asked)).headers)
            self.assertEqual(headers["access-control-allow-methods"], expected, path)

    def test_answers_are_unchanged_without_allowed_origins(self) -> None:
        self.dispatcher.guard = RequestGuard()
        self.assertEqual(self.successResultOf(self.ask()).headers, ())


class ListeningTests(SynchronousTestCase):
    """Endpoints that listen at once, and endpoints that listen later."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.endpoints = Endpoints(self.reactor, Settings(port=0))
        self.stopped: list[str] = []

    def endpoint(self, host: str, late: bool = False) -> Any:
        tests = self

        class Port:
            def getHost(self) -> Any:
                return IPv4Address("TCP", host, 80)

            def stopListening(self) -> None:
                tests.stopped.append(host)

        class Endpoint:
            opened: Deferred[Any] = Deferred()

            def listen(self, factory: Any) -> Deferred[Any]:
                return self.opened if late else succeed(Port())

            def ready(self) -> None:
                self.opened.callback(Port())

        return Endpoint()

    def test_public_endpoint_keeps_all_endpoints_closed(self) -> None:
        """If one endpoint is public and nothing protects it, none listens."""
        self.endpoints._endpoints = [self.endpoint(host) for host in ("127.0.0.1", "192.0.2.1", "127.0.0.2")]
        self.assertRaises(ConfigurationError, self.endpoints.open, None)
        self.assertEqual(sorted(self.stopped), ["127.0.0.1", "192.0.2.1"])
        self.assertEqual(self.endpoints.ports, [])

    def test_nothing_listens_where_the_address_shows_that_it_is_open(self) -> None:
        """Whatever other endpoint wraps it."""
        for listen in (
            "tcp:8313", "tcp:8313:interface=0.0.0.0", "tcp:8313:interface=192.0.2.1", "tcp6:8313",
            r"tcp6:8313:interface=2001\:db8\:\:1", "haproxy:tcp:8313", r"haproxy:tcp6:8313:interface=\:\:",
        ):  # fmt: skip
            here = "tcp:8312:interface=127.0.0.1"
            memory = MemoryReactorClock()
            endpoints = Endpoints(memory, Settings(listen=(here, listen)))
            error = self.assertRaises(ConfigurationError, endpoints.open, None)
            self.assertIn("--insecure", str(error))
            self.assertEqual((memory.tcpServers, endpoints.ports), ([], []), listen)
            guarded = Endpoints(memory, Settings(listen=(listen,), insecure=True))
            guarded.open(None)
            self.assertEqual(len(memory.tcpServers), 1, listen)

    def test_public_ssl_endpoint_is_refused_before_it_listens(self) -> None:
        memory = MemoryReactorClock()
        self.endpoints._endpoints = [SSL4ServerEndpoint(memory, 8313, None)]
        self.assertRaises(ConfigurationError, self.endpoints.open, None)
        self.assertEqual(memory.sslServers, [])

    def test_loopback_is_accepted_and_names_are_checked_later(self) -> None:
        """A name is checked when the endpoint listens."""
        for listen, address in (
            ("tcp:0:interface=127.0.0.1", "127.0.0.1"), (r"tcp6:0:interface=\:\:1", "::1"),
            ("tcp:0:interface=localhost", None), ("unix:here", None),
        ):  # fmt: skip
            (endpoint,) = Endpoints(self.reactor, Settings(listen=(listen,)))._endpoints
            self.assertEqual(_interface(endpoint), address)
            self.endpoints._check(address)

    def test_public_endpoint_that_listens_late_is_closed_and_logged(self) -> None:
        here, stranger = (self.endpoint(host, True) for host in ("127.0.0.1", "192.0.2.1"))
        self.endpoints._endpoints = [here, stranger]
        self.endpoints.open(None)
        here.ready()
        stranger.ready()
        self.assertEqual((self.stopped, str(self.endpoints)), (["192.0.2.1"], "http://localhost:80/"))
        del stranger
        self.endpoints._endpoints.clear()
        gc.collect()
        self.assertEqual(len(self.flushLoggedErrors(ConfigurationError)), 1)


class CommandTests(CommandTestCase):
    """The options, in real processes."""

    def secret(self, content: str) -> str:
        return private(os.path.abspath(self.mktemp()), content)

    async def who(self, port: int, authorization: str = "", *headers: tuple[str, str]) -> Response:
        sent = (("Authorization", authorization), *headers) if authorization else headers
        return await exchange(port, request("GET", "/who/", headers=sent))

    async def test_token_and_password_work_and_no_secret_is_logged(self) -> None:
        """With both channels."""
        hashed = self.secret(passwords.password_line("anna", "secret4anna") + "\n")
        token = self.secret(TOKEN.decode())
        folder = self.folder_of(app=APP)
        for channel in ("llhttp", "twisted"):
            program = self.twistd(
                "--port", "0", "--token-file", token, "--auth", f"hashed:{hashed}", "--channel", channel,
                folder=folder,
            )  # fmt: skip
            port = await program.port()
            for _ in range(2):
                answer = await self.who(port, f"Bearer {TOKEN.decode()}")
                self.assertEqual((answer.status, answer.json["user"]), (200, ""))
                answer = await self.who(port, basic("anna", "secret4anna"))
                self.assertEqual((answer.status, answer.json["user"]), (200, "anna"))
                for wrong in ("", "Bearer x", basic("anna", "guess4anna"), basic("bob", "secret4anna")):
                    answer = await self.who(port, wrong)
                    self.assertEqual(answer.status, 401)
                    self.assertIn("Bearer", answer.headers["www-authenticate"])
                    self.assertEqual(answer.headers["content-type"], "application/problem+json")
            await self.stopped(program)
            for secret in (TOKEN.decode(), "secret4anna", "guess4anna", basic("anna", "secret4anna")[6:]):
                self.assertNotIn(secret, program.output)

    @slow
    async def test_all_answers_have_cors_headers_in_both_types(self) -> None:
        """Responses with headers of their own too, on both channels."""
        folder = self.folder_of(app=APP)
        for words in (("--type", "forked"), ("--type", "forked", "--channel", "twisted"), ()):
            program = self.twistd(
                "--port", "0", "--allow-origin", "https://pages.example", *words, folder=folder
            )
            port = await program.port()
            for path, status in (("/made/", 201), ("/who/", 200), ("/nowhere/", 404), ("/fails/", 418)):
                sent = request("GET", path, headers=(("Origin", "https://pages.example"),))
                answer = await exchange(port, sent)
                self.assertEqual(answer.status, status)
                self.assertEqual(answer.headers["access-control-allow-origin"], "https://pages.example")
            await self.stopped(program)

    async def test_public_endpoint_needs_authentication_or_insecure(self) -> None:
        """C{--insecure} confirms that everybody may call."""
        folder = self.folder_of(app=APP)
        for listen in ("tcp:0", "tcp:0:interface=0.0.0.0", "tcp6:0"):
            program = self.twistd("--listen", listen, folder=folder)
            self.assertEqual(await program.ended, 1)
            self.assertIn("--insecure", program.err)
            self.assertNotIn("Traceback", program.output)
        token = self.secret(TOKEN.decode())
        for words in (["--insecure"], ["--token-file", token]):
            program = self.twistd("--listen", "tcp:0:interface=0.0.0.0", *words, folder=folder)
            port = int((await program.line(r"http://0\.0\.0\.0:(\d+)/"))[1])
            expected = 200 if words == ["--insecure"] else 401
            self.assertEqual((await fetch(port, "/who/")).status, expected)
            await self.stopped(program)

    async def test_only_a_trusted_proxy_may_name_its_client(self) -> None:
        folder = self.folder_of(app=APP)
        for words, expected in (([], "127.0.0.1"), (["--proxied", "127.0.0.0/8"], "192.0.2.1")):
            program = self.twistd("--port", "0", *words, folder=folder)
            answer = await self.who(await program.port(), "", ("X-Forwarded-For", "192.0.2.1"))
            self.assertEqual(answer.json["client"], expected)
            await self.stopped(program)
