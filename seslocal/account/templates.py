"""An email template, and what becomes of it with a reader's data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seslocal.message import rendering
from seslocal.message.submission import Content

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A template's parts; an inline one has no name."""

    name: str = ""
    subject: str = ""
    text: str | None = None
    html: str | None = None
    created_at: float = 0.0

    def content_as_json(self) -> dict[str, str]:
        """As the API shows it."""
        parts = {"Subject": self.subject, "Text": self.text, "Html": self.html}
        return {name: value for name, value in parts.items() if value is not None}

    def rendered(self, data: Mapping[str, Any]) -> Content:
        """The content for one reader; raises RenderingError."""
        return Content(
            subject=rendering.render(self.subject, data),
            text=None if self.text is None else rendering.render(self.text, data),
            html=None if self.html is None else rendering.render(self.html, data),
        )
