"""Flower, where one runs on this machine: it shows and ends every task."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sesmail.doctor.table import Level, Section

if TYPE_CHECKING:
    from sesmail.doctor.patient import Patient

SECONDS = 1.0
MOST_READ_BYTES = 20_000


@Section("Flower", docs="deployment.md")(
    "flower-open",
    Level.WARNING,
    "Start it with --basic-auth=USER:PASSWORD (FLOWER_BASIC_AUTH), and --address=127.0.0.1 behind a proxy.",
)
def flower_open(of: Patient) -> str | None:
    """A Flower answers without a login: whoever reaches it reads the tasks, and can end workers."""
    if not _answers_as_flower(of.flower_url):
        return None
    return f"Flower at {of.flower_url} lets anybody in: who reaches it reads every task, and can end workers."


def _answers_as_flower(url: str) -> bool:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 5555, timeout=SECONDS)
    try:
        connection.request("GET", f"{where.path.rstrip('/')}/workers")
        response = connection.getresponse()
        return response.status == 200 and b"flower" in response.read(MOST_READ_BYTES).lower()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
