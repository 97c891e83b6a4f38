"""C{python -m twisted_appserver} and the command C{appserver}: the same as C{twistd -n appserver}."""

from __future__ import annotations

import os
import sys

from twisted.python.runtime import platformType
from twisted.scripts.twistd import run


def main() -> None:
    """Run twistd in the foreground, without a file for its process id."""
    arguments = ["--nodaemon"] if platformType == "win32" else ["--nodaemon", "--pidfile="]
    given = sys.argv[1:]
    if "cluster" in given or "--type=cluster" in given or os.environ.get("APPSERVER_TYPE") == "cluster":
        arguments.append("--reactor=asyncio")  # which Dask runs on; it must be chosen before all else
    sys.argv[:] = ["twistd", *arguments, "appserver", *given]
    run()


if __name__ == "__main__":
    main()
