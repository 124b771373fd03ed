from django.contrib import admin
from django.core.mail import EmailMessage
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import include, path


def order(request: HttpRequest) -> JsonResponse:
    """One that is rolled back, with its email, where `fail` is said."""
    message = EmailMessage("Your order", "It is on its way.", to=["order@example.org"])
    message.send()
    if "fail" in request.POST:
        transaction.set_rollback(True)
    return JsonResponse({"ids": message.sesmail_ids})


def crash(request: HttpRequest) -> JsonResponse:
    raise ZeroDivisionError("a bug of the site")


urlpatterns = [
    path("order", order),
    path("crash", crash),
    path("accounts/", include("allauth.urls")),
    path("auth/", include("django.contrib.auth.urls")),
    path("admin/", admin.site.urls),
    path("sesmail/", include("sesmail.contrib.django.urls")),
]
