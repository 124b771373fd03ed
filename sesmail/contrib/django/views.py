"""Doors for Django: events of SES, and the unsubscribe page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from django.apps import apps
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from sesmail.doors import answer_by_settings, site_client
from sesmail.errors import EventNotStored, NotificationRefused
from sesmail.events.intake import Answer, answer_to
from sesmail.events.sns import BODY_LIMIT_BYTES

if TYPE_CHECKING:
    from django.http import HttpRequest

    from sesmail.contrib.django.apps import SesmailConfig

View = TypeVar("View", bound=Any)


def without_login(view: View) -> View:
    """Exempt from `LoginRequiredMiddleware`: neither SNS nor mail providers log in, and RFC 8058 forbids redirects.

    As Django's own `login_not_required`, which there is from Django 5.1 on only.
    https://docs.djangoproject.com/en/stable/ref/middleware/#django.contrib.auth.middleware.LoginRequiredMiddleware
    """
    view.login_required = False
    return view


@without_login
@csrf_exempt
@require_POST
def events(request: HttpRequest) -> HttpResponse:
    """SNS posts here, as text/plain."""
    answer = _answer(request)
    return HttpResponse(answer.text, status=answer.status, content_type="text/plain; charset=utf-8")


def _answer(request: HttpRequest) -> Answer:
    try:
        body = _body(request) or _chunked(request)
    except NotificationRefused as error:
        return answer_to(error)
    except UnreadablePostError:
        return answer_to(EventNotStored("The body did not come whole."))
    instead = _app().intake
    return instead.answer(body, request.headers) if instead else answer_by_settings(body, request.headers)


def _body(request: HttpRequest) -> bytes:
    """As far as the door takes it, whatever a site allows its visitors (`DATA_UPLOAD_MAX_MEMORY_SIZE`)."""
    try:
        return request.body
    except RequestDataTooBig:
        if int(request.headers["Content-Length"]) > BODY_LIMIT_BYTES:
            raise NotificationRefused(f"The body is longer than {BODY_LIMIT_BYTES} bytes.", status=413) from None
        whole: bytes = request.read(BODY_LIMIT_BYTES)
        return whole


def _chunked(request: HttpRequest) -> bytes:
    """A body without a length, as some proxies pass it on: Django takes it for empty under WSGI.

    Raises `UnreadablePostError` where the server does not say that it ends by itself: that SNS must try again.
    """
    environ = getattr(request, "environ", {})
    if "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return b""
    if not environ.get("wsgi.input_terminated"):
        raise UnreadablePostError("the server does not tell where a chunked body ends")
    body: bytes = environ["wsgi.input"].read(BODY_LIMIT_BYTES + 1)
    return body


@without_login
@csrf_exempt  # mail providers post here without a cookie; the signed token in the path is the proof
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind an unsubscribe link."""
    door = _app().unsubscribe or site_client().unsubscribe_door
    languages = request.headers.get("Accept-Language", "")
    page = door.answer(request.method or "", token, languages=languages, body=request.body)
    return HttpResponse(page.html, status=page.status, headers=page.headers)


def _app() -> SesmailConfig:
    return cast("SesmailConfig", apps.get_app_config("sesmail_django"))
