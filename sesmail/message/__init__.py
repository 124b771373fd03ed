"""An email as a value: checked against SES's limits from birth, and its written form."""

from __future__ import annotations

from sesmail.message.alternative import Alternative
from sesmail.message.attachment import Attachment
from sesmail.message.email import Email
from sesmail.message.fields import ID_TAG, LIST_TAG, Lane
from sesmail.message.headers import ID_HEADER, MAX_HEADERS

__all__ = ["ID_HEADER", "ID_TAG", "LIST_TAG", "MAX_HEADERS", "Alternative", "Attachment", "Email", "Lane"]
