"""One call that sends email, written and read by hand on boto3's own connections, for an eighth of its CPU.

boto3 spends its time on what is the same for every email: finding the endpoint, building objects, telling listeners.
All that decides whether and where an email goes stays boto3's (`internals.py`); every answer but a plain 200 is read by
botocore's own parser, and every failure is the exception that boto3 would have raised: there is one error table.
"""

from __future__ import annotations

import io
import json
import re
import ssl
import time
from base64 import b64encode
from http.client import HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    SSLError,
)
from urllib3 import exceptions as urllib3

from sesmail.ses.signature import Signer

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from sesmail.ses.internals import Borrowed

MOST_ANSWER_BYTES = 1 << 20
"""An answer is a few hundred; whatever says more is not SES."""
_PIECE_BYTES = 65_536
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*(?=\r\n|\Z)")


class NotWritten(Exception):
    """Something of this module's did not work, before a byte was written: boto3 can be asked instead."""


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes
    is_last: bool
    """Whether the connection can carry no other."""


class LeanCall:
    """Makes calls of one operation on the connections of one boto3 client; for any number of threads."""

    def __init__(self, borrowed: Borrowed, said: str) -> None:
        """`borrowed` stays the client's: who closes it ends this, too. `said` is what is read of an answer."""
        self._borrowed = borrowed
        self._said = said
        self._signer = Signer(
            borrowed.credentials, host=borrowed.host, region=borrowed.region, service=borrowed.service
        )

    def ask(self, request: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """What boto3 answers to these arguments, or to them as JSON. Raises what it raises; or `NotWritten`."""
        try:
            written = self._written(request if isinstance(request, bytes) else as_json(request).encode())
        except (AttributeError, TypeError, ValueError) as error:
            raise NotWritten(f"the request could not be written ({type(error).__name__})") from error
        connection = self._connected()
        try:
            answer = self._exchanged(connection.sock, written)
        except BaseException:  # also a worker's time limit: another's answer must not be read from it
            connection.close()
            self._borrowed.pool._put_conn(None)  # noqa: SLF001
            raise
        if answer.is_last:
            connection.close()
        self._borrowed.pool._put_conn(connection)  # noqa: SLF001
        return self._read(answer)

    # -- before SES may have it -------------------------------------------------------------------------------------

    def _written(self, body: bytes) -> bytes:
        """The whole of it, signed. The credentials' own failures are boto3's."""
        borrowed = self._borrowed
        headers = {
            "Host": borrowed.host,
            "User-Agent": borrowed.user_agent,
            "Accept-Encoding": "identity",
            "Content-Length": str(len(body)),
            **self._signer.headers(borrowed.path, body),
        }
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return b"".join([f"POST {borrowed.path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1"), body])

    def _connected(self) -> Any:
        """A connection of urllib3's that is open. Whatever fails here, nothing was written."""
        try:
            connection = self._borrowed.pool._get_conn()  # noqa: SLF001
        except (AttributeError, TypeError, urllib3.ClosedPoolError) as error:
            raise NotWritten(f"urllib3's connections cannot be had ({type(error).__name__})") from error
        try:
            if getattr(connection, "sock", None) is None:
                connection.connect()
        except BaseException as error:
            connection.close()
            self._borrowed.pool._put_conn(None)  # noqa: SLF001
            if isinstance(error, (OSError, urllib3.HTTPError, ssl.CertificateError, ValueError)):  # as urllib3's own
                raise self._not_connected(error) from error
            raise
        return connection

    def _not_connected(self, error: Exception) -> Exception:
        if isinstance(error, urllib3.ConnectTimeoutError) and not isinstance(error, urllib3.NewConnectionError):
            return ConnectTimeoutError(endpoint_url=self._borrowed.url, error=error)
        if isinstance(error, ValueError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            return SSLError(endpoint_url=self._borrowed.url, error=error)
        return EndpointConnectionError(endpoint_url=self._borrowed.url, error=error)

    # -- SES may have it ----------------------------------------------------------------------------------------------

    def _exchanged(self, sock: Any, written: bytes) -> _Answer:
        """Write, and read the answer, within the time that one may take."""
        borrowed = self._borrowed
        try:
            if sock.gettimeout() != borrowed.read_timeout_seconds:  # urllib3 connects within another
                sock.settimeout(borrowed.read_timeout_seconds)
            sock.sendall(written)
            return _answer(_Reader(sock, borrowed.read_timeout_seconds))
        except TimeoutError as error:
            raise ReadTimeoutError(endpoint_url=borrowed.url, error=error) from error
        except OSError as error:
            raise ConnectionClosedError(endpoint_url=borrowed.url, error=error) from error
        except (HTTPException, ValueError) as error:
            raise HTTPClientError(error=error) from error

    def _read(self, answer: _Answer) -> dict[str, Any]:
        if answer.status == 200:
            try:
                return {self._said: json.loads(answer.body)[self._said]}
            except (ValueError, KeyError, TypeError):
                pass  # botocore says what is wrong with it
        return self._borrowed.read(answer.status, answer.headers, answer.body)


class _Reader(io.RawIOBase):
    """What comes from the socket, within a time; and again from the beginning for who reads it more thoroughly."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock, self._until = sock, time.monotonic() + seconds
        self.seen = b""
        self._replayed = 0

    def more(self) -> bool:
        """Whether anything more has come."""
        if time.monotonic() > self._until:
            raise TimeoutError("the answer took too long to come")
        if len(self.seen) > MOST_ANSWER_BYTES:
            raise ValueError("the answer is too long")
        piece = self._sock.recv(_PIECE_BYTES)
        self.seen += piece
        return bool(piece)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._replayed == len(self.seen):
            if not self.more():
                return 0
        piece = self.seen[self._replayed : self._replayed + len(buffer)]
        buffer[: len(piece)] = piece
        self._replayed += len(piece)
        return len(piece)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As `http.client` asks a socket."""
        return io.BufferedReader(self)


def _answer(reader: _Reader) -> _Answer:
    """A plain answer by hand: five times as fast as by `http.client`, which reads all others."""
    while (end := reader.seen.find(b"\r\n\r\n")) < 0:
        if not reader.more():
            break
    head = reader.seen[: max(end, 0)].lower()
    length = _LENGTH.search(head)
    if not head.startswith(b"http/1.1 200") or length is None or b"transfer-encoding" in head:
        return _answer_of_any_form(reader)
    whole = end + 4 + int(length[1])
    while len(reader.seen) < whole:
        if not reader.more():
            raise ConnectionResetError("the answer ended early")
    is_last = b"\r\nconnection: close" in head or len(reader.seen) > whole
    return _Answer(200, {}, reader.seen[end + 4 : whole], is_last)


def _answer_of_any_form(reader: _Reader) -> _Answer:
    response = HTTPResponse(reader, method="POST")  # type: ignore[arg-type]  # it only asks for a file
    response.begin()
    body = response.read()
    return _Answer(response.status, dict(response.getheaders()), body, is_last=True)


def _base64(value: object) -> str:
    """As botocore writes what its model calls a blob."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode("ascii")
    raise TypeError(f"no JSON: {type(value).__name__}")


as_json = json.JSONEncoder(separators=(",", ":"), default=_base64).encode
"""The arguments of a call as botocore writes them."""
