"""Tests of secrets while a server runs: read again at a reload, and kept from other users of the machine."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from unittest.mock import patch

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.access.test_credentials import APP, TOKEN, basic, private
from tests.http.test_connection_transports import over_tls
from tests.serving.test_command import TWISTD, CommandTestCase
from tests.serving.test_service import ServiceTestCase
from tests.support.wire import exchange, request
from twisted_appserver import ConfigurationError, make_service
from twisted_appserver.access import passwords
from twisted_appserver.access.private_files import check_private, read_private
from twisted_appserver.serving.endpoints import Endpoints
from twisted_appserver.settings import Settings

OTHER = "fedcba9876543210"
RIGHT, NEW = f"Bearer {TOKEN.decode()}", f"Bearer {OTHER}"


class PrivateFilesTests(SynchronousTestCase):
    def test_private_file_is_read(self) -> None:
        """As a whole, or its beginning."""
        path = private(self.mktemp(), "secret")
        self.assertEqual((read_private(path), read_private(path, 3)), (b"secret", b"sec"))

    def test_group_may_read_only_files_of_another_user(self) -> None:
        """Kubernetes mounts secrets like this."""
        ours, theirs = os.geteuid(), os.geteuid() + 1
        for mode, owner, accepted in (
            (0o600, ours, True), (0o400, ours, True), (0o700, ours, True), (0o640, ours, False),
            (0o440, ours, False), (0o620, ours, False), (0o604, ours, False), (0o602, ours, False),
            (0o440, theirs, True), (0o640, theirs, True), (0o660, theirs, False), (0o444, theirs, False),
        ):  # fmt: skip
            status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
            try:
                check_private("path", status)
            except ValueError as error:
                self.assertIn(f"(mode {mode:04o}); run: chmod 600 path", str(error))
                self.assertFalse(accepted, (oct(mode), owner))
            else:
                self.assertTrue(accepted, (oct(mode), owner))


class ReloadTests(ServiceTestCase):
    """C{service.reload()} reads secrets again."""

    async def status(self, port: int, authorization: str) -> int:
        headers = (("Authorization", authorization),)
        return (await exchange(port, request("GET", "/nowhere/", headers=headers))).status

    async def expect(self, port: int, **expected: int) -> None:
        """Check the status for each named secret: 401, or 404 if it is accepted."""
        sent = {"old": RIGHT, "new": NEW, "anna": basic("anna", "x"), "bob": basic("bob", "y")}
        found = {name: await self.status(port, sent[name]) for name in expected}
        self.assertEqual(found, expected)

    async def test_reload_replaces_token_and_passwords_at_once(self) -> None:
        """Both files are read again; the old secrets stop working."""
        token = private(self.mktemp(), TOKEN.decode())
        hashed = private(self.mktemp(), passwords.password_line("anna", "x"))
        for channel in ("llhttp", "twisted"):
            service, port = await self.start(token_file=token, auth=(f"hashed:{hashed}",), channel=channel)
            for _ in range(2):
                await self.expect(port, old=404, new=401, anna=404, bob=401)
            private(token, OTHER)
            private(hashed, passwords.password_line("bob", "y"))
            await service.reload()
            await self.expect(port, old=401, new=404, anna=401, bob=404)
            private(token, TOKEN.decode())
            private(hashed, passwords.password_line("anna", "x"))
            await service.stopService()

    async def test_unusable_files_change_nothing_and_are_reported(self) -> None:
        """In one line of the log, and on the status page."""
        token = private(self.mktemp(), TOKEN.decode())
        hashed = private(self.mktemp(), passwords.password_line("anna", "x"))
        service, port = await self.start(token_file=token, auth=(f"hashed:{hashed}",))
        lines: list[str] = []
        globalLogPublisher.addObserver(observe := lambda event: lines.append(str(event.get("error", ""))))
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        for path, text, mode in ((token, "short", 0o600), (hashed, "anna:x", 0o600), (token, OTHER, 0o640)):
            before = Path(path).read_text()
            private(path, text)
            os.chmod(path, mode)
            with self.assertRaises(ConfigurationError) as caught:
                await service.reload()
            self.assertNotIn(text, str(caught.exception))
            self.assertEqual(lines.count(str(caught.exception)), 1)
            self.assertIn(str(caught.exception), service.reload_problem)
            await self.expect(port, old=404, new=401, anna=404)
            os.chmod(path, 0o600)
            private(path, before)
        os.remove(token)
        with self.assertRaises(ConfigurationError):
            await service.reload()
        await self.expect(port, old=404)
        private(token, OTHER)
        await service.reload()
        self.assertEqual(service.reload_problem, "")
        await self.expect(port, old=401, new=404)

    async def test_secrets_are_reloaded_though_the_table_was_passed(self) -> None:
        """There is no application to import again."""
        token = private(self.mktemp(), TOKEN.decode())
        service, port = await self.start(app=None, url_patterns=[("/x", print)], token_file=token)
        private(token, OTHER)
        await service.reload()
        await self.expect(port, old=401, new=404)


class SignalTests(CommandTestCase):
    """SIGHUP reads secrets again."""

    async def test_sighup_reloads_secrets_of_both_commands(self) -> None:
        """An unusable file changes nothing and is reported in one line."""
        folder = self.folder_of(urls=APP)
        token = private(os.path.join(folder, "token"), TOKEN.decode())
        for words in (("appserver", "--type", "forked", "--workers", "1"), ("tqueuesrv",)):
            private(token, TOKEN.decode())
            program = self.python(
                TWISTD, "-n", "--pidfile=", *words, "--port", "0", "--token-file", "token", folder=folder
            )
            port = await program.port()
            self.assertEqual(await self.status(port, RIGHT), 404)
            private(token, "short")
            program.signal("HUP")
            await program.line("the previous token and passwords stay in use: .*at least 16")
            self.assertEqual(await self.status(port, RIGHT), 404)
            private(token, OTHER)
            program.signal("HUP")
            await program.line("token and passwords reloaded")
            self.assertEqual([await self.status(port, each) for each in (RIGHT, NEW)], [401, 404])
            await self.stopped(program)

    async def status(self, port: int, authorization: str) -> int:
        sent = request("GET", "/no/where/at/all", headers=(("Authorization", authorization),))
        return (await exchange(port, sent)).status


class SocketTests(ServiceTestCase):
    async def test_unix_socket_is_for_its_user_and_group(self) -> None:
        """Unless a mode is given, in one of two ways."""
        folder = tempfile.TemporaryDirectory()  # its path is short enough for a socket
        self.addCleanup(folder.cleanup)
        paths = [os.path.join(folder.name, name) for name in ("a", "b", "c", "d", "e\\:f")]
        listen = [f"unix:{path}{more}" for path, more in zip(
            paths, ("", ":mode=600", ":666", ":backlog=9", ":lockfile=0"), strict=True
        )]  # fmt: skip
        service = make_service([("/x", print)], listen=tuple(listen))
        service.startService()
        self.addCleanup(service.stopService)
        modes = [stat.S_IMODE(os.stat(path.replace("\\", "")).st_mode) for path in paths]
        self.assertEqual(modes, [0o660, 0o600, 0o666, 0o660, 0o660])


class KeyTests(SynchronousTestCase):
    def test_private_key_that_others_can_read_is_warned_about(self) -> None:
        """It is used all the same. If only its group can read it, there is no warning."""
        for mode, warnings in ((0o644, 1), (0o660, 1), (0o640, 0), (0o600, 0)):
            path = self.mktemp()
            place, _ = over_tls(path)
            os.chmod(path, mode)
            with patch("twisted_appserver.serving.endpoints.log") as log:
                Endpoints(MemoryReactorClock(), Settings(listen=(place,)))
            self.assertEqual(log.warn.call_count, warnings, oct(mode))
