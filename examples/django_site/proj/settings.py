from pathlib import Path

DEBUG = True
SECRET_KEY = "only-for-this-example"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "proj.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).parents[1] / "db.sqlite3"}}

INSTALLED_APPS = ["sesmail.contrib.django"]  # so that autodiscover_tasks() finds its tasks

CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"  # the ledger is kept there, too
SESMAIL = {"FROM_EMAIL": "shop@example.com"}
