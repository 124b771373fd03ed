"""`uvicorn --factory sesmail.simulator.app:create_app`; what it is stands in `seslocal.app`."""

from __future__ import annotations

from seslocal.app import create_app

__all__ = ["create_app"]
