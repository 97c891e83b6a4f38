"""Files with secrets. They are used only if no other user of the machine can read or change them."""

from __future__ import annotations

import os
import stat

GROUP = stat.S_IRGRP | stat.S_IWGRP
OTHERS = stat.S_IROTH | stat.S_IWOTH


def read_private(path: str, size: int = -1) -> bytes:
    """
    Read a file with secrets.

    @param size: the maximum number of bytes to read; negative for the whole file.
    @raise OSError: when the file cannot be read.
    @raise ValueError: when other users can read or write it.
    """
    with open(path, "rb") as file:
        check_private(path, os.fstat(file.fileno()))
        return file.read(size)


def check_private(path: str, status: os.stat_result, group_may_read: bool = False) -> None:
    """
    Check that only its owner can read and write a file.

    If another user owns the file, its group may read it too: otherwise this process could not. Kubernetes
    mounts secrets in this way, with C{fsGroup}.

    @param group_may_read: allow the group to read the file in any case.
    @raise ValueError: when other users can read or write it.
    """
    if os.name != "posix":  # Windows has permissions of another kind
        return
    mode = stat.S_IMODE(status.st_mode)
    if group_may_read or status.st_uid != os.geteuid():
        exposed = mode & (OTHERS | stat.S_IWGRP)
    else:
        exposed = mode & (OTHERS | GROUP)
    if exposed:
        users = "every user" if exposed & OTHERS else "its group"
        how = "write" if exposed & (stat.S_IWGRP | stat.S_IWOTH) else "read"
        raise ValueError(f"{path}: {users} can {how} it (mode {mode:04o}); run: chmod 600 {path}")
