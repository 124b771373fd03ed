from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.http import require_POST

from sesmail import send_ses_email


@require_POST
def order(request: HttpRequest) -> JsonResponse:
    """Send at once."""
    result = send_ses_email.delay(request.POST["to"], "Your order", "It is on its way.")
    return JsonResponse({"id": result.id})


@require_POST
@transaction.atomic
def sign_up(request: HttpRequest) -> JsonResponse:
    """Send when the transaction commits: nobody is welcomed whose account was rolled back."""
    # ... here the account is written to the database ...
    send_ses_email.delay_on_commit(request.POST["to"], "Welcome", "Good to have you.")
    if "fail" in request.POST:
        transaction.set_rollback(True)
    return JsonResponse({})


urlpatterns = [path("order", order), path("sign-up", sign_up)]
