"""From what a request says to valid submissions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from seslocal.api.requests import templates, validation
from seslocal.errors import invalid
from seslocal.message import mime
from seslocal.message.rendering import RenderingError
from seslocal.message.submission import Attachment, Content, Submission

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from email.message import EmailMessage

    from seslocal.account.account import Account
    from seslocal.account.templates import Template
    from seslocal.api.call import Call

_ADDRESS_HEADERS = frozenset({"from", "sender", "to", "cc", "bcc", "reply-to"})
TRANSFER_ENCODINGS = ("BASE64", "QUOTED_PRINTABLE", "SEVEN_BIT")

Recipients = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
"""To, Cc and Bcc as bare addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A template filled in, or the reason why it could not be."""

    name: str
    content: Content
    failure: str | None = None


def parse_send_email(account: Account, call: Call) -> Submission:
    """The email that a SendEmail request asks for."""
    content = validation.mapping(validation.required(call.body, "Content"), "Content")
    given = [name for name in ("Simple", "Raw", "Template") if content.get(name) is not None]
    if len(given) != 1:
        raise invalid("Content must have exactly one of Simple, Raw and Template.")
    part = validation.mapping(content[given[0]], given[0])
    if given == ["Raw"]:
        return _raw(call, part)
    if given == ["Template"]:
        return _templated(call, call.body, render(account, part))
    return addressed(call, call.body, _simple(part))


def _on_behalf(body: Mapping[str, Any], sender: str) -> dict[str, Any]:
    """For which tenant, as whose identities, and what is to be told of it."""
    tenant, feedback = body.get("TenantName"), body.get("FeedbackForwardingEmailAddress")
    address = validation.address(validation.text(feedback, "FeedbackForwardingEmailAddress")) if feedback else sender
    named = ((sender, "FromEmailAddressIdentityArn"), (address, "FeedbackForwardingEmailAddressIdentityArn"))
    return {
        "tenant": None if tenant is None else validation.text(tenant, "TenantName"),
        "untracked": _untracked(body),
        "sent_as": tuple((each, validation.text(body[name], name)) for each, name in named if body.get(name)),
    }


def parse_bulk_entry(account: Account, call: Call, template: Mapping[str, Any], entry: Any) -> Submission:
    """The email of one entry of a SendBulkEmail request, by the template that all entries share."""
    entry = validation.mapping(entry, "BulkEmailEntries")
    content = validation.mapping(entry.get("ReplacementEmailContent"), "ReplacementEmailContent")
    replacement = validation.mapping(content.get("ReplacementTemplate"), "ReplacementTemplate")
    rendered = render(account, template, templates.data_of(replacement.get("ReplacementTemplateData")))
    headers = _merged(rendered.content.headers, validation.headers(entry.get("ReplacementHeaders")))
    tags = _merged_tags(call.body.get("DefaultEmailTags"), entry.get("ReplacementTags"))
    body = dict(call.body) | {"Destination": validation.required(entry, "Destination")}
    submission = _templated(call, body, replace(rendered, content=replace(rendered.content, headers=headers)))
    return replace(submission, tags=tags)


def _untracked(body: Mapping[str, Any]) -> frozenset[str]:
    overrides = validation.mapping(body.get("ConfigurationOverrides"), "ConfigurationOverrides")
    tracking = validation.mapping(overrides.get("Tracking"), "Tracking")
    named = {"open": "OpenTrackingEnabled", "click": "ClickTrackingEnabled"}
    said = {kind: tracking[name] for kind, name in named.items() if tracking.get(name) is not None}
    return frozenset(
        kind
        for kind, value in said.items()
        if validation.one_of(value, named[kind], ("ENABLED", "DISABLED")) == "DISABLED"
    )


def _simple(simple: Mapping[str, Any]) -> Content:
    parts = validation.mapping(validation.required(simple, "Body"), "Body")
    content = Content(
        subject=_data(validation.required(simple, "Subject"), "Subject"),
        text=_data(parts["Text"], "Text") if parts.get("Text") else None,
        html=_data(parts["Html"], "Html") if parts.get("Html") else None,
        headers=validation.headers(simple.get("Headers")),
        attachments=_attachments(simple.get("Attachments")),
    )
    if content.text is None and content.html is None:
        raise invalid("Message body must have Text, Html or both.")
    return content


def _raw(call: Call, raw: Mapping[str, Any]) -> Submission:
    data = validation.blob(validation.required(raw, "Data"), "Data")
    validation.check_size(len(data))
    source = call.body.get("FromEmailAddress")
    submission = mime_submission(
        data,
        source=validation.text(source, "FromEmailAddress") if source else None,
        recipients=destination(call.body.get("Destination")),
        tags=validation.tags(call.body.get("EmailTags")),
        configuration_set=validation.configuration_set_name(call.body.get("ConfigurationSetName")),
    )
    on_behalf = _on_behalf(call.body, submission.sender)
    return replace(submission, operation=call.action, source_ip=call.source_ip, **on_behalf)


def _templated(call: Call, body: Mapping[str, Any], rendered: Rendered) -> Submission:
    submission = addressed(call, body, rendered.content)
    return replace(submission, template_name=rendered.name, rendering_failure=rendered.failure)


def addressed(call: Call, body: Mapping[str, Any], content: Content) -> Submission:
    """The envelope around a content that SES builds."""
    source = validation.text(validation.required(body, "FromEmailAddress"), "FromEmailAddress")
    to, cc, bcc = destination(body.get("Destination"))
    validation.check_recipients(len(to) + len(cc) + len(bcc))
    validation.check_size(content.size_bytes)
    sender = validation.address(source)
    return Submission(
        operation=call.action,
        source=source,
        sender=sender,
        **_on_behalf(body, sender),
        to=to,
        cc=cc,
        bcc=bcc,
        reply_to=validation.addresses(body.get("ReplyToAddresses"), "ReplyToAddresses"),
        written=_written(body),
        content=content,
        tags=validation.tags(body.get("EmailTags")),
        configuration_set=validation.configuration_set_name(body.get("ConfigurationSetName")),
        source_ip=call.source_ip,
    )


def mime_submission(
    data: bytes,
    *,
    source: str | None,
    recipients: Recipients,
    tags: dict[str, str],
    configuration_set: str | None,
) -> Submission:
    """A MIME message with its envelope; tags given in the call replace those in its X-SES-MESSAGE-TAGS."""
    message = mime.parse_headers(data)
    validation.check_headers_once(message.keys())
    validation.check_mailboxes(value for name, value in message.raw_items() if name.lower() in _ADDRESS_HEADERS)
    for file_name in mime.file_names(data):
        validation.file_name(file_name)
    source = source or str(message.get("From") or "")
    if not source:
        raise invalid("Missing required header 'From'.")
    to, cc, bcc = recipients if any(recipients) else _recipients_in(message)
    validation.check_recipients(len(to) + len(cc) + len(bcc))
    return Submission(
        operation="SendRawEmail",
        source=source,
        sender=validation.address(source),
        to=to,
        cc=cc,
        bcc=bcc,
        content=Content(
            subject=str(message.get("Subject") or ""),
            headers=tuple((name, str(value)) for name, value in message.items()),
            raw=data,
        ),
        tags=tags or _tags_in(message),
        configuration_set=configuration_set
        or validation.configuration_set_name(_text_header(message, "X-SES-CONFIGURATION-SET")),
    )


def render(account: Account, given: Mapping[str, Any], data: Mapping[str, Any] | None = None) -> Rendered:
    """A kept or inline template with the call's data, over which an entry's own data goes."""
    template = _template(account, given)
    everything = templates.data_of(given.get("TemplateData")) | dict(data or {})
    headers = validation.headers(given.get("Headers"), "content.template.headers")
    attachments = _attachments(given.get("Attachments"))
    try:
        content, failure = template.rendered(everything), None
    except RenderingError as error:
        content, failure = Content(subject=template.subject), str(error)
    return Rendered(
        name=template.name, content=replace(content, headers=headers, attachments=attachments), failure=failure
    )


def destination(given: Any) -> Recipients:
    """To, Cc and Bcc as bare addresses."""
    fields = validation.mapping(given, "Destination")
    return (
        validation.addresses(fields.get("ToAddresses"), "ToAddresses"),
        validation.addresses(fields.get("CcAddresses"), "CcAddresses"),
        validation.addresses(fields.get("BccAddresses"), "BccAddresses"),
    )


def _written(body: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The headers of the addresses, which have been checked."""
    lists = validation.mapping(body.get("Destination"), "Destination")
    given = (
        ("To", lists.get("ToAddresses")),
        ("Cc", lists.get("CcAddresses")),
        ("Reply-To", body.get("ReplyToAddresses")),
    )
    return tuple((name, tuple(addresses or ())) for name, addresses in given)


def _merged(default: Sequence[tuple[str, str]], own: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    replaced = {name.lower() for name, _ in own}
    return (*(header for header in default if header[0].lower() not in replaced), *own)


def _merged_tags(default: Any, own: Any) -> dict[str, str]:
    return validation.tags(default) | validation.tags(own)


def _template(account: Account, given: Mapping[str, Any]) -> Template:
    if given.get("TemplateContent") is not None:
        return templates.template_of(given["TemplateContent"])
    name = given.get("TemplateName") or str(given.get("TemplateArn") or "").rpartition("/")[2]
    if not name:
        raise invalid("Template must have TemplateName, TemplateArn or TemplateContent.")
    return account.template(validation.text(name, "TemplateName"))


def _attachments(given: Any) -> tuple[Attachment, ...]:
    return tuple([_attachment(one) for one in validation.items(given, "Attachments")])


def _attachment(given: Any) -> Attachment:
    given = validation.mapping(given, "Attachments")
    content_id = given.get("ContentId")
    encoding = given.get("ContentTransferEncoding")
    if encoding is not None:
        validation.one_of(encoding, "contentTransferEncoding", TRANSFER_ENCODINGS)
    return Attachment(
        filename=validation.file_name(validation.up_to(255, validation.required(given, "FileName"), "FileName")),
        content_type=validation.up_to(78, given.get("ContentType") or "application/octet-stream", "ContentType"),
        content=validation.blob(validation.required(given, "RawContent"), "RawContent"),
        disposition=validation.one_of(
            given.get("ContentDisposition") or "ATTACHMENT", "contentDisposition", ("ATTACHMENT", "INLINE")
        ),
        content_id=None if content_id is None else validation.up_to(78, content_id, "ContentId"),
    )


def _data(given: Any, field: str) -> str:
    return validation.text(validation.required(validation.mapping(given, field), "Data"), field)


def _recipients_in(message: EmailMessage) -> Recipients:
    to, cc, bcc = (_addresses_in(message, name) for name in ("To", "Cc", "Bcc"))
    return to, cc, bcc


def _addresses_in(message: EmailMessage, name: str) -> tuple[str, ...]:
    found = [one.addr_spec for header in message.get_all(name) or () for one in header.addresses]
    return tuple(validation.address(one) for one in found)


def _text_header(message: EmailMessage, name: str) -> str | None:
    value = message.get(name)
    return None if value is None else str(value).strip()


def _tags_in(message: EmailMessage) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in (_text_header(message, "X-SES-MESSAGE-TAGS") or "").split(",")]
    return validation.tags([{"Name": name.strip(), "Value": value.strip()} for name, _, value in pairs if name.strip()])
