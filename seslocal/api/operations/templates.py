"""What calls do with the templates that the account keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from seslocal import clock
from seslocal.api.requests import validation
from seslocal.api.requests.listing import page
from seslocal.api.requests.templates import data_of, template_of
from seslocal.errors import Kind, Refused, invalid
from seslocal.message import mime
from seslocal.message.rendering import RenderingError

if TYPE_CHECKING:
    from seslocal.api.call import Call, Operation
    from seslocal.ses import Ses

MAX_TEMPLATES = 20_000


def create(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateEmailTemplate."""
    name = validation.text(validation.required(call.body, "TemplateName"), "TemplateName")
    if not name:
        raise validation.constraint("templateName", "have length greater than or equal to 1")
    if name in ses.account.templates:
        raise Refused(Kind.ALREADY_EXISTS, f"Template {name} already exists.")
    if len(ses.account.templates) >= MAX_TEMPLATES:
        raise Refused(Kind.LIMIT_EXCEEDED, f"An account has at most {MAX_TEMPLATES} templates.")
    ses.account.templates[name] = replace(
        template_of(call.body.get("TemplateContent")), name=name, created_at=clock.now()
    )
    return {}


def update(ses: Ses, call: Call) -> dict[str, Any]:
    """UpdateEmailTemplate."""
    before = ses.account.template(call.path["TemplateName"])
    after = template_of(call.body.get("TemplateContent"))
    ses.account.templates[before.name] = replace(after, name=before.name, created_at=before.created_at)
    return {}


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetEmailTemplate."""
    found = ses.account.template(call.path["TemplateName"])
    return {"TemplateName": found.name, "TemplateContent": found.content_as_json(), "Tags": []}


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteEmailTemplate."""
    del ses.account.templates[ses.account.template(call.path["TemplateName"]).name]
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListEmailTemplates."""
    found, more = page(sorted(ses.account.templates.values(), key=lambda template: template.name), call)
    shown = [{"TemplateName": template.name, "CreatedTimestamp": template.created_at} for template in found]
    return {"TemplatesMetadata": shown} | more


def test_render(ses: Ses, call: Call) -> dict[str, Any]:
    """TestRenderEmailTemplate: the whole MIME message."""
    template = ses.account.template(call.path["TemplateName"])
    try:
        content = template.rendered(data_of(validation.required(call.body, "TemplateData")))
    except RenderingError as error:
        raise invalid(str(error)) from error
    return {"RenderedTemplate": mime.build(content).decode("ascii", "replace")}


_TEMPLATE = "/v2/email/templates/{TemplateName:path}"

OPERATIONS: tuple[Operation, ...] = (
    ("POST", "/v2/email/templates", "CreateEmailTemplate", create),
    ("GET", "/v2/email/templates", "ListEmailTemplates", list_all),
    ("GET", _TEMPLATE, "GetEmailTemplate", get),
    ("PUT", _TEMPLATE, "UpdateEmailTemplate", update),
    ("DELETE", _TEMPLATE, "DeleteEmailTemplate", delete),
    ("POST", _TEMPLATE + "/render", "TestRenderEmailTemplate", test_render),
)
