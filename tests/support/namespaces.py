# SPDX-License-Identifier: Apache-2.0
"""Hosts made of network namespaces, and the certainty that they go away again.

A Lab owns namespaces, processes and a temporary directory. Leaving its `with` block ends every
process it started (and their children, found through the namespace they live in), deletes the
namespaces and the directory, also after an exception or Ctrl-C.
"""

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time

NETNS_DIRECTORY = "/run/netns"
CLONE_NEWNET = 0x40000000
# Of each end of a cable: one for each forwarding lcore.
QUEUES = int(os.environ.get("SLUICE_E2E_LCORES", "1"))
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(path):
    """Moves this thread into the network namespace at `path`."""
    with open(path, "rb") as namespace:
        if LIBC.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns({path})")


class CommandFailed(AssertionError):
    """A command that had to work did not; the message holds what it said."""


def run(argv, check=True, timeout=60, **options):
    """Runs a command to its end; its output is text in .stdout and .stderr."""
    argv = [str(word) for word in argv]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=timeout, check=False,
        **{"stdin": subprocess.DEVNULL} | options if "input" not in options else options)
    if check and done.returncode != 0:
        raise CommandFailed(
            f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done


def is_mounted(path):
    """Also for a directory that is bound to itself, which os.path.ismount() does not see."""
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        return any(line.split()[1] == path for line in mounts)


def wait_until(condition, seconds, what):
    """Calls `condition` until it returns something true, which is returned."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise CommandFailed(f"{what}: not within {seconds} s")
        time.sleep(0.02)


class Namespace:
    """One host."""

    sockets = None  # the only directory for Unix sockets, if not all will do

    def __init__(self, name, lab):
        self.name = name
        self._lab = lab

    def argv(self, *words):
        return ["ip", "netns", "exec", self.name, *[str(word) for word in words]]

    def run(self, *words, **options):
        return run(self.argv(*words), **options)

    def run_beside(self, *words, **options):
        """Where its files are, whatever its network: what talks to a Unix socket."""
        return run(words, **options)

    def ip(self, *words, **options):
        return run(["ip", "-n", self.name, *words], **options)

    def spawn(self, *words, **options):
        return self._lab.spawn(self.argv(*words), **options)

    def sysctl(self, key, value):
        self.run("sysctl", "-qw", f"{key}={value}")

    def add_address(self, device, address):
        nodad = ["nodad"] if ":" in address else []
        self.ip("addr", "replace", address, "dev", device, *nodad)

    @contextlib.contextmanager
    def entered(self):
        """What this thread opens inside the block belongs to the namespace for good."""
        with open("/proc/thread-self/ns/net", "rb") as home:
            enter(f"{NETNS_DIRECTORY}/{self.name}")
            try:
                yield
            finally:
                if LIBC.setns(home.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns back")

    def socket(self, kind, address):
        """A socket of the address's family that lives here."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with self.entered():
            return socket.socket(family, kind)

    def frames(self, device):
        """A raw socket that sees and sends every frame of a device."""
        with self.entered():
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
            raw.bind((device, 0))
            return raw

    def pids(self):
        listed = run(["ip", "netns", "pids", self.name], check=False).stdout.split()
        return [int(pid) for pid in listed]


class Lab:
    """Namespaces, cables and processes of one test or demo; a context manager."""

    _numbers = itertools.count(1)

    def __init__(self, prefix=None):
        self.prefix = prefix or f"sluice-{os.getpid()}-{next(self._numbers)}"
        self.directory = None
        self._namespaces = []
        self._processes = []
        self._had_netns_mount = is_mounted(NETNS_DIRECTORY)

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix=f"{self.prefix}-")
        return self

    def __exit__(self, *_):
        with contextlib.ExitStack() as steps:
            steps.callback(shutil.rmtree, self.directory, ignore_errors=True)
            steps.callback(self._unmount_netns_directory)
            for namespace in self._namespaces:
                steps.callback(self._delete, namespace)
            steps.callback(self._end_processes)

    def namespace(self, role):
        name = f"{self.prefix}-{role}"
        run(["ip", "netns", "add", name])
        namespace = Namespace(name, self)
        self._namespaces.append(namespace)
        namespace.ip("link", "set", "lo", "up")
        return namespace

    def cable(self, one, one_device, other, other_device):
        """A veth pair, both ends up. Offloads are off: a DPDK port forwards what it is given, so
        checksums must be in the packet and segments no longer than the MTU."""
        queues = ["numrxqueues", str(QUEUES), "numtxqueues", str(QUEUES)]
        run(["ip", "link", "add", one_device, "netns", one.name, *queues, "type", "veth",
             "peer", "name", other_device, "netns", other.name, *queues])
        for namespace, device in ((one, one_device), (other, other_device)):
            self._ready(namespace, device)

    def cable_to_guest(self, one, one_device, guest, nic):
        """The same for a virtual machine (guest.py), whose NIC has a TAP for an end."""
        guest.plug(nic, one, one_device)
        self._ready(one, one_device)

    @staticmethod
    def _ready(namespace, device):
        namespace.run("ethtool", "-K", device, "tx", "off", "rx", "off", "tso", "off", "gso", "off",
                      "gro", "off")
        namespace.ip("link", "set", device, "up")

    def spawn(self, argv, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        # A session of its own, so that Ctrl-C reaches us alone and the order of the end is ours.
        process = subprocess.Popen([str(word) for word in argv], start_new_session=True, **options)
        self._processes.append(process)
        return process

    def _end_processes(self):
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
        for process in self._processes:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @staticmethod
    def _delete(namespace):
        for pid in namespace.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run(["ip", "netns", "delete", namespace.name], check=False)

    def _unmount_netns_directory(self):
        # `ip netns add` mounts the directory on itself the first time and never unmounts it.
        if self._had_netns_mount or not is_mounted(NETNS_DIRECTORY):
            return
        if not os.listdir(NETNS_DIRECTORY):
            run(["umount", NETNS_DIRECTORY], check=False)
