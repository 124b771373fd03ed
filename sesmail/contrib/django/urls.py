"""`path("sesmail/", include("sesmail.contrib.django.urls"))`."""

from __future__ import annotations

from django.urls import path

from sesmail.contrib.django import views

app_name = "sesmail"
# With and without a slash at the end: `APPEND_SLASH` would answer the other one by a redirect, which loses the post.
urlpatterns = [
    path("events", views.events),
    path("events/", views.events, name="events"),
    path("unsubscribe/<str:token>/", views.unsubscribe),
    path("unsubscribe/<str:token>", views.unsubscribe, name="unsubscribe"),
]
