# SPDX-License-Identifier: Apache-2.0
"""The server's process, as far as a client can tell: it listens, ends in one way or another, and is
there again on the same port (KUBERNETES.md 1.18)."""

import asyncio
import contextlib
import dataclasses
import socket
import struct
import threading

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER
REQUEST_LINE_BYTES = 1 << 20


@dataclasses.dataclass
class Connection:
    socket: socket.socket
    writer: asyncio.StreamWriter = None  # None: not before the handshake is over

    def abort(self, reset=False):
        """Ends as that of a process that is gone."""
        # What TLS has ended already is no error.
        with contextlib.suppress(OSError, AttributeError):
            if reset:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            if self.writer is None:
                self.socket.close()
            else:
                self.writer.transport.abort()


class Listener:
    """A context manager with a thread and an event loop of its own, which go on while it does not
    listen. A subclass has `_connection(reader, writer)`, and keeps in `busy` the writers that are in
    the middle of an answer. `ssl` may be replaced at any time: connections that are open keep theirs."""

    def __init__(self, context, address):
        self.ssl, self.address, self.port = context, address, None
        self.stopping = False  # SIGTERM has come
        self.busy = set()
        self._listening = self._ending = None
        self._connections = {}  # by their tasks

    @property
    def url(self):
        return f"{'https' if self.ssl else 'http'}://{self.address}:{self.port}"

    def call(self, coroutine, seconds=10):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        # Bound, but never listening: nobody else gets the port while the server is away.
        self._reserved = self._socket(0)
        self.port = self._reserved.getsockname()[1]
        self.call(self._listen())
        return self

    def __exit__(self, *_):
        self.call(self._end(reset=False))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self._reserved.close()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    # Ends and beginnings, for tests.

    def stop_gracefully(self, seconds):
        """SIGTERM: nobody is let in any more, open watches say nothing, and after so many seconds they
        are cut. Returns at once; `wait_stopped` waits."""
        self.stopping = True
        self.call(self._stop_listening())
        self._ending = asyncio.run_coroutine_threadsafe(self._end_after(seconds), self.loop)

    def wait_stopped(self, seconds=70):
        self._ending.result(seconds)

    def kill(self):
        """SIGKILL: every connection is reset, watches inside an object."""
        self.call(self._end(reset=True))

    def restart(self):
        """A new process on the same port; one that still runs is killed first."""
        if self._ending is not None:
            self._ending.cancel()
        self.kill()
        self.stopping, self._ending = False, None
        self.call(self._forget())
        self.call(self._listen())

    # On the server's own thread.

    def _socket(self, port):
        # With its protocol: asyncio sets TCP_NODELAY only where it is told.
        made = socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET, socket.SOCK_STREAM,
                             socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((self.address, port))
        return made

    async def _listen(self):
        self._listening = self._socket(self.port)
        self._listening.setblocking(False)
        self._listening.listen(128)
        self.loop.add_reader(self._listening, self._accept)

    def _accept(self):
        try:
            accepted, _ = self._listening.accept()
        except OSError:
            return  # it has gone again
        accepted.setblocking(False)
        connection = Connection(accepted)

        def ended(task):
            del self._connections[task]
            connection.abort()
        task = self.loop.create_task(self._serve(connection))
        self._connections[task] = connection
        task.add_done_callback(ended)

    async def _serve(self, connection):
        reader = asyncio.StreamReader(limit=REQUEST_LINE_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        with contextlib.suppress(OSError, asyncio.CancelledError):  # of a handshake too
            transport, _ = await self.loop.connect_accepted_socket(lambda: protocol, connection.socket, ssl=self.ssl)
            writer = connection.writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
            try:
                await self._connection(reader, writer)
            finally:
                self.busy.discard(writer)
            writer.close()
            # With TLS it waits for the peer's last word; not for long.
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1)

    async def _connection(self, reader, writer):
        raise NotImplementedError

    async def _stop_listening(self):
        """Connections that wait for a request are closed; the others end with their answer."""
        if self._listening is not None:
            self.loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None
        for connection in self._connections.values():
            if connection.writer is not None and connection.writer not in self.busy:
                connection.writer.close()

    async def _end_after(self, seconds):
        await asyncio.sleep(seconds)
        await self._end(reset=False)

    async def _end(self, reset):
        await self._stop_listening()
        for task, connection in list(self._connections.items()):
            if reset and connection.writer is not None:
                self._begin_what_is_never_ended(connection.writer)
            connection.abort(reset)
            task.cancel()
        while self._connections:
            await asyncio.wait(list(self._connections))

    def _begin_what_is_never_ended(self, writer):
        """Just before a reset."""

    async def _forget(self):
        """What a new process does not know."""
