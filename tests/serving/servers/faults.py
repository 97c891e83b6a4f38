"""
Run the tests of L{test_faults} at full length: C{python -m tests.serving.servers.faults}.

Several servers are killed, reloaded and stopped under load, on TCP, TLS and a unix socket.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.serving.servers.faults")
    parser.add_argument("--seconds", type=float, default=30.0, help="seconds in which servers are killed")
    parser.add_argument("--reloads", type=int, default=50, help="number of SIGHUPs")
    parser.add_argument("--stops", type=int, default=20, help="number of SIGTERMs")
    given = parser.parse_args()
    environ = {
        "KILL_SECONDS": str(given.seconds),
        "RELOADS": str(given.reloads),
        "STOPS": str(given.stops),
        "SLOW_TESTS": "1",
        "SHOW_FAULTS": "1",
    }
    command = [sys.executable, "-m", "twisted.trial", "tests.serving.servers.test_faults"]
    return subprocess.call(command, env=os.environ | environ)


if __name__ == "__main__":
    sys.exit(main())
