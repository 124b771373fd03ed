"""`path("sesmail/", include("sesmail.contrib.django.urls"))`."""

from __future__ import annotations

from django.urls import path

from sesmail.contrib.django import views

app_name = "sesmail"
urlpatterns = [
    path("events/", views.events, name="events"),
    path("unsubscribe/<str:token>", views.unsubscribe, name="unsubscribe"),
]
