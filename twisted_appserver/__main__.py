"""C{python -m twisted_appserver} and the command C{appserver}: the same as C{twistd -n appserver}."""

from __future__ import annotations

import sys

from twisted.python.runtime import platformType
from twisted.scripts.twistd import run


def main() -> None:
    """Run twistd in the foreground, without a file for its process id."""
    arguments = ["--nodaemon"] if platformType == "win32" else ["--nodaemon", "--pidfile="]
    sys.argv[:] = ["twistd", *arguments, "appserver", *sys.argv[1:]]
    run()


if __name__ == "__main__":
    main()
