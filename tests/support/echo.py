# SPDX-License-Identifier: Apache-2.0
"""A backend that tells what it sees: answers every UDP datagram and every TCP line with
`NAME PEER-ADDRESS PEER-PORT TEXT`, on IPv4 and IPv6. Run as a program: echo.py NAME PORT."""

import selectors
import socket
import sys


def reply(name, peer, text):
    address = peer[0].removeprefix("::ffff:")
    return b"%s %s %d %s" % (name.encode(), address.encode(), peer[1], text)


def listening(kind, port):
    server = socket.socket(socket.AF_INET6, kind)
    server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("::", port))
    if kind == socket.SOCK_STREAM:
        server.listen(512)
    return server


def serve(name, port):
    selector = selectors.DefaultSelector()
    datagrams = listening(socket.SOCK_DGRAM, port)
    connections = listening(socket.SOCK_STREAM, port)
    selector.register(datagrams, selectors.EVENT_READ)
    selector.register(connections, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            if ready is datagrams:
                text, peer = datagrams.recvfrom(65536)
                datagrams.sendto(reply(name, peer, text), peer)
            elif ready is connections:
                connection, _ = connections.accept()
                selector.register(connection, selectors.EVENT_READ)
            else:
                answer_stream(name, selector, ready)


def answer_stream(name, selector, connection):
    try:
        text = connection.recv(65536)
        if text:
            connection.sendall(reply(name, connection.getpeername(), text))
            return
    except OSError:
        pass
    selector.unregister(connection)
    connection.close()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
