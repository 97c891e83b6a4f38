"""Tests of examples/deploy: with nginx, with a socket as systemd passes it, and with linters."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import skipIf

import kubernetes_validate
import yaml
from dockerfile_parse import DockerfileParser
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from tests.serving.test_command import CommandTestCase
from tests.support.pages import DOCS, blocks
from tests.support.programs import ROOT, Program
from tests.support.slow import slow
from tests.support.wire import connect, exchange, request
from twisted_appserver.serving.tap import Options
from twisted_appserver.testing import Response
from twisted_appserver.tqueue.command.parser import parse
from twisted_appserver.tqueue.tap import Options as QueueOptions

DEPLOY = ROOT / "examples" / "deploy"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
JSON = (("Content-Type", "application/json"),)
ANALYZE = shutil.which("systemd-analyze")

APP = """\
import os
import time

from twisted_appserver import Call


def who(call: Call):
    return {"client": call.client, "host": call.headers["host"], "names": sorted(call.headers)}


def counts(path: str):
    yield {"number": 0}
    while not os.path.exists(path):
        time.sleep(0.01)
    yield {"number": 1}


url_patterns = ((r"/who", who), (r"/counts", counts))
"""


def unit(name: str) -> dict[str, str]:
    """Return the settings of a systemd unit."""
    lines = (DEPLOY / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def options(*listen: str) -> list[str]:
    """Return the options of the unit, except the addresses."""
    words = unit("appserver.service")["ExecStart"].split()[1:]
    places = [index for index, word in enumerate(words) if word == "--listen"]
    return [word for index, word in enumerate(words) if not {index, index - 1} & {*places}] + list(listen)


class NginxTests(CommandTestCase):
    timeout = 60
    if NGINX is None:
        skip = "there is no nginx (Debian: apt-get install nginx-light)"

    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()  # its path is short enough for a socket
        self.addCleanup(folder.cleanup)
        os.chmod(folder.name, 0o755)
        self.socket = f"{folder.name}/appserver.sock"

    async def nginx(self, folder: str) -> int:
        """Start nginx with the configuration of the example, in a folder of its own. Return its port."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        text = (DEPLOY / "nginx.conf").read_text()
        user = "" if os.getuid() else "user root;"
        for old, new in (
            ("worker_processes auto;", f"worker_processes 1;\ndaemon off;\n{user}"),
            ("/run/nginx.pid", f"{folder}/pid"),
            ("/var/log/nginx/error.log", f"{folder}/error.log"),
            ("/var/log/nginx/access.log", f"{folder}/access.log"),
            ("/run/appserver/appserver.sock", self.socket),
            ("server 127.0.0.1:8080 backup;", ""),
            ("listen 80;", f"listen 127.0.0.1:{port};"),
            ("http {\n", "http {\n" + "".join(
                f"    {kind}_temp_path {folder}/{kind};\n"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )),
        ):  # fmt: skip
            self.assertEqual(text.count(old), 1, old)
            text = text.replace(old, new)
        Path(folder, "nginx.conf").write_text(text)
        program = self.start(
            str(NGINX), "-c", f"{folder}/nginx.conf", "-p", folder, "-e", f"{folder}/error.log"
        )
        self.addCleanup(program.stop)
        for _ in range(500):
            if program.ended.called:
                break
            try:
                await (await connect(port)).close()
                return int(port)
            except ConnectError:
                await deferLater(reactor, 0.02)
        raise AssertionError(program.output + Path(folder, "error.log").read_text())

    async def server(self, folder: str) -> Program:
        """Start the server with the options of the unit, but with another address."""
        program = self.twistd(*options(f"--listen=unix:{self.socket}"), folder=folder)
        await program.line(r"forked, \d+ workers")  # Twisted logs the socket before it listens.
        return program

    async def ask(self, port: int, target: str = "/who", headers: Any = (), **options: Any) -> Response:
        return await exchange(port, request("GET", target, headers=headers, host="example.org", **options))

    async def test_function_behind_nginx_sees_the_real_client(self) -> None:
        """Whatever the client claims. Connections are kept open, and limits apply."""
        folder = self.folder_of(app=APP)
        os.chmod(folder, 0o755)
        server = await self.server(folder)
        port = await self.nginx(folder)
        claims = (
            ("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"), ("X-Forwarded-Host", "evil.org"),
        )  # fmt: skip
        for headers in ((), claims):
            answer = (await self.ask(port, headers=headers)).json
            self.assertEqual((answer["client"], answer["host"]), ("127.0.0.1", "example.org"))
            self.assertNotIn("forwarded", answer["names"])
        connection = await connect(port)
        for _ in range(3):
            seen = await connection.send(request("GET", "/who", host="example.org"))
            self.assertEqual(seen.status, 200)
        await connection.close()
        large = await exchange(port, request("POST", "/who", b"x" * (2 << 20), host="example.org"))
        self.assertEqual(large.status, 413)
        self.assertEqual((await self.ask(port, "/-/ready")).status, 200)
        await server.stop()

    @slow
    async def test_nginx_finds_a_restarted_server(self) -> None:
        folder = self.folder_of(app=APP)
        os.chmod(folder, 0o755)
        server = await self.server(folder)
        port = await self.nginx(folder)
        self.assertEqual((await self.ask(port)).status, 200)
        await server.stop()
        self.assertEqual((await self.ask(port)).status, 502)
        server = await self.server(folder)
        self.assertEqual((await self.ask(port)).status, 200)
        await server.stop()

    async def test_tutorial_works_behind_nginx(self) -> None:
        """The application of docs/tutorials/deployed.md, with the options of the unit."""
        page = DOCS / "tutorials" / "deployed.md"
        folder = self.folder_of(app=next(each for each in blocks(page, "python") if "url_patterns" in each))
        os.chmod(folder, 0o755)
        server = await self.server(folder)
        port = await self.nginx(folder)
        sent = request("POST", "/notes/", b'{"text": "deployed"}', host="example.org", headers=JSON)
        self.assertEqual((await exchange(port, sent)).json, {"id": 1, "text": "deployed"})
        self.assertEqual((await self.ask(port, "/notes/1/")).json["text"], "deployed")
        await server.stop()

    async def test_stream_passes_nginx_while_it_is_made(self) -> None:
        folder = self.folder_of(app=APP)
        os.chmod(folder, 0o755)
        server = await self.server(folder)
        port = await self.nginx(folder)
        path = os.path.join(folder, "go")
        connection = await connect(port)
        answer = connection.send(request("GET", f"/counts?path={path}", host="example.org"))
        while b'{"number":0}' not in connection.unread:
            await deferLater(reactor, 0.01)
        self.assertFalse(answer.called)
        open(path, "w").close()
        self.assertEqual((await answer).body, b'{"number":0}\n{"number":1}\n')
        await connection.close()
        await server.stop()


PASS = """\
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print("port", listening.getsockname()[1], flush=True)
while True:
    if os.fork() == 0:
        os.dup2(listening.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="appserver.socket", LISTEN_PID=str(os.getpid()))
        os.execv(sys.argv[1], sys.argv[1:])
    os.wait()
    if not sys.stdin.readline():
        break
"""


class SystemdTests(CommandTestCase):
    timeout = 60

    @slow
    async def test_server_uses_the_socket_of_systemd(self) -> None:
        """Clients that connect while it restarts are answered."""
        folder = self.folder_of(app=APP)
        words = options("--listen=systemd:domain=INET:index=0", "--listen=unix:appserver.sock:mode=660")
        server_command = [sys.executable, "-m", "twisted_appserver", *words]
        program = self.python("-c", PASS, *server_command, folder=folder)
        port = int((await program.line(r"port (\d+)"))[1])
        sent = request("GET", "/who", host="example.org")
        self.assertEqual((await exchange(port, sent)).json["client"], "127.0.0.1")
        server = self.server(program)
        os.kill(server, signal.SIGTERM)
        while server in program.processes():
            await deferLater(reactor, 0.02)
        waiting = Deferred.fromCoroutine(exchange(port, sent))
        program.transport.write(b"\n")
        self.assertEqual((await waiting).status, 200)
        os.kill(self.server(program), signal.SIGTERM)
        program.transport.closeStdin()
        self.assertEqual(await program.ended, 0)

    def server(self, program: Program) -> int:
        """Return the process id of the server. Its parent passes the socket, and its children are workers."""
        (server,) = (
            pid for pid in program.processes()
            if pid != program.transport.pid and "worker" not in Path(f"/proc/{pid}/cmdline").read_text()
        )  # fmt: skip
        return server

    def test_options_of_the_unit_exist(self) -> None:
        words = unit("appserver.service")["ExecStart"].split()[1:]
        given = Options()
        given.parseOptions(words)
        self.assertEqual(given.settings().proxied, ("unix", "127.0.0.1"))

    def test_commands_of_the_queue_units_exist(self) -> None:
        """The worker uses the port of the server, and its tasks have a folder."""
        _, *words = unit("tqueuesrv.service")["ExecStart"].split()
        self.assertEqual(words[:3], ["-n", "--pidfile=", "tqueuesrv"])
        given = QueueOptions()
        given.parseOptions(words[3:])
        self.assertEqual(unit("tqueue-worker.service")["Environment"][-5:], f":{given.settings().port}")
        state = unit("tqueuesrv.service")["StateDirectory"]
        self.assertEqual(given["store"], f"sqlite:/var/lib/{state}/tasks.db")
        verb, worker = parse(unit("tqueue-worker.service")["ExecStart"].split()[1:])
        self.assertEqual((verb.name, worker.name, worker.threads), ("work", "painter", 4))

    def test_other_users_cannot_read_the_state_of_a_service(self) -> None:
        """A store of jobs or tasks contains the requests."""
        for name in ("appserver.service", "tqueuesrv.service"):
            self.assertTrue(unit(name)["StateDirectory"])
            self.assertEqual(unit(name)["StateDirectoryMode"], "0700", name)

    @skipIf(ANALYZE is None, "there is no systemd-analyze (Debian: apt-get install systemd)")
    def test_systemd_accepts_the_units(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("appserver.service", "appserver.socket", "tqueuesrv.service", "tqueue-worker.service"):
            text = (DEPLOY / name).read_text()
            text = re.sub("/srv/appserver/.venv/bin/[a-z]+", sys.executable, text)  # it must exist
            (folder / name).write_text(
                text.replace("User=appserver", "User=root").replace("=www-data", "=root")
            )
        paths = [str(path) for path in folder.iterdir()]
        assert ANALYZE is not None
        done = subprocess.run(
            [ANALYZE, "verify", "--man=no", *paths], capture_output=True, text=True, timeout=60
        )
        said = [line for line in done.stderr.splitlines() if re.search(f"{folder}|appserver|tqueue", line)]
        self.assertEqual(said, [])


class LintTests(SynchronousTestCase):
    def test_manifest_fits_the_schema_of_kubernetes(self) -> None:
        """Its probes exist."""
        documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
        for document in documents:
            kubernetes_validate.validate(document, "1.30", strict=True)
        pod = documents[0]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        self.assertEqual(container["livenessProbe"]["httpGet"]["path"], "/-/health")
        self.assertEqual(container["readinessProbe"]["httpGet"]["path"], "/-/ready")
        options = Options()
        options.parseOptions(container["args"])
        self.assertGreater(pod["terminationGracePeriodSeconds"], options.settings().graceful_timeout + 5)

    def test_dockerfile_has_existing_options_and_another_user_than_root(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        parser = DockerfileParser(str(folder))
        parser.content = (DEPLOY / "Dockerfile").read_text()
        found = {each["instruction"]: each["value"] for each in parser.structure}
        self.assertRegex(parser.baseimage, r"^python:3\.\d+-slim$")
        self.assertEqual(found["USER"], "10001")
        words = [re.findall(r'"([^"]*)"', found[name]) for name in ("ENTRYPOINT", "CMD")]
        self.assertEqual(words[0][:3], ["tini", "--", "appserver"])  # an init that reaps processes
        self.assertIn(" tini ", parser.content)
        options = Options()
        options.parseOptions(words[0][3:] + words[1])
        self.assertTrue(options.settings().insecure)

    def test_image_is_built_from_a_clone(self) -> None:
        """All that the Dockerfile copies is in a clone, apart from the application; pip finds the extras."""
        lines = (DEPLOY / "Dockerfile").read_text().splitlines()
        copied = [name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]]
        self.assertEqual([name for name in copied if not (ROOT / name).exists()], ["app.py"])
        for name in ("pyproject.toml", "setup.py", "build_backend", "twisted_appserver", "twisted"):
            self.assertIn(name, copied)
        self.assertTrue(
            any('pip install --no-cache-dir "/tmp/source[metrics,re2]"' in line for line in lines)
        )
