"""A call, whichever wire form it came in, and who performs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from seslocal.ses import Ses


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a caller asks for, read from the request."""

    action: str
    handler: Handler
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, list[str]] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    source_ip: str = "127.0.0.1"
    limited: bool = True
    """Whether SES's limit on calls counts it; SNS has other limits, which nobody here comes near."""


Handler = Callable[[Ses, Call], Any]
"""Performs a call: gives what the answer holds, or raises Refused."""

Operation = tuple[str, str, str, Handler]
"""A method, a path, the action that they mean, and who performs it."""
