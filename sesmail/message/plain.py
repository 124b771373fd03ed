"""Plain text from HTML, for readers and filters that look at nothing else."""

from __future__ import annotations

from sesmail.errors import InvalidEmail, MissingExtra

AUTO = "auto"
"""Given as a text, it stands for the one that the HTML makes."""


def plain_text(page: str) -> str:
    """What an HTML page says, its links behind what they are called: `[your order](https://example.com/orders/1)`.

    By inscriptis, which lays lists and tables out as they look; html2text and its Markdown would be under the GPL.
    Raises `MissingExtra`, and `InvalidEmail` for what cannot be read as HTML.
    """
    try:
        from inscriptis import get_text  # noqa: PLC0415  optional
        from inscriptis.model.config import ParserConfig  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra("No text can be made from HTML. Install it with `pip install 'sesmail[text]'`.") from error
    try:
        text: str = get_text(page, ParserConfig(display_links=True, display_images=True))
    except Exception as error:  # noqa: BLE001  whatever the parser stumbles over
        raise InvalidEmail("text", f"cannot be made from the HTML ({type(error).__name__}): give it") from None
    return text.strip() + "\n"
