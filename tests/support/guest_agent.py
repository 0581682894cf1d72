# SPDX-License-Identifier: Apache-2.0
"""Inside a guest: does what guest.py asks for, by XML-RPC on its management interface.

    guest_agent.py DIRECTORY MODULES NIC ADDRESS PORT
"""

import glob
import itertools
import os
import socketserver
import subprocess
import sys
import xmlrpc.server


def must(*argv):
    subprocess.run(argv, check=True)


def set_up(directory, modules, nic, address):
    """The directory that both sides write to, the kernel's modules, an address to be asked at."""
    os.makedirs(directory, exist_ok=True)
    must("mount", "-t", "9p", "-o", "trans=virtio,version=9p2000.L,cache=none", "lab", directory)
    os.makedirs("/lib/modules", exist_ok=True)
    must("mount", "--bind", modules, "/lib/modules")
    os.makedirs("/dev/pts", exist_ok=True)
    must("mount", "-t", "devpts", "devpts", "/dev/pts")
    must("modprobe", "virtio_net")
    must("ip", "link", "set", "lo", "up")
    management = os.path.basename(*glob.glob(f"/sys/bus/pci/devices/{nic}/virtio*/net/*"))
    must("ip", "addr", "add", f"{address}/24", "dev", management)
    must("ip", "link", "set", management, "up")


class Agent:
    def __init__(self):
        self._numbers = itertools.count(1)
        self._processes = {}

    def run(self, argv, given, environment, seconds):
        """Exit code, what it said, what it said about errors."""
        done = subprocess.run(argv, input=given, env=os.environ | environment, capture_output=True,
                              timeout=seconds, check=False)
        return done.returncode, done.stdout, done.stderr

    def spawn(self, argv, log):
        """A number for it. What it says goes to the end of `log`, or nowhere."""
        with open(log or os.devnull, "ab") as output:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT)
        number = next(self._numbers)
        self._processes[number] = process
        return number

    def poll(self, number):
        return self._processes[number].poll()

    def signal(self, number, signal):
        self._processes[number].send_signal(signal)


class Server(socketserver.ThreadingMixIn, xmlrpc.server.SimpleXMLRPCServer):
    pass


def main():
    directory, modules, nic, address, port = sys.argv[1:]
    set_up(directory, modules, nic, address)
    server = Server((address, int(port)), allow_none=True, use_builtin_types=True,
                    logRequests=False)
    server.register_instance(Agent())
    server.serve_forever()


main()
