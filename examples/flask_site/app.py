"""A Flask application made by a factory, with Celery as in Flask's guide; only the view is about email."""

from celery import Celery, Task
from flask import Flask, request

from sesmail import send_ses_email


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["CELERY"] = {
        "broker_url": "redis://127.0.0.1:6379/0",  # the ledger is kept there, too
        "sesmail_from_email": "shop@example.com",
    }
    celery_init_app(app)

    @app.post("/order")
    def order() -> dict[str, str]:
        result = send_ses_email.delay(request.form["to"], "Your order", "It is on its way.")
        return {"id": result.id}

    return app


def celery_init_app(app: Flask) -> Celery:
    class FlaskTask(Task):
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app
    return celery_app
