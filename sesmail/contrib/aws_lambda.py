"""The former place of `sesmail.doors.aws_lambda`, which deployed functions and servers name."""

from __future__ import annotations

from sesmail.doors.aws_lambda import handler, lambda_handler

__all__ = ["handler", "lambda_handler"]
