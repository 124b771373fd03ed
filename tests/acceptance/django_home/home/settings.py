"""A Django project as many are: mail goes through whatever EMAIL_BACKEND says, by the site and by what it has installed."""

import os
from pathlib import Path

import django

SECRET_KEY = "only-for-this-test"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
ROOT_URLCONF = "home.urls"
USE_TZ = True
SITE_ID = 1
STATIC_URL = "/static/"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).parents[1] / "db.sqlite3",
        "ATOMIC_REQUESTS": True,
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sites",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "post_office",
    "sesmail.contrib.django",
]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_RATE_LIMITS = False

CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
SESMAIL = {}

BACKEND = "sesmail.contrib.django.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {"BACKEND": BACKEND},
        "news": {"BACKEND": BACKEND, "OPTIONS": {"lane": "bulk", "configuration_set": "simulator", "tags": ["news"]}},
        "quiet": {"BACKEND": BACKEND, "OPTIONS": {"fail_silently": True}},
    }
else:
    EMAIL_BACKEND = BACKEND
TASKS = {"email": {"BACKEND": "sesmail.contrib.django.TaskBackend"}}
POST_OFFICE = {"BACKENDS": {"default": BACKEND}, "DEFAULT_PRIORITY": "now"}

DEFAULT_FROM_EMAIL = "Shop <shop@example.com>"
SERVER_EMAIL = "errors@example.com"
ADMINS = ["ops@example.org"] if django.VERSION >= (6, 0) else [("Ops", "ops@example.org")]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"admins": {"class": "django.utils.log.AdminEmailHandler", "level": "ERROR"}},
    "loggers": {"django": {"handlers": [], "level": "INFO"}},
    "root": {"handlers": ["admins"], "level": "WARNING"},
}
if django.VERSION >= (6, 1):  # no longer silent by itself
    LOGGING["handlers"]["admins"]["using"] = "quiet"
