"""`sesmail simulator`: a local SES, which is a package of its own and knows nothing of sesmail."""

from __future__ import annotations

from seslocal.command import simulator

__all__ = ["simulator"]
