"""A network of hosts on one machine: network namespaces, joined by a switch in one more. Linux, as root.

The machine and this network cannot reach each other.
"""

import ctypes
import os
import shutil
import subprocess


class NetworkError(Exception):
    """Raised when this machine cannot provide the network."""


def ip(*words):
    try:
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NetworkError("there is no ip (Debian: apt-get install iproute2)") from None
    except subprocess.CalledProcessError as error:
        raise NetworkError(f"ip {' '.join(words)}: {error.stderr.strip()}") from None


class Host:
    """
    @ivar name: the name of its namespace.
    @ivar address: its address in the network.
    """

    def __init__(self, network, name, address):
        self.name, self.address = f"{network.name}-{name}", address
        self._network, self._port = network, f"to-{name}"
        self._running = []
        ip("netns", "add", self.name)
        network.hosts.append(self)
        ip(
            "-n",
            network.switch,
            "link",
            "add",
            self._port,
            "type",
            "veth",
            "peer",
            "eth0",
            "netns",
            self.name,
        )
        ip("-n", network.switch, "link", "set", self._port, "master", "switch", "up")
        ip("-n", self.name, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")

    @property
    def prefix(self):
        """The words to put in front of a command that is to run on this host."""
        return ["ip", "netns", "exec", self.name]

    def start(self, *command, **options):
        """
        Run a command on this host; it is stopped with the network. C{subprocess.Popen} takes the options.
        """
        process = subprocess.Popen([*self.prefix, *command], **options)
        self._running.append(process)
        return process

    def enter(self):
        """Move this thread to the host, with everything that it starts from now on."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{self.name}") as namespace:
            if libc.setns(namespace.fileno(), 0):
                raise NetworkError(f"{self.name}: {os.strerror(ctypes.get_errno())}")

    def set(self, setting, value):
        """Set a value below /proc/sys/net, where each namespace has values of its own."""
        script = 'echo "$1" > "/proc/sys/$0"'
        subprocess.run([*self.prefix, "sh", "-c", script, setting, str(value)], check=True)

    def cut(self):
        """Cut the host off: all packets to it and from it are lost silently."""
        ip("-n", self._network.switch, "link", "set", self._port, "nomaster")

    def mend(self):
        ip("-n", self._network.switch, "link", "set", self._port, "master", "switch")

    def end(self):
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Network:
    """
    A context manager that removes its hosts at the end, with all programs that run on them.

    @param name: the prefix of the names of its namespaces.
    @raise NetworkError: when this machine cannot provide the network.
    """

    def __init__(self, name):
        self.name, self.switch = name, f"{name}-switch"
        self.hosts = []
        if shutil.which("ip") is None:
            raise NetworkError("there is no ip (Debian: apt-get install iproute2)")
        ip("netns", "add", self.switch)
        try:
            ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
            ip("-n", self.switch, "link", "set", "switch", "up")
        except NetworkError:
            ip("netns", "delete", self.switch)
            raise

    def host(self, name):
        return Host(self, name, f"10.77.0.{len(self.hosts) + 1}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for host in reversed(self.hosts):
            host.end()
        for name in (*(host.name for host in self.hosts), self.switch):
            ip("netns", "delete", name)
