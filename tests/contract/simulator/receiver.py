"""An HTTP server that SNS can deliver to, which keeps what it gets and answers as it is told."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import boto3
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


class Receiver:
    """Use as a context manager; `statuses` are the next answers, after them 200; `slow_seconds` their delays."""

    def __init__(self, password: str | None = None) -> None:
        self.received: list[tuple[dict[str, str], str]] = []
        self.statuses: list[int] = []
        self.times: list[float] = []
        self.slow_seconds: list[float] = []
        self._password = password
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                time.sleep(receiver.slow_seconds.pop() if receiver.slow_seconds else 0)
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, headers = receiver.take({name.lower(): value for name, value in self.headers.items()}, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/sns"

    def take(self, headers: dict[str, str], body: str) -> tuple[int, dict[str, str]]:
        with self._lock:
            if self._password and headers.get("authorization") != self._expected():
                return 401, {"WWW-Authenticate": 'Basic realm="sns"'}
            self.times.append(time.monotonic())
            self.received.append((headers, body))
            return (self.statuses.pop(0) if self.statuses else 200), {}

    def _expected(self) -> str:
        return "Basic " + base64.b64encode((self._password or "").encode()).decode()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        with self._lock:
            self.received, self.statuses, self.times = [], [], []

    def wait_for(self, count: int, seconds: float = 10) -> list[tuple[dict[str, str], str]]:
        """What has come, once that is at least `count` posts."""
        eventually(lambda: len(self.received) >= count, seconds)
        return list(self.received)

    def envelopes(self, kind: str = "Notification") -> list[dict[str, str]]:
        found = [json.loads(body) for _headers, body in list(self.received)]
        return [envelope for envelope in found if envelope.get("Type") == kind]

    def events(self) -> list[dict]:
        return [json.loads(envelope["Message"]) for envelope in self.envelopes() if envelope["Message"].startswith("{")]


def eventually(condition, seconds: float = 10) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def verify(envelope: dict[str, str], certificate_pem: bytes) -> None:
    """Check an SNS signature; raises InvalidSignature."""
    text = "".join(f"{name}\n{envelope[name]}\n" for name in SIGNED[envelope["Type"]] if name in envelope)
    algorithm = hashes.SHA1() if envelope["SignatureVersion"] == "1" else hashes.SHA256()
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    key.verify(base64.b64decode(envelope["Signature"]), text.encode(), padding.PKCS1v15(), algorithm)


def sns_client(url: str):
    return boto3.client(
        "sns", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
