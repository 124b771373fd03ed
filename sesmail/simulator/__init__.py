"""A local SES that behaves like SES: its limits, its errors, its events and, on demand, its bad days.

It knows nothing of the rest of sesmail: any program that mails through SES, in any language, can be pointed at it.
"""

from __future__ import annotations

from sesmail.simulator.options import Options
from sesmail.simulator.server import CannotStart, Simulator, serve

__all__ = ["CannotStart", "Options", "Simulator", "serve"]
