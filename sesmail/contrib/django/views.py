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
        body = request.body
    except RequestDataTooBig:
        return answer_to(NotificationRefused("The body is longer than Django's settings allow.", status=413))
    except UnreadablePostError:
        return answer_to(EventNotStored("The body did not come whole."))
    instead = _app().intake
    return instead.answer(body, request.headers) if instead else answer_by_settings(body, request.headers)


@without_login
@csrf_exempt  # mail providers post here without a cookie; the signed token in the path is the proof
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind an unsubscribe link."""
    page = (_app().unsubscribe or site_client().unsubscribe_door).answer(request.method or "", token)
    return HttpResponse(page.html, status=page.status, headers=page.headers)


def _app() -> SesmailConfig:
    return cast("SesmailConfig", apps.get_app_config("sesmail_django"))
