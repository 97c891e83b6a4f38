"""Runs several hosts, each in a network namespace, and cuts off one after another, while work continues.

As root on Linux, with nginx and PostgreSQL installed (Debian: iproute2, nginx-light, postgresql):

    python examples/hosts/run.py            cut off one host after the other, and print the effects
    python examples/hosts/run.py --stay     run until Ctrl-C, to look around

nginx forwards to two application servers and to two TQueueSrv, which share one PostgreSQL. Two further hosts
run `tqueue work`. There is only one nginx and one PostgreSQL; docs/scaling.md describes how to replicate
them.
"""

import argparse
import glob
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from network import Network, NetworkError

HERE = Path(__file__).resolve().parent
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
INITDB = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"), default=None)
# By default, Linux gives up a connection to a host that is cut off after 15 minutes, and an idle one after 2
# hours.
IMPATIENT = {"tcp_retries2": 3, "tcp_keepalive_time": 2, "tcp_keepalive_intvl": 1, "tcp_keepalive_probes": 2}
NOBODY = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]  # PostgreSQL does not run as root
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
TQUEUE = [
    sys.executable,
    "-c",
    "import sys; from twisted_appserver.tqueue.command import main; sys.exit(main())",
]


class Hosts:
    """
    The network, and the programs that run on it.

    @ivar cuttable: the hosts that exist twice, so that one of them can be cut off.
    """

    def __init__(self, network, folder):
        self.network, self.folder = network, folder
        self.token = secrets.token_hex(16)
        (folder / "token").touch(0o600)
        (folder / "token").write_text(self.token)
        self.web, self.database, *self.cuttable = map(
            network.host, ("web", "database", "app1", "app2", "queue1", "queue2", "worker1", "worker2")
        )
        self.client = network.host("client")
        self.queues = f"http://{self.web.address}:8082"
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)]),
            "QUEUES": self.queues,
            "TQUEUE_TOKEN": self.token,
        }

    def start(self):
        """Start all programs, and return when all of them answer."""
        store = self.start_database()
        app1, app2, queue1, queue2, *workers = self.cuttable
        for host in (queue1, queue2):
            options = ["--store", store, "--token-file", str(self.folder / "token"), "--allow-host", "*"]
            self.run(host, *TWISTD, "tqueuesrv", *options, "--listen", f"tcp:8082:interface={host.address}")
        for host in (app1, app2):
            options = ["--app", str(HERE / "primes.py"), "--insecure", "--allow-host", "*"]
            options += ["--proxied", self.web.address, "--listen", f"tcp:8081:interface={host.address}"]
            self.run(host, *TWISTD, "appserver", *options)
        self.start_nginx()
        options = ["--threads", "2", "--lease", "3"]
        for host in workers:
            self.run(host, *TQUEUE, "work", self.queues, "ranges", "primes:count", *options)

    def run(self, host, *command):
        log = (self.folder / f"{host.name}.log").open("ab")
        return host.start(*command, stdout=log, stderr=log, env=self.environment, cwd=self.folder)

    def start_database(self):
        folder, programs = self.folder / "database", Path(INITDB).resolve().parent
        folder.mkdir()
        shutil.chown(folder, "nobody", "nogroup")
        initialize = [
            programs / "initdb",
            "-D",
            folder / "data",
            "-U",
            "postgres",
            "-A",
            "trust",
            "--no-sync",
        ]
        subprocess.run([*NOBODY, *initialize], check=True, capture_output=True, cwd=folder)
        with (folder / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all 10.77.0.0/24 trust\n")
        options = ["-D", str(folder / "data"), "-k", str(folder), "-h", self.database.address]
        self.run(self.database, *NOBODY, str(programs / "postgres"), *options)
        ready = [*NOBODY, programs / "pg_isready", "-q", "-h", folder]
        self.wait(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL")
        return f"postgresql://postgres@{self.database.address}/postgres"

    def start_nginx(self):
        text = (HERE / "nginx.conf").read_text()
        for host in self.cuttable:
            text = text.replace(host.name.rpartition("-")[2] + ":", host.address + ":")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"    {kind}_temp_path {kind};\n" for kind in kinds)
        text = "user root;\n" + text.replace("http {\n", "http {\n" + folders)
        (self.folder / "nginx.conf").write_text(text)
        for name, value in IMPATIENT.items():
            self.web.set(f"net/ipv4/{name}", value)
        self.run(
            self.web, NGINX, "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder), "-e", "nginx.log"
        )
        for host in self.cuttable[:4]:
            port = "8081" if "app" in host.name else "8082"
            self.wait(lambda host=host, port=port: self.ready(host, port), host.name)

    def ready(self, host, port):
        """Asked from another host."""
        ask = (
            "import sys, urllib.request as r; r.urlopen(r.Request(sys.argv[1], headers=dict([sys.argv[2:]])))"
        )
        url, header = f"http://{host.address}:{port}/-/ready", ("Authorization", f"Bearer {self.token}")
        command = [*self.client.prefix, sys.executable, "-c", ask, url, *header]
        return subprocess.run(command, capture_output=True).returncode == 0

    def wait(self, condition, what):
        end = time.monotonic() + 30
        while not condition():
            if time.monotonic() > end:
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                raise SystemExit(f"{what} does not answer\n{logs}")
            time.sleep(0.1)


class Watch:
    """
    The client, and the figures that it reported last.

    @ivar figures: see client.py.
    """

    def __init__(self, hosts):
        command = [sys.executable, str(HERE / "client.py"), f"http://{hosts.web.address}", hosts.queues]
        self.process = hosts.client.start(*command, stdout=subprocess.PIPE, text=True, env=hosts.environment)
        self.figures = {"answered": 0, "failed": 0, "counted": 0}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.figures = json.loads(line)

    def end(self):
        """Stop it, wait for the results of its orders, and return the figures."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(120)
        self._reader.join()
        return self.figures


def cut_each(hosts, seconds):
    """Return whether work has continued."""
    watch, well = Watch(hosts), True
    time.sleep(seconds)
    print(f"{'cut off':<10} {'orders answered':>16} {'failed':>8} {'counts':>8}   in {seconds:g} seconds")
    for host in (None, *hosts.cuttable):
        if host is not None:
            host.cut()
        before = watch.figures
        time.sleep(seconds)
        after = watch.figures
        if host is not None:
            host.mend()
        change = {name: after[name] - before[name] for name in ("answered", "failed", "counted")}
        well = well and change["answered"] > 0 and change["counted"] > 0
        name = host.name.rpartition("-")[2] if host else "none"
        print(f"{name:<10} {change['answered']:>16} {change['failed']:>8} {change['counted']:>8}", flush=True)
        time.sleep(seconds / 2 if host else 0)
    result = watch.end()
    right = result.get("right", False)
    print(f"{result.get('primes')} primes below {result.get('end')}: {'right' if right else 'WRONG'}")
    return well and right


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stay", action="store_true", help="cut nothing; until Ctrl-C")
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each host is cut off (6)")
    given = parser.parse_args()
    if NGINX is None or INITDB is None:
        sys.exit("nginx and PostgreSQL are needed (Debian: apt-get install nginx-light postgresql)")
    with tempfile.TemporaryDirectory(prefix="hosts-") as name:
        os.chmod(name, 0o755)
        try:
            network = Network(f"tas{os.getpid()}")
        except NetworkError as error:
            sys.exit(f"no network namespaces can be made here: {error}")
        with network:
            hosts = Hosts(network, Path(name))
            hosts.start()
            if not given.stay:
                return 0 if cut_each(hosts, given.seconds) else 1
            for host in network.hosts:
                print(f"{host.name:<16} {host.address}")
            print(
                f"Try: ip netns exec {hosts.client.name} curl -d '' http://{hosts.web.address}/order/0/1000/"
            )
            print(f"Logs: {name}. Ctrl-C ends it.", flush=True)
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    sys.exit(main())
