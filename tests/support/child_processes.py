"""An application whose functions start processes in every way that Python offers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from twisted_appserver import HTTPError, Route

NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD")


def square(number: int) -> int:
    return number * number


def pool(method: str) -> dict[str, Any]:
    with multiprocessing.get_context(method).Pool(2) as made:
        return {"squares": made.map(square, [1, 2, 3])}


def executor(method: str) -> dict[str, Any]:
    with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as made:
        return {"squares": list(made.map(square, [1, 2, 3]))}


def terminated(method: str, name: str) -> dict[str, Any]:
    """End a child by a signal, as soon as it has been forked."""
    process = multiprocessing.get_context(method).Process(target=_sleeps)
    process.start()
    os.kill(process.pid or 0, getattr(signal, name))
    process.join(30)
    code = process.exitcode
    process.kill()
    process.join()
    return {"code": code}


def sleeper(how: str, name: str) -> dict[str, Any]:
    """Start a program with C{subprocess}, with or without C{preexec_fn}, and send it a signal."""
    options: dict[str, Any] = {"preexec_fn": os.getpid} if how == "preexec" else {}
    with subprocess.Popen(["sleep", "60"], **options) as process:
        process.send_signal(getattr(signal, name))
        return {"code": process.wait(30)}


def system(command: str) -> dict[str, Any]:
    return {"code": os.waitstatus_to_exitcode(os.system(command))}


def handlers() -> dict[str, Any]:
    """The signal handlers of a forked child, its wakeup descriptor, and the signals that it blocks."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    if child := os.fork():
        sender.close()
        found = receiver.recv()
        os.waitpid(child, 0)
        return {"here": _blocked(), **found}
    shown = {name: _shown(signal.getsignal(getattr(signal, name))) for name in NAMES}
    sender.send({"handlers": shown, "wakeup": signal.set_wakeup_fd(-1), "blocked": _blocked()})
    os._exit(0)


def _shown(handler: Any) -> str:
    return handler.name if isinstance(handler, signal.Handlers) else handler.__name__


def _blocked() -> list[str]:
    return sorted(signal.Signals(number).name for number in signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def leaves(path: str) -> dict[str, Any]:
    """Leave a child behind that lives until the file C{path} is there."""
    process = multiprocessing.get_context("fork").Process(target=_sleeps, args=(path,))
    process.start()
    return {"pid": process.pid}


def dies(path: str) -> None:
    """Leave a child behind, and end the worker process."""
    leaves(path)
    os._exit(3)


def _sleeps(until: str = "") -> None:
    """
    Sleep for a minute, or until a file is there.

    It sleeps in short steps, because a signal that arrives just before a step is handled only after it.
    """
    for _ in range(6000):
        if os.path.exists(until):
            break
        time.sleep(0.01)


def inherits() -> dict[str, Any]:
    """Use a socket of this function in a child."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = multiprocessing.get_context("fork").Process(target=theirs.sendall, args=(b"said",))
        process.start()
        ours.settimeout(30)
        said = ours.recv(10).decode()
        process.join()
    return {"said": said}


def own_handler(name: str) -> dict[str, Any]:
    """Set a signal handler, and send the signal to a child that inherits the handler."""
    signal.signal(getattr(signal, name), lambda *_: os._exit(42))
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_tells, args=(sender,))
    process.start()
    receiver.recv()
    os.kill(process.pid or 0, getattr(signal, name))
    process.join(30)
    return {"code": process.exitcode}


def _tells(sender: Any) -> None:
    sender.send("ready")
    _sleeps()


def sets(name: str, how: str) -> Any:
    """Change signal handlers, timers and masks without restoring them. Return their previous values."""
    number = getattr(signal, name)
    found = {"handler": _shown(signal.getsignal(number)), "timer": signal.alarm(0), "blocked": _blocked()}
    signal.signal(number, signal.default_int_handler)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.alarm(1000)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    if how == "raises":
        raise HTTPError(400, "raised")
    return found if how == "returns" else iter([found])


def pid() -> dict[str, Any]:
    return {"pid": os.getpid()}


url_patterns = (
    (r"/pool/(?P<method>)/", pool),
    (r"/executor/(?P<method>)/", executor),
    (r"/terminated/(?P<method>)/(?P<name>)/", terminated),
    (r"/sleeper/(?P<how>)/(?P<name>)/", sleeper),
    (r"/system/", system),
    (r"/handlers/", handlers),
    (r"/leaves/", leaves),
    Route(r"/leaves_on_reactor/", leaves, executor="inline"),
    (r"/dies/", dies),
    (r"/inherits/", inherits),
    (r"/own_handler/(?P<name>)/", own_handler),
    (r"/sets/(?P<name>)/(?P<how>)/", sets),
    (r"/pid/", pid),
)
