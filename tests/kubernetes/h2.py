# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 before the test server, by a real nginx (KUBERNETES.md 1.23): Python has none."""

import os
import pathlib
import signal
import socket
import subprocess
import time

CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format protocol "$server_protocol";
  access_log {folder}/protocols protocol;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {address}:{port} ssl http2;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    keepalive_requests {requests_max};
    client_max_body_size 4m;
    location {prefix}/ {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
      proxy_pass_header Date;
    }}
  }}
}}
"""


class Http2Front:
    """A context manager. A client has h2 or http/1.1 of it, as it asks by ALPN; what the server does,
    ends of streams and cuts too, comes through. After `requests_max` requests on a connection, nginx
    says GOAWAY. `folder` is for its files. `prefix`: the server's paths begin with it here."""

    def __init__(self, server, certificate, key, folder, requests_max=100_000, prefix=""):
        self.server, self.address, self.port = server, server.address, None
        self.files = {"certificate": certificate, "key": key}
        self.folder = pathlib.Path(folder)
        self.requests_max, self.prefix = requests_max, prefix
        self._frozen = []

    def protocols(self):
        """Of the requests that have ended, as HTTP writes them."""
        return set((self.folder / "protocols").read_text().split())

    @property
    def url(self):
        return f"https://{self.address}:{self.port}"

    def __enter__(self):
        # Bound, but never listening: the port is nginx's, which may bind it too, and nobody else's.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((self.address, 0))
        self.port = self._reserved.getsockname()[1]
        config = self.folder / "nginx.conf"
        config.write_text(CONFIG.format(
            user="user root;" if os.getuid() == 0 else "", folder=self.folder, address=self.address, port=self.port,
            requests_max=self.requests_max, prefix=self.prefix,
            upstream=self.server.url + ("/" if self.prefix else ""), **self.files))
        self.process = subprocess.Popen(["nginx", "-e", "stderr", "-p", self.folder, "-c", config],
                                        stdin=subprocess.DEVNULL)
        try:
            self._await_listening(10)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for worker in self._frozen:
            os.kill(worker, signal.SIGKILL)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reserved.close()

    def freeze(self):
        """The connections that are there stay, and nothing comes by them any more: half open, as behind a
        firewall that has forgotten them (1.18). New ones are served."""
        self._frozen = self._workers()
        for worker in self._frozen:
            os.kill(worker, signal.SIGSTOP)
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while set(self._workers()) <= set(self._frozen):
            if time.monotonic() > deadline:
                raise TimeoutError("nginx has started no other worker")
            time.sleep(0.02)

    def _workers(self):
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True)
        return [int(word) for word in found.stdout.split()]

    def _await_listening(self, seconds):
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection((self.address, self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
