"""Which attachments are shown with the text, and which are files beside it."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sesmail.message.fields import fill

if TYPE_CHECKING:
    from sesmail.message.attachment import Attachment

_USED = re.compile(r"""cid:([^"'\s<>)]+)""", re.IGNORECASE)


def with_dispositions(attachments: tuple[Attachment, ...], page: str | None) -> tuple[Attachment, ...]:
    """The same, each of which says how it is shown: inline where it says so, or where the HTML uses its content id.

    A content id alone means nothing: Gmail gives one to every file.
    """
    used = {unquote(found) for found in _USED.findall(html.unescape(page))} if page and attachments else set()
    return tuple(_shown(each, used) for each in attachments)


def _shown(attachment: Attachment, used: set[str]) -> Attachment:
    wanted = "inline" if attachment.content_id in used else attachment.disposition or "attachment"
    if wanted == attachment.disposition:
        return attachment
    shown = object.__new__(type(attachment))
    names = ("filename", "content", "content_type", "content_id", "headers")
    fill(shown, **{name: getattr(attachment, name) for name in names}, disposition=wanted)
    return shown
