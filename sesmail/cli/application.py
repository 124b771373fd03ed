"""The application whose email a command is about: loaded, so that its Celery app is the current one.

The Celery app of `-A`, found as `celery -A` finds it; else the Flask or Django that has started the command; else the
project of DJANGO_SETTINGS_MODULE, or the application of FLASK_APP; else the stand-alone app.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError, SesmailError
from sesmail.hosts import django_settings, flask_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click


def load_application(context: click.Context, celery_app: str | None) -> str:
    """Load it for as long as the command runs; answers whose settings hold, in words.

    `celery_app` is the value of `-A`. Raises `ConfigurationError`, in a line, for what cannot be found or loaded.
    """
    django, flask = os.environ.get("DJANGO_SETTINGS_MODULE"), os.environ.get("FLASK_APP")
    if celery_app:
        return _of_celery(celery_app)
    if flask_app() is not None or _flask_command(context) is not None:
        return _of_flask(context)
    if django_settings() is not None:
        return _of_django()
    if django:
        return _django_project(django)
    return _flask_application(context, flask) if flask else _stand_alone()


def _of_celery(name: str) -> str:
    from sesmail.celery.finding import make_current

    with _loading(f"`-A {name}`"):
        make_current(name)
        if os.environ.get("DJANGO_SETTINGS_MODULE"):  # by now: its module may have said so
            _set_up_django()
    return f"-A {name}"


def _django_project(module: str) -> str:
    with _loading(f"DJANGO_SETTINGS_MODULE={module}"):
        _set_up_django()
    return _of_django()


def _set_up_django() -> None:
    import django

    django.setup()


def _of_django() -> str:
    module = django_settings().SETTINGS_MODULE
    return f"Django's settings of {module}" if module else "Django's settings"


def _flask_application(context: click.Context, name: str) -> str:
    with _loading(f"FLASK_APP={name}"):
        from flask.cli import ScriptInfo, load_dotenv

        os.environ["FLASK_RUN_FROM_CLI"] = "true"  # as `flask` does: `app.run()` in a script starts no server then
        load_dotenv()
        context.with_resource(ScriptInfo(app_import_path=name).load_app().app_context())
    return _of_flask(context)


def _flask_command(context: click.Context) -> Any:
    """What `flask sesmail` knows of its application, or None."""
    flask_cli = sys.modules.get("flask.cli")
    return context.find_object(flask_cli.ScriptInfo) if flask_cli else None


def _of_flask(context: click.Context) -> str:
    app = flask_app()
    if app is None:
        app = _flask_command(context).load_app()
        context.with_resource(app.app_context())
    return f"Flask application {app.name}"


def _stand_alone() -> str:
    from sesmail.celery.standalone import app

    app.set_default()
    return "stand-alone: celeryconfig.py here and the environment"


@contextmanager
def _loading(what: str) -> Iterator[None]:
    """The folder comes first on Python's path, as for `celery -A`; what goes wrong becomes a line that says so."""
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        yield
    except SesmailError:
        raise
    except Exception as error:
        said = str(error).rstrip(".")
        raise ConfigurationError(
            f"{what} cannot be loaded ({type(error).__name__}: {said}). It was looked for in {folder} and on Python's "
            "path. Nothing was done."
        ) from error
