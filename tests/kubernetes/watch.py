# SPDX-License-Identifier: Apache-2.0
"""The watch stream (KUBERNETES.md 1.8 to 1.20)."""

import asyncio
import collections
import contextlib
import struct
import time

from events import view
from http1 import PROTOBUF
from resources import ApiError
from selection import selection
from stored import event_json
from table import table_of

PIECE = 2048  # of an event that is larger: chunk borders are not event borders
IN_FLIGHT = 4 << 20  # bytes that a slow reader may be behind
LOOK_SECONDS = 0.01  # between two looks whether a fault is over


def bookmark(resource, version, initial_end=False):
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    if initial_end:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    extra = {"spec": {}, "status": {"loadBalancer": {}}} if resource.kind == "Service" else {}
    return {"type": "BOOKMARK", "object": {"kind": resource.kind, "apiVersion": resource.api_version,
                                           "metadata": metadata} | extra}


class Watch:
    """One stream, from the version that was asked for."""

    def __init__(self, server, reply, resource, namespace):
        self.server, self.store, self.faults, self.reply = server, server.store, server.faults, reply
        self.resource, self.namespace = resource, namespace
        query = reply.request.query
        self.query = query
        self.after = 0  # no change up to this version is told
        self.selected = selection(resource, query)
        self.protobuf = reply.request.wants_protobuf
        self.is_table = "as=Table" in reply.request.headers.get("accept", "")
        self.has_columns = False
        self.bookmarks = reply.request.flag("allowWatchBookmarks")
        self.interval = server.bookmark_seconds
        self.ends = time.monotonic() + float(query.get("timeoutSeconds", server.watch_seconds))
        self.lines = collections.deque()  # (line, since when it waits, bytes that count as waiting)
        self.more = asyncio.Event()
        self.waiting = 0  # bytes; what was due at once does not count
        self.begun = False
        self.sent = 0

    def _fits(self, thing):
        return self.namespace in (None, thing["metadata"].get("namespace", "")) and self.selected(thing)

    def _told(self, thing):
        """kubectl wants a table of each, with the columns in the first one only (1.33)."""
        if not self.is_table:
            return self.faults.told(view(self.resource, thing))
        table = table_of(self.resource, [self.faults.told(thing)], thing["metadata"]["resourceVersion"],
                         self.server.clock)
        if self.has_columns:
            table["columnDefinitions"] = None
        self.has_columns = True
        return table

    def _event(self, change):
        """What this watcher sees of a change: leaving the selector is a deletion (1.15)."""
        if change.resource != self.resource.stored or change.version <= self.after:
            return None
        now = change.type != "DELETED" and self._fits(change.object)
        before = change.before is not None and self._fits(change.before)
        if not now and not before:
            return None
        kind = "MODIFIED" if now and before else "ADDED" if now else "DELETED"
        return {"type": kind, "object": self._told(change.object)}

    def _hear(self, change):
        event = self._event(change)
        if event is not None:
            self.say(event)

    def say(self, event):
        """An event, or octets in the place of one; on the server's thread."""
        line = event if isinstance(event, bytes) else self._encoded(event)
        counted = len(line) if self.begun else 0
        self.waiting += counted
        self.lines.append((line, time.monotonic(), counted))
        self.more.set()

    def _encoded(self, event):
        """A line; for who asked for protobuf a frame, whose content is none (1.7)."""
        if self.protobuf:
            body = event_json(event)
            return struct.pack(">I", len(body)) + body
        return event_json(event) + b"\n"

    async def run(self):
        version = self.query.get("resourceVersion", "")
        if version and not version.isdigit():
            raise ApiError(500, "", f'strconv.ParseUint: parsing "{version}": invalid syntax')
        self.server.watches[self.reply.writer] = self
        try:
            await self.reply.begin_stream(f"{PROTOBUF};stream=watch" if self.protobuf else "application/json")
            self.store.watchers.append(self._hear)
            self._begin(version)
            self.begun = True
            await self._serve()
        finally:
            if self._hear in self.store.watchers:
                self.store.watchers.remove(self._hear)
            del self.server.watches[self.reply.writer]
        await self.reply.end_stream()

    def _begin(self, version):
        """Queues what is due at once: objects, changes or an error (1.10)."""
        initial = self.query.get("sendInitialEvents") == "true"
        if initial or version in ("", "0"):
            for thing in self.store.list(self.resource.stored, fits=self._fits):
                self.say({"type": "ADDED", "object": self._told(thing)})
            if initial:
                self.say(bookmark(self.resource, self.store.version, True))
            return
        self.after = int(version)
        try:
            if self.faults.gone > 0:
                self.faults.gone -= 1
                raise ApiError(410, "Expired", f"too old resource version: {version} ({self.store.version})")
            for change in self.store.since(self.resource.stored, self.after):
                self._hear(change)
        except ApiError as error:
            self.say({"type": "ERROR", "object": error.status()})
            self.ends = 0

    async def _serve(self):
        marked = time.monotonic()
        while True:
            line = await self._next(min(self.ends, marked + self.interval) if self.bookmarks else self.ends)
            if line is None:
                # None ahead of what waits, nor of the version that was asked for (1.12).
                if self.bookmarks and self.ends and not self.lines and self.store.version >= self.after:
                    await self._send(self._encoded(bookmark(self.resource, self.store.version)))
                marked = time.monotonic()
                if marked >= self.ends:
                    return
                continue
            if self.waiting > IN_FLIGHT:
                return  # a slow reader is sent away, cleanly (1.17)
            await self._send_event(line)

    async def _next(self, until):
        """The next line, as soon as it may go; None: nothing until then, or until the watch's end."""
        while True:
            now = time.monotonic()
            if self.faults.silent or self.server.stopping:
                await asyncio.sleep(LOOK_SECONDS)
                continue
            if self.lines and not (self.ends and self.faults.is_late(self.resource.plural, now - self.lines[0][1])):
                line, _, counted = self.lines.popleft()
                self.waiting -= counted
                return line
            if now >= (self.ends if self.lines else until):
                return None
            self.more.clear()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.more.wait(), LOOK_SECONDS if self.lines else max(0.001, until - now))

    async def _send_event(self, line):
        cut = self.faults.cut_of(self.resource.plural)
        if cut == "before":
            self.reply.cut()
        if cut == "inside":
            await self._send(line[:len(line) // 2])
            self.reply.cut()
        for _ in range(2 if self.faults.duplicate else 1):
            await self._send(line)
        if cut == "after":
            self.reply.cut()

    async def _send(self, line):
        begin = 0
        while begin < len(line):
            piece = line[begin:begin + (1 if self.faults.byte_delay else PIECE)]
            begin += len(piece)
            if self.faults.cut_after is not None and self.sent + len(piece) > self.faults.cut_after:
                piece = piece[:max(0, self.faults.cut_after - self.sent)]
                self.faults.cut_after = None
                if piece:
                    await self.reply.chunk(piece)
                self.reply.cut()
            await self.reply.chunk(piece)
            self.sent += len(piece)
            if self.faults.byte_delay:
                await asyncio.sleep(self.faults.byte_delay)

    def begin_event(self):
        """Half of one, as of a server that is killed in the middle of it (1.18)."""
        things = self.store.list(self.resource.stored, fits=self._fits)
        if things and self.reply.is_stream:
            self.reply.begin_chunk(self._encoded({"type": "MODIFIED", "object": self._told(things[0])}))
