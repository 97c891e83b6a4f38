"""TQueueSrv over a PostgreSQL of its own in a folder: PORT FOLDER. Durable: fsync is on."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

PORT, FOLDER = sys.argv[1:]
INITDB = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
PROGRAMS = os.path.dirname(os.path.realpath(INITDB))
# PostgreSQL refuses to run as root.
USER = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
DATA = os.path.join(FOLDER, "data")


def run(program: str, *arguments: str) -> None:
    subprocess.run([*USER, os.path.join(PROGRAMS, program), *arguments], check=True, capture_output=True)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def main() -> int:
    os.chmod(FOLDER, 0o777)
    run("initdb", "-D", DATA, "-U", "postgres", "-A", "trust", "--no-sync")
    port = free_port()
    options = f"-p {port} -k {FOLDER} -h 127.0.0.1"
    run("pg_ctl", "-D", DATA, "-l", os.path.join(FOLDER, "log"), "-o", options, "-w", "start")
    store = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    server = subprocess.Popen(
        [os.path.join(os.path.dirname(sys.executable), "twistd"), "-n", "--pidfile=", "tqueuesrv",
         "--port", PORT, "--store", store],
    )  # fmt: skip
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        return server.wait()
    finally:
        run("pg_ctl", "-D", DATA, "-m", "immediate", "stop")
        server.terminate()
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
