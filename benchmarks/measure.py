"""Measurements, one function for each kind of workload; each returns its figures by name."""

import dataclasses
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping

from benchmarks import machine
from benchmarks.environment import BIN, SERVERS
from benchmarks.idle import IdleConnections
from benchmarks.launcher import Running
from benchmarks.load import Load
from benchmarks.workloads import Workload

Figures = dict[str, float]

IDLE = 10_000
SLOW_CONNECTIONS = 8
SLOW_PATH = "/sleep/50/"
MILLISECONDS = 2
MILLION = 1_000_000


def start(running: Running, workload: Workload, seconds: float, connections: int = 0) -> Load:
    """Start to load a server with requests of the workload."""
    url = f"http://127.0.0.1:{running.port}{workload.path}"
    count = connections or workload.connections
    return Load(url, count, seconds, running.load_cores, workload.script)


def plain(running: Running, workload: Workload, seconds: float) -> Figures:
    """Measure one wrk."""
    sample = start(running, workload, seconds).result()
    return {
        "requests/s": sample.rate,
        "p50 us": sample.latency[50] * 1e6,
        "p99 us": sample.latency[99] * 1e6,
        "errors": sample.errors,
    }


def mixed(running: Running, workload: Workload, seconds: float) -> Figures:
    """Measure fast calls, first alone, then beside calls that sleep."""
    alone = start(running, workload, seconds).result()
    url = f"http://127.0.0.1:{running.port}{SLOW_PATH}"
    slow = Load(url, SLOW_CONNECTIONS, seconds + 1, running.load_cores)
    try:
        time.sleep(0.3)
        beside = start(running, workload, seconds).result()
        slept = slow.result()
    finally:
        slow.stop()
    return {
        "p99 ms, mixed": beside.latency[99] * 1e3,
        "p99 ms, alone": alone.latency[99] * 1e3,
        "mixed/alone": beside.latency[99] / alone.latency[99],
        "fast requests/s": beside.rate,
        "slow requests/s": slept.rate,
        "errors": alone.errors + beside.errors + slept.errors,
    }


def idle(running: Running, workload: Workload, seconds: float) -> Figures:
    """Measure one active connection, first alone, then beside ten thousand idle ones."""
    alone = start(running, workload, seconds, connections=1).result()
    before = running.memory()
    with IdleConnections(running.port, IDLE) as connections:
        time.sleep(0.5)
        grown = running.memory() - before
        beside = start(running, workload, seconds, connections=1).result()
        held = connections.held()
    return {
        "KB per connection": grown / max(1, held) / 1000,
        "still open": held,
        "p50 us, alone": alone.latency[50] * 1e6,
        "p50 us, beside idle": beside.latency[50] * 1e6,
        "beside/alone": beside.latency[50] / alone.latency[50],
        "errors": alone.errors + beside.errors,
    }


def queue(running: Running, workload: Workload, seconds: float, limit: int = 0) -> Figures:
    """
    Measure a queue with C{queue_load.py}: puts, or cycles of put, get and done, as C{path} names them;
    C{batches} for cycles of requests about many tasks.
    """
    server, path = running.server, workload.path
    speaker = server.speaker
    if path == "batches":
        speaker, path = f"{speaker}-batches", "cycle"
    words = (speaker, running.port, server.clients, seconds, path, limit)
    command = [*machine.pin(running.load_cores), str(BIN / "python"), "queue_load.py", *map(str, words)]
    done = subprocess.run(command, cwd=SERVERS, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise ValueError(f"{server.name}: {done.stderr.strip().splitlines()[-1]}")
    figures: Figures = json.loads(done.stdout)
    return figures


def filled(running: Running, workload: Workload, seconds: float) -> Figures:
    """Measure a queue before and after putting a million tasks that stay in it."""
    empty = queue(running, workload, seconds)
    queue(running, dataclasses.replace(workload, path="put"), 600, MILLION)
    full = queue(running, workload, seconds)
    return {
        "empty/filled": empty["requests/s"] / full["requests/s"],
        "requests/s, empty": empty["requests/s"],
        "requests/s, filled": full["requests/s"],
        "MB with a million": running.memory() / 1e6,
        "errors": 0,
    }


KINDS = {"plain": plain, "mixed": mixed, "idle": idle, "queue": queue, "filled": filled}


def calibrate() -> str:
    """Return how many loops of the C{cpu} function take two milliseconds on this machine."""
    command = [str(BIN / "python"), "bare.py", "calibrate", str(MILLISECONDS)]
    done = subprocess.run(command, cwd=SERVERS, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def bare(workload: Workload, seconds: float, variables: Mapping[str, str]) -> Figures:
    """
    Measure two processes that call the function in a loop, without a server.

    Meanwhile, a load generator waits for a socket that never responds. It takes memory, but no processor
    time.
    """
    _, cores = machine.cores(alone=False)
    command = [str(BIN / "python"), "bare.py", str(seconds)]
    processes = []
    with socket.create_server(("127.0.0.1", 0), backlog=256) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        load = Load(url, workload.connections, seconds, cores)
        try:
            for _ in range(2):
                processes.append(
                    subprocess.Popen(
                        command,
                        cwd=SERVERS,
                        env={**os.environ, **variables},
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            calls = sum(int(process.communicate(timeout=60)[0]) for process in processes)
        finally:
            load.stop()
            for process in processes:
                process.kill()
                process.wait()
    return {"requests/s": calls / seconds, "errors": 0}
