"""The outbox for `unittest`, Django's TestCase included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesmail.testing.outbox import SesOutbox, outbox

if TYPE_CHECKING:
    from unittest import TestCase

    Base = TestCase
else:
    Base = object


class SesmailTestMixin(Base):
    """A new outbox for each test, as `self.ses_outbox`: `class SignUpTest(SesmailTestMixin, TestCase)`."""

    ses_outbox: SesOutbox

    def setUp(self) -> None:
        """Open it. A `setUp` of your own calls this one first, by `super().setUp()`."""
        self.ses_outbox = self.enterContext(outbox())
        super().setUp()
