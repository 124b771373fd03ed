"""Templates and their data, as a call gives them."""

from __future__ import annotations

from typing import Any

from seslocal.account.templates import Template
from seslocal.api.requests import validation
from seslocal.errors import invalid

MAX_TEMPLATE_BYTES = 500 * 1024


def template_of(given: Any) -> Template:
    """A template's content as a call gives it."""
    parts = {
        name: validation.text(value, name)
        for name, value in validation.mapping(given, "TemplateContent").items()
        if name in {"Subject", "Text", "Html"} and value is not None
    }
    if not parts.get("Subject") or not (parts.get("Text") or parts.get("Html")):
        raise invalid("A template must have Subject, and Text or Html.")
    if sum(len(part.encode()) for part in parts.values()) > MAX_TEMPLATE_BYTES:
        raise invalid("The template is larger than 500 KB.")
    return Template(subject=parts["Subject"], text=parts.get("Text"), html=parts.get("Html"))


def data_of(given: Any) -> dict[str, Any]:
    """A reader's data: an object, as JSON in a string."""
    text = validation.text(given or "{}", "TemplateData")
    if len(text) > validation.MAX_TEMPLATE_DATA:
        raise validation.constraint("templateData", f"have length less than or equal to {validation.MAX_TEMPLATE_DATA}")
    data = validation.json_value(text, "Template data")
    if not isinstance(data, dict):
        raise invalid("Template data must be a JSON object.")
    return data
