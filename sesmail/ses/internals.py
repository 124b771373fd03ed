"""Each private part of botocore and urllib3 that the lean call leans on, and the version in which it was read.

What is taken out of boto3's client keeps all of its set-up: credentials with their renewal (STS, IRSA, SSO, instance
metadata), endpoint (Region, FIPS, dual-stack, `AWS_ENDPOINT_URL_SESV2`), CA bundle, client certificate, time-outs and
connections. With a new version of botocore, look here first: `tests/contract/test_lean_call.py` fails where one of them
has changed. All were read in botocore 1.44.5 and urllib3 2.8.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

import botocore
from botocore.awsrequest import HeadersDict
from botocore.client import BaseClient
from botocore.endpoint import Endpoint
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.parsers import create_parser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from botocore.credentials import ReadOnlyCredentials
    from mypy_boto3_sesv2.client import SESV2Client

_EVENTS = (
    "provide-client-params",
    "before-parameter-build",
    "before-endpoint-resolution",
    "before-call",
    "request-created",
    "choose-signer",
    "before-sign",
    "before-send",
    "response-received",
    "before-parse",
    "after-call",
    "after-call-error",
    "needs-retry",
)
"""All that botocore tells of while it makes a call (botocore/client.py, endpoint.py, signers.py)."""
_PATCHED = (
    (BaseClient, "_make_api_call"),
    (Endpoint, "make_request"),
    (Endpoint, "prepare_request"),
    (Endpoint, "_send"),
    (URLLib3Session, "send"),
)
"""What tracers replace by their own: each is gone through by every call of boto3's."""
_STANDARD_PORTS = {"http": 80, "https": 443}


class CannotBorrow(Exception):
    """The lean call would miss something that boto3's call has; in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Borrowed:
    """What boto3's client has for a call of one operation."""

    operation: str
    """`SendEmail` or `SendBulkEmail`."""
    url: str
    host: str
    """As in the header `Host`."""
    path: str
    region: str
    service: str
    """As in the signature."""
    credentials: Callable[[], ReadOnlyCredentials]
    pool: Any
    """urllib3's connections to that host: `_get_conn`, `_put_conn` (urllib3/connectionpool.py)."""
    read_timeout_seconds: float
    user_agent: str
    output_shape: Any

    def read(self, status: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """An answer as botocore reads it. Raises `ClientError` for a refusal, `ResponseParserError` for what is none.

        botocore/endpoint.py: `_do_get_response`; botocore/client.py: `_make_api_call`.
        """
        response = {"status_code": status, "headers": HeadersDict(headers), "body": body}
        parsed: dict[str, Any] = create_parser("rest-json").parse(response, self.output_shape)
        if status >= 300:
            raise ClientError(parsed, self.operation)  # type: ignore[arg-type]  # as botocore does
        return parsed


def borrow(client: SESV2Client, operation: str) -> Borrowed:
    """What a call needs. Raises `CannotBorrow` where boto3's own call must be used, with the reason."""
    try:
        _refuse_what_others_hear(client, operation)
        return _borrow(client, operation)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CannotBorrow(
            f"botocore {botocore.__version__} has other inner parts than were read ({type(error).__name__})"
        ) from error


def _borrow(client: Any, operation: str) -> Borrowed:
    model = client.meta.service_model.operation_model(operation)
    url, headers, properties = client._resolve_endpoint_ruleset(model, {}, {})  # noqa: SLF001
    where = urlsplit(url)
    signer = client._request_signer  # noqa: SLF001
    config = client.meta.config
    session = client._endpoint.http_session  # noqa: SLF001
    refused = {
        "its endpoint wants headers or a signature of its own": headers or properties,
        "its endpoint has a path": where.path.strip("/") or where.query or where.username,
        "it goes through a proxy": session._proxy_config.proxy_url_for(url),  # noqa: SLF001
        "there are no credentials": signer._credentials is None,  # noqa: SLF001
        "it is signed in another way": signer.signature_version != "v4" or config.auth_scheme_preference,
        "SES speaks another protocol": client.meta.service_model.resolved_protocol != "rest-json",
    }
    for reason, holds in refused.items():
        if holds:
            raise CannotBorrow(reason)
    return Borrowed(
        operation=operation,
        url=url,
        host=_host(where),
        path=model.http["requestUri"],
        region=signer.region_name,
        service=signer.signing_name,
        credentials=signer._credentials.get_frozen_credentials,  # noqa: SLF001
        pool=_pool(session, url),
        read_timeout_seconds=config.read_timeout,
        user_agent=config.user_agent,
        output_shape=model.output_shape,
    )


def _pool(session: Any, url: str) -> Any:
    """The connections that botocore itself would use (botocore/httpsession.py: `send`)."""
    pool = session._get_connection_manager(url).connection_from_url(url)  # noqa: SLF001
    session._setup_ssl_cert(pool, url, session._verify)  # noqa: SLF001
    return pool


def _host(where: SplitResult) -> str:
    """botocore/auth.py: `_host_from_url`."""
    host = f"[{where.hostname}]" if ":" in (where.hostname or "") else where.hostname or ""
    return host if where.port in {None, _STANDARD_PORTS[where.scheme]} else f"{host}:{where.port}"


def _refuse_what_others_hear(client: Any, operation: str) -> None:
    """A host's own handlers and tracers (X-Ray, OpenTelemetry, Sentry, Datadog) hear of every email: boto3 sends it."""
    if names := sorted({*_foreign_patches(), *_foreign_handlers(client, operation)}):
        raise CannotBorrow(f"{', '.join(names)} listens to boto3's calls")


def _foreign_patches() -> Iterable[str]:
    ours = str(Path(botocore.__file__).parent)
    for owner, name in _PATCHED:
        function = vars(owner)[name]
        if not isinstance(function, FunctionType) or not function.__code__.co_filename.startswith(ours):
            yield _package_of(getattr(function, "_self_wrapper", function))  # wrapt's wrappers


def _foreign_handlers(client: Any, operation: str) -> Iterable[str]:
    for event in _EVENTS:
        for handler in client.meta.events._emitter._handlers.prefix_search(f"{event}.sesv2.{operation}"):  # noqa: SLF001
            module = _module_of(handler)
            if module == "botocore.stub" or not module.startswith(("botocore.", "boto3.", "sesmail.")):
                yield _package_of(handler)


def _module_of(handler: Any) -> str:
    handler = getattr(handler, "func", handler)  # functools.partial
    return getattr(handler, "__module__", None) or type(handler).__module__


def _package_of(handler: Any) -> str:
    return _module_of(handler).partition(".")[0]
