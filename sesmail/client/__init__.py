"""One application's sesmail: every part, built from its settings when it is first used.

    client = Client(Settings(redis_url="redis://127.0.0.1:6379/3", from_email="shop@example.com"), broker)
    client.send(Email("ann@example.org", "Your receipt", "Thank you."))

A process may hold any number of clients; nothing is shared by them. Celery apps have one each: see
`sesmail.current_client()`.
"""

from sesmail.client.base import NoBroker
from sesmail.client.client import Client
from sesmail.client.part import part

__all__ = ["Client", "NoBroker", "part"]
