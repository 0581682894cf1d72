# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 by hand, as the faults of the test server need a hand on every byte."""

import asyncio
import dataclasses
import gzip
import json
import urllib.parse

GZIP_BYTES = 128 << 10  # smaller lists are never compressed
PROTOBUF = "application/vnd.kubernetes.protobuf"
CHUNKED_BYTES = 2048  # as Go's server has it
CHUNK_BYTES = 32 << 10
PHRASES = {200: "OK", 201: "Created"}


@dataclasses.dataclass
class Request:
    method: str
    path: str
    query: dict
    headers: dict
    body: bytes

    def flag(self, name):
        return self.query.get(name, "").lower() in ("true", "t", "1")  # as Go's ParseBool

    @property
    def wants_protobuf(self):
        """Whoever can read JSON too, as kubectl, gets that: there is no real protobuf here."""
        accept = self.headers.get("accept", "")
        return accept.startswith(PROTOBUF) and "json" not in accept

    def json(self):
        return json.loads(self.body or b"{}")


async def read_request(reader):
    """None when the peer has no more to ask."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    lines = head.decode("latin-1").split("\r\n")
    method, target, _ = lines[0].split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, value in
               (line.split(":", 1) for line in lines[1:] if ":" in line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    parts = urllib.parse.urlsplit(target)
    query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    return Request(method, parts.path.rstrip("/") or "/", query, headers, body)


class Reply:
    """One answer, whole or as a stream."""

    def __init__(self, writer, request, clock):
        self.writer, self.request, self.clock = writer, request, clock
        self.is_stream = False

    def _head(self, code, headers):
        lines = [f"HTTP/1.1 {code} {PHRASES.get(code, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in ({"Date": self.clock.http_date()} | headers).items()]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    @property
    def indent(self):
        """1.1: for people. None: it is for a program."""
        pretty = self.request.query.get("pretty", self.request.headers.get("user-agent", ""))
        return 2 if pretty.startswith(("true", "1", "curl", "Wget", "Mozilla")) else None

    def _text(self, value):
        return (json.dumps(value, indent=self.indent) + "\n").encode()

    async def whole(self, code, value, headers=None, content_type="application/json", compress=False, longer=0):
        """`longer`: what Content-Length promises beyond the body; a body that is large has none."""
        body = value if isinstance(value, bytes) else self._text(value)
        head = {"Content-Type": content_type} | (headers or {})
        if compress and len(body) > GZIP_BYTES and "gzip" in self.request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, 1)
            head |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        if len(body) <= CHUNKED_BYTES or longer:
            self._head(code, head | {"Content-Length": len(body) + longer})
            self.writer.write(body)
            await self.writer.drain()
            return
        self._head(code, head | {"Transfer-Encoding": "chunked"})
        for begin in range(0, len(body), CHUNK_BYTES):
            await self.chunk(body[begin:begin + CHUNK_BYTES])
        await self.end_stream()

    async def begin_stream(self, content_type):
        self._head(200, {"Content-Type": content_type, "Transfer-Encoding": "chunked"})
        self.is_stream = True
        await self.writer.drain()

    async def chunk(self, data):
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    def begin_chunk(self, data):
        """Half of it, and no more to come."""
        self.writer.write(b"%x\r\n%s" % (len(data), data[:len(data) // 2]))

    async def end_stream(self):
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def cut(self):
        """The connection ends, wherever the stream stands."""
        self.writer.transport.abort()
        raise ConnectionResetError
