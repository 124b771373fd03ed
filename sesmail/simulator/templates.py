"""Email templates kept in the account, and what becomes of one with a reader's data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sesmail.simulator import clock, mime, rendering, validation
from sesmail.simulator.errors import Kind, Refused, invalid
from sesmail.simulator.listing import page
from sesmail.simulator.submission import Content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sesmail.simulator.calls import Call, Handler
    from sesmail.simulator.ses import Ses

MAX_TEMPLATES = 20_000
MAX_TEMPLATE_BYTES = 500 * 1024


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


def create(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateEmailTemplate."""
    name = validation.text(validation.required(call.body, "TemplateName"), "TemplateName")
    if not name:
        raise validation.constraint("templateName", "have length greater than or equal to 1")
    if name in ses.templates:
        raise Refused(Kind.ALREADY_EXISTS, f"Template {name} already exists.")
    if len(ses.templates) >= MAX_TEMPLATES:
        raise Refused(Kind.LIMIT_EXCEEDED, f"An account has at most {MAX_TEMPLATES} templates.")
    ses.templates[name] = replace(parse(call.body.get("TemplateContent")), name=name, created_at=clock.now())
    return {}


def update(ses: Ses, call: Call) -> dict[str, Any]:
    """UpdateEmailTemplate."""
    before = existing(ses, call.path["TemplateName"])
    after = parse(call.body.get("TemplateContent"))
    ses.templates[before.name] = replace(after, name=before.name, created_at=before.created_at)
    return {}


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetEmailTemplate."""
    found = existing(ses, call.path["TemplateName"])
    return {"TemplateName": found.name, "TemplateContent": found.content_as_json(), "Tags": []}


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteEmailTemplate."""
    del ses.templates[existing(ses, call.path["TemplateName"]).name]
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListEmailTemplates."""
    found, more = page(sorted(ses.templates.values(), key=lambda template: template.name), call)
    shown = [{"TemplateName": template.name, "CreatedTimestamp": template.created_at} for template in found]
    return {"TemplatesMetadata": shown} | more


def test_render(ses: Ses, call: Call) -> dict[str, Any]:
    """TestRenderEmailTemplate: the whole MIME message."""
    template = existing(ses, call.path["TemplateName"])
    try:
        content = template.rendered(data_of(validation.required(call.body, "TemplateData")))
    except rendering.RenderingError as error:
        raise invalid(str(error)) from error
    return {"RenderedTemplate": mime.build(content).as_string()}


def existing(ses: Ses, name: str) -> Template:
    """A template by name, or SES's refusal."""
    if name not in ses.templates:
        raise Refused(Kind.TEMPLATE_MISSING, f"Template {name} does not exist.")
    return ses.templates[name]


def parse(given: Any) -> Template:
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


_TEMPLATE = "/v2/email/templates/{TemplateName:path}"

OPERATIONS: tuple[tuple[str, str, str, Handler], ...] = (
    ("POST", "/v2/email/templates", "CreateEmailTemplate", create),
    ("GET", "/v2/email/templates", "ListEmailTemplates", list_all),
    ("GET", _TEMPLATE, "GetEmailTemplate", get),
    ("PUT", _TEMPLATE, "UpdateEmailTemplate", update),
    ("DELETE", _TEMPLATE, "DeleteEmailTemplate", delete),
    ("POST", _TEMPLATE + "/render", "TestRenderEmailTemplate", test_render),
)
