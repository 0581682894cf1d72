# SPDX-License-Identifier: Apache-2.0
"""A real nginx in a namespace, on IPv4 and IPv6, that returns its name, and in headers the client
address and port it sees; and Pods of a cluster that are such ones."""

import collections
import os
import signal
import subprocess

from namespaces import wait_until

CONFIG = """
daemon off;
user root;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  keepalive_requests 1000000;
  keepalive_time {connection_life};
  server {{
    listen {port} backlog=4096;
    listen [::]:{port} backlog=4096;
    default_type text/plain;
    add_header X-Client-Address $remote_addr;
    add_header X-Client-Port $remote_port;
    location / {{ return 200 "{name}\\n"; }}
    location /large {{ alias {directory}/large; }}
  }}
}}
"""

LARGE_BYTES = 8 << 20

# The first answer after so long ends a connection, so a Pod that gets no new clients has none left
# well within its grace: what is refused after that was sent to it too late.
POD_CONNECTION_LIFE = "200ms"
POD_GRACE_SECONDS = 2


class Nginx:
    """One that can end, and start again. `connection_life`: how long a busy connection is kept, as nginx
    writes times."""

    def __init__(self, namespace, name, directory, port=80, connection_life="1h"):
        self.namespace, self.name, self.port = namespace, name, port
        self.directory = os.path.join(directory, f"nginx-{name}-{port}")
        self.process = None
        os.makedirs(self.directory)
        self.config = os.path.join(self.directory, "nginx.conf")
        with open(self.config, "w", encoding="ascii") as config:
            config.write(CONFIG.format(directory=self.directory, name=name, port=port,
                                       connection_life=connection_life))
        with open(os.path.join(self.directory, "large"), "wb") as large:
            large.write(bytes(range(256)) * (LARGE_BYTES // 256))

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def start(self):
        """It listens when this returns."""
        if not self.is_running:
            self.process = self.namespace.spawn("nginx", "-e", "stderr", "-p", self.directory, "-c", self.config)
            wait_until(lambda: self._listeners() >= 2, 10, f"nginx of {self.name} listening on port {self.port}")
        return self

    def stop(self, seconds=2):
        """What it has begun it ends, unless that takes longer; whoever comes from now on is refused."""
        if not self.is_running:
            return
        self.process.send_signal(signal.SIGQUIT)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            self.process.wait(seconds)
        wait_until(lambda: self._listeners() == 0, 5, f"nothing listening on port {self.port} of {self.name}")

    def _listeners(self):
        return self.namespace.run("ss", "-Hltn", f"sport = :{self.port}").stdout.count("\n")


def start_nginx(namespace, name, directory, port=80):
    """Returns the process; it listens when this returns."""
    return Nginx(namespace, name, directory, port).start().process


class Pods:
    """A Controller's addresses and its kubelet (tests/kubernetes/controller.py). A Pod is the nginx at its
    address, which answers from before the Pod is ready until its grace is over, and at no other time.
    `servers`: {address: Nginx}; one with POD_CONNECTION_LIFE, where it is to end under load."""

    def __init__(self, servers):
        self.servers = servers
        self._free = collections.deque(servers)
        for server in servers.values():
            server.stop()

    def __iter__(self):
        return self

    def __next__(self):
        """The address that no Pod has had for the longest time."""
        if not self._free:
            raise StopIteration
        return self._free.popleft()

    def started(self, pod):
        self.servers[pod["status"]["podIP"]].start()

    def ended(self, pod):
        self.servers[pod["status"]["podIP"]].stop()
        self._free.append(pod["status"]["podIP"])

    def running(self):
        """Addresses."""
        return [address for address, server in self.servers.items() if server.is_running]
