"""
The command C{appserver}, also C{python -m twisted_appserver}. It is equivalent to C{twistd -n appserver}.
"""

from __future__ import annotations

import os
import sys

from twisted.python.runtime import platformType
from twisted.scripts.twistd import run


def main() -> None:
    """Run twistd in the foreground and without a pidfile."""
    arguments = ["--nodaemon"] if platformType == "win32" else ["--nodaemon", "--pidfile="]
    given = sys.argv[1:]
    if "cluster" in given or "--type=cluster" in given or os.environ.get("APPSERVER_TYPE") == "cluster":
        arguments.append("--reactor=asyncio")  # Dask needs it; the reactor must be chosen first
    sys.argv[:] = ["twistd", *arguments, "appserver", *given]
    run()


if __name__ == "__main__":
    main()
