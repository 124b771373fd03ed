"""The former place of `sesmail.doors.prometheus`, which deployed functions and servers name."""

from __future__ import annotations

from sesmail.doors.prometheus import SesmailCollector, registry, serve, text

__all__ = ["SesmailCollector", "registry", "serve", "text"]
