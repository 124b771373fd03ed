"""A TCP proxy between a worker and Redis that behaves as networks do: it cuts at a reply, stalls, refuses."""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from typing import Self

CHUNK_BYTES = 65_536
RESET_WHEN_CLOSED = struct.pack("ii", 1, 0)


class Proxy:
    """Forwards 127.0.0.1:`port` to a port behind it. A context manager."""

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._connections: set[socket.socket] = set()
        self._cut_at = b""
        self._cuts_left = 0
        self.delay_seconds = 0.0
        """How long each reply is on its way."""
        self.cuts = 0
        """How many replies were cut off."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._listening.close()
        self.resume()
        self.reset_all()

    def lead_to(self, upstream_port: int) -> None:
        """Forward new connections there; old ones stay where they are, as with a name that moves."""
        self._upstream_port = upstream_port

    def cut_at_reply(self, containing: bytes, times: int) -> None:
        """Reset the connection instead of forwarding the next replies that contain these bytes."""
        self._cut_at, self._cuts_left = containing, times

    def stall(self) -> None:
        """Forward nothing; nobody is told."""
        self._flowing.clear()

    def refuse(self) -> None:
        """Reset every connection, old and new."""
        self._refusing = True
        self.reset_all()

    def resume(self) -> None:
        """Be a network that works."""
        self._refusing = False
        self._flowing.set()

    def reset_all(self) -> None:
        """Reset every connection; new ones are taken."""
        for connection in list(self._connections):
            self._reset(connection)

    def _accept(self) -> None:
        with suppress(OSError):  # closed: the end
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._upstream_port), timeout=1)
                except OSError:
                    self._reset(client)
                    continue
                if self._refusing:
                    self._reset(client, server)
                    continue
                server.settimeout(None)
                self._connections |= {client, server}
                threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                self._flowing.wait()
                if replies and self._cuts_left and self._cut_at in chunk:
                    self._cuts_left -= 1
                    self.cuts += 1
                    break
                if replies and self.delay_seconds:
                    time.sleep(self.delay_seconds)
                target.sendall(chunk)
        self._reset(source, target)

    def _reset(self, *connections: socket.socket) -> None:
        for connection in connections:
            self._connections.discard(connection)
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_WHEN_CLOSED)
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
