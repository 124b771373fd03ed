"""Where SNS delivers to: an HTTP(S) server, an SQS queue, a Lambda function. Called in threads, one attempt a call."""

from __future__ import annotations

import importlib
import json
import threading
from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

import urllib3

from seslocal.errors import invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from seslocal.options import Options

TIMEOUT_SECONDS = 15
SHORTEST_TIMEOUT_SECONDS = 2
"""However fast the clock runs: endpoints answer in the time of a busy machine."""
CONNECTIONS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A signed envelope on its way to one subscription."""

    envelope: dict[str, str]
    subscription_arn: str
    raw: bool = False

    def body(self) -> str:
        """What an HTTP server or a queue gets: the message alone if delivery is raw, else the envelope."""
        if self.raw and self.envelope["Type"] == "Notification":
            return self.envelope["Message"]
        return json.dumps(self.envelope | self._unsubscribe_url(), indent=2)

    def _unsubscribe_url(self) -> dict[str, str]:
        if self.envelope["Type"] != "Notification":
            return {}
        host = self.envelope["SigningCertURL"].rpartition("/")[0]
        return {"UnsubscribeURL": f"{host}/?Action=Unsubscribe&SubscriptionArn={self.subscription_arn}"}

    def lambda_event(self) -> dict[str, Any]:
        """What a function gets: other spellings, attributes always, a subject that may be null."""
        envelope = self.envelope | self._unsubscribe_url()
        same = ("Type", "MessageId", "TopicArn", "Message", "Timestamp", "SignatureVersion", "Signature")
        sns: dict[str, Any] = {name: envelope[name] for name in same}
        sns |= {
            "Subject": envelope.get("Subject"),
            "SigningCertUrl": envelope["SigningCertURL"],
            "UnsubscribeUrl": envelope["UnsubscribeURL"],
            "MessageAttributes": {},
        }
        record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": self.subscription_arn}
        return {"Records": [record | {"Sns": sns}]}


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt that failed; a final one is not repeated."""

    reason: str
    final: bool = False


class Endpoint(Protocol):
    """Takes a message, or says why not."""

    def deliver(self, message: Message) -> Failed | None:
        """One attempt."""


class HttpEndpoint:
    """An HTTP(S) server. 2xx is an acknowledgement, 4xx (and a redirect) is final, all else is tried again."""

    def __init__(self, url: str, time_scale: float) -> None:
        parts = urlsplit(url)
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._user_and_password = unquote(parts.netloc.rpartition("@")[0])
        timeout = urllib3.Timeout(total=max(SHORTEST_TIMEOUT_SECONDS, TIMEOUT_SECONDS / time_scale))
        self._pool = urllib3.PoolManager(maxsize=CONNECTIONS, retries=False, timeout=timeout, block=False)

    def deliver(self, message: Message) -> Failed | None:
        """POST it; a server that asks for a password gets the one in the URL, as from SNS only when it asks."""
        try:
            response = self._post(message, {})
            if response.status == 401 and self._user_and_password:
                response = self._post(message, urllib3.make_headers(basic_auth=self._user_and_password))
        except urllib3.exceptions.HTTPError as error:
            return Failed(type(error).__name__)
        if 200 <= response.status < 300:
            return None
        return Failed(f"HTTP {response.status}", final=300 <= response.status < 500)

    def _post(self, message: Message, authorization: dict[str, str]) -> urllib3.BaseHTTPResponse:
        envelope = message.envelope
        headers = {
            "x-amz-sns-message-type": envelope["Type"],
            "x-amz-sns-message-id": envelope["MessageId"],
            "x-amz-sns-topic-arn": envelope["TopicArn"],
            "Content-Type": "text/plain; charset=UTF-8",
            "User-Agent": "Amazon Simple Notification Service Agent",
        }
        if envelope["Type"] != "SubscriptionConfirmation":
            headers["x-amz-sns-subscription-arn"] = message.subscription_arn
            if message.raw:
                headers["x-amz-sns-rawdelivery"] = "true"
        return self._pool.request(
            "POST", self._url, body=message.body().encode(), headers=headers | authorization, redirect=False
        )


class SqsEndpoint:
    """A queue, by its ARN or name, at an SQS-compatible server."""

    def __init__(self, queue: str, options: Options) -> None:
        if not options.sqs_endpoint_url:
            raise invalid("Invalid parameter: the simulator was given no SQS server (sqs_endpoint_url)")
        self._name = queue.rpartition(":")[2]
        self._client = _sqs_client(options.sqs_endpoint_url, options.region)
        self._url: str | None = None

    def deliver(self, message: Message) -> Failed | None:
        """Put it into the queue."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - few runs have a queue

        try:
            self._url = self._url or self._client.get_queue_url(QueueName=self._name)["QueueUrl"]
            self._client.send_message(QueueUrl=self._url, MessageBody=message.body())
        except (BotoCoreError, ClientError) as error:
            return Failed(type(error).__name__)
        return None


class LambdaEndpoint:
    """A Python function `module:function` in this process, called with (event, None) as Lambda would."""

    def __init__(self, handler: str) -> None:
        module, _, name = handler.rpartition(":")
        try:
            handler_named = getattr(importlib.import_module(module), name)
        except Exception as error:  # whatever the module does when it is imported
            raise invalid(f"Invalid parameter: no function {handler!r}; write module:function") from error
        if not isinstance(handler_named, FunctionType):  # no class, nor anything else that does something when called
            raise invalid(f"Invalid parameter: {handler!r} is no function of Python's; write module:function")
        self._handler: Callable[[dict[str, Any], None], Any] = handler_named

    def deliver(self, message: Message) -> Failed | None:
        """Call it."""
        try:
            self._handler(message.lambda_event(), None)
        except Exception as error:  # noqa: BLE001 - whatever the function raises is its failure
            return Failed(type(error).__name__)
        return None


def endpoint_for(protocol: str, address: str, options: Options) -> Endpoint:
    """The endpoint of a subscription."""
    match protocol:
        case "http" | "https":
            _check_url(address, protocol)
            return HttpEndpoint(address, options.time_scale)
        case "sqs":
            return SqsEndpoint(address, options)
        case "lambda":
            return LambdaEndpoint(address)
    raise invalid("Invalid parameter: Protocol must be http, https, sqs or lambda")


def _check_url(url: str, protocol: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme == protocol and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise invalid("Invalid parameter: Endpoint must be a URL with a host, and match the specified protocol")


_creating = threading.Lock()


@lru_cache
def _sqs_client(endpoint_url: str, region: str) -> Any:
    import boto3  # noqa: PLC0415 - a second of imports that few runs need

    with _creating:
        return boto3.client(
            "sqs",
            endpoint_url=endpoint_url,
            region_name=region,
            aws_access_key_id="simulator",
            aws_secret_access_key="simulator",  # noqa: S106 - for a local server that checks none
        )
