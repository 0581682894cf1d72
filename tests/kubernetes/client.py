# SPDX-License-Identifier: Apache-2.0
"""A client that hides nothing: what the server sends, octet by octet where that matters."""

import http.client
import json
import socket


class Answer:
    def __init__(self, response):
        self.code, self.headers = response.status, response.headers
        self.body = response.read()

    @property
    def value(self):
        return json.loads(self.body)


class Client:
    """`context`: with TLS."""

    def __init__(self, server, token="admin", context=None):
        self.server, self.token, self.context = server, token, context

    def headers(self, more=None):
        auth = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return auth | (more or {})

    def request(self, method, path, body=None, content_type="application/json", **headers):
        to = (self.server.address, self.server.port)
        connection = (http.client.HTTPSConnection(*to, timeout=20, context=self.context) if self.context
                      else http.client.HTTPConnection(*to, timeout=20))
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        if data is not None:
            more["Content-Type"] = content_type
        try:
            connection.request(method, path, data, self.headers(more))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def watch(self, path, seconds=10):
        return Stream(self, path, seconds)


class Stream:
    """A watch: its chunks as they come."""

    def __init__(self, client, path, seconds):
        self.socket = socket.create_connection((client.server.address, client.server.port), seconds)
        if client.context:
            self.socket = client.context.wrap_socket(self.socket, server_hostname=client.server.address)
        auth = "".join(f"{name}: {value}\r\n" for name, value in client.headers().items())
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{auth}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.code = int(self.file.readline().split()[1])
        while self.file.readline().strip():
            pass
        self.chunks, self._rest, self.ended = [], b"", False

    def next_line(self):
        """The next event's octets; None when the stream has ended cleanly. Raises ConnectionResetError."""
        while b"\n" not in self._rest:
            size = self.file.readline()
            if not size:
                raise ConnectionResetError("cut")
            data = self.file.read(int(size, 16))
            if len(data) < int(size, 16):
                raise ConnectionResetError("cut inside a chunk")
            self.file.readline()
            if not data:
                self.ended = True
                return None
            self.chunks.append(data)
            self._rest += data
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def next(self):
        line = self.next_line()
        return None if line is None else json.loads(line)

    def all(self):
        events = []
        while (event := self.next()) is not None:
            events.append(event)
        return events

    def close(self):
        self.file.close()
        self.socket.close()
