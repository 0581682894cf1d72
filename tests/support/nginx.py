# SPDX-License-Identifier: Apache-2.0
"""A real nginx in a namespace, on IPv4 and IPv6, that returns its name, and in headers the client
address and port it sees."""

import os

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


def start_nginx(namespace, name, directory, port=80):
    """Returns the process; it listens when this returns."""
    directory = os.path.join(directory, f"nginx-{name}-{port}")
    os.makedirs(directory)
    path = os.path.join(directory, "nginx.conf")
    with open(path, "w", encoding="ascii") as config:
        config.write(CONFIG.format(directory=directory, name=name, port=port))
    with open(os.path.join(directory, "large"), "wb") as large:
        large.write(bytes(range(256)) * (LARGE_BYTES // 256))
    process = namespace.spawn("nginx", "-e", "stderr", "-p", directory, "-c", path)
    wait_until(lambda: namespace.run("ss", "-Hltn", f"sport = :{port}").stdout.count("\n") >= 2,
               10, f"nginx of {name} listening on port {port}")
    return process
