"""Every answer has the shape that botocore's model gives it: no member unknown, missing, or of another type."""

from __future__ import annotations

import json
import time
from email import message_from_bytes
from email.policy import default
from urllib.request import urlopen

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape

from seslocal import Simulator
from seslocal.api.json_api import OPERATIONS
from tests.contract.simulator.simulator_client import client_for, send, simple
from tests.services import LOWEST_VERSIONS

TYPES = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "double": (int, float),
    "timestamp": (int, float),
}
TEMPLATE = {"Subject": "Hello {{name}}", "Text": "Dear {{name}}", "Html": "<p>Dear {{name}}</p>"}
DESTINATION = {
    "Enabled": True,
    "MatchingEventTypes": ["SEND", "BOUNCE"],
    "CloudWatchDestination": {
        "DimensionConfigurations": [
            {"DimensionName": "a", "DimensionValueSource": "MESSAGE_TAG", "DefaultDimensionValue": "b"}
        ]
    },
}


def differences(value, shape: Shape, path: str = "") -> list[str]:
    if isinstance(shape, StructureShape):
        return _differences_of_structure(value, shape, path)
    if isinstance(shape, ListShape):
        return [line for n, one in enumerate(value) for line in differences(one, shape.member, f"{path}[{n}]")]
    if isinstance(shape, MapShape):
        return [line for key, one in value.items() for line in differences(one, shape.value, f"{path}.{key}")]
    if not isinstance(value, TYPES[shape.type_name]):
        return [f"{path} is {value!r}, not a {shape.type_name}"]
    allowed = shape.metadata.get("enum")
    return [f"{path} is {value!r}, none of {allowed}"] if allowed and value not in allowed else []


def _differences_of_structure(value, shape: StructureShape, path: str) -> list[str]:
    unknown = [f"{path}.{name} is unknown" for name in value if name not in shape.members]
    missing = [f"{path}.{name} is missing" for name in shape.required_members if name not in value]
    known = [(name, one) for name, one in value.items() if name in shape.members]
    return (
        unknown
        + missing
        + [line for name, one in known for line in differences(one, shape.members[name], f"{path}.{name}")]
    )


@pytest.fixture
def checked(ses, sesv2):
    """The client; every answer is compared with the model, and its operation noted."""
    answered: dict[str, list[str]] = {}

    def compare(http_response, model, **_rest):
        if http_response.status_code < 300:
            body = json.loads(http_response.content or b"{}")
            answered.setdefault(model.name, []).extend(differences(body, model.output_shape))

    sesv2.meta.events.register("after-call.sesv2", compare, unique_id="compare")
    yield sesv2, answered
    sesv2.meta.events.unregister("after-call.sesv2", unique_id="compare")


@pytest.mark.skipif(LOWEST_VERSIONS, reason="an older model knows fewer members of answers")
def test_every_operation_answers_as_the_model_says(checked):
    client, answered = checked
    walk(client)
    assert {name: lines for name, lines in answered.items() if lines} == {}
    assert set(answered) == {action for _method, _path, action, _handler in OPERATIONS}


def walk(client) -> None:
    """Use every operation, in an order in which all succeed."""
    send(client, tag="one")
    client.get_account()
    client.put_account_sending_attributes(SendingEnabled=True)
    walk_templates(client)
    walk_suppression(client)
    walk_configuration_sets(client)
    walk_identities(client)
    walk_tenants(client)


def walk_tenants(client) -> None:
    made = client.create_tenant(TenantName="shop", SuppressionAttributes={"SuppressionScope": "TENANT"})
    client.put_tenant_suppression_attributes(TenantName="shop", SuppressedReasons=["BOUNCE"])
    assert client.get_tenant(TenantName="shop")["Tenant"]["SuppressionAttributes"] == {
        "SuppressionScope": "TENANT",
        "SuppressedReasons": ["BOUNCE"],
    }
    named = {"TenantName": "shop", "ResourceArn": "arn:aws:ses:us-east-1:123456789012:identity/example.com"}
    client.create_tenant_resource_association(**named)
    client.list_tenants()
    client.list_tenant_resources(TenantName="shop")
    client.delete_tenant_resource_association(**named)
    client.update_reputation_entity_customer_managed_status(
        ReputationEntityType="RESOURCE", ReputationEntityReference=made["TenantArn"], SendingStatus="DISABLED"
    )
    client.delete_tenant(TenantName="shop")


def walk_templates(client) -> None:
    client.create_email_template(TemplateName="news", TemplateContent=TEMPLATE)
    client.update_email_template(TemplateName="news", TemplateContent=TEMPLATE)
    assert client.get_email_template(TemplateName="news")["TemplateContent"] == TEMPLATE
    assert client.list_email_templates()["TemplatesMetadata"][0]["TemplateName"] == "news"
    rendered = client.test_render_email_template(TemplateName="news", TemplateData='{"name": "Ann"}')[
        "RenderedTemplate"
    ]
    assert "Subject: Hello Ann" in rendered
    assert "<p>Dear Ann</p>" in rendered
    send(client, Content={"Template": {"TemplateName": "news", "TemplateData": '{"name": "Ann"}'}})
    client.send_bulk_email(
        FromEmailAddress="news@example.com",
        DefaultContent={"Template": {"TemplateName": "news", "TemplateData": "{}"}},
        BulkEmailEntries=[{"Destination": {"ToAddresses": ["a@example.org"]}}],
    )
    client.delete_email_template(TemplateName="news")


def walk_suppression(client) -> None:
    client.put_suppressed_destination(EmailAddress="Gone@example.org", Reason="BOUNCE")
    found = client.get_suppressed_destination(EmailAddress="gone@example.org")["SuppressedDestination"]
    assert abs(found["LastUpdateTime"].timestamp() - time.time()) < 60
    assert len(client.list_suppressed_destinations(Reasons=["BOUNCE"])["SuppressedDestinationSummaries"]) == 1
    assert client.list_suppressed_destinations(Reasons=["COMPLAINT"])["SuppressedDestinationSummaries"] == []
    client.delete_suppressed_destination(EmailAddress="gone@example.org")
    with pytest.raises(client.exceptions.NotFoundException):
        client.get_suppressed_destination(EmailAddress="gone@example.org")
    client.put_account_suppression_attributes(SuppressedReasons=["COMPLAINT"])
    assert client.get_account()["SuppressionAttributes"] == {"SuppressedReasons": ["COMPLAINT"]}


def walk_configuration_sets(client) -> None:
    client.create_configuration_set(
        ConfigurationSetName="alpha",
        SuppressionOptions={"SuppressedReasons": []},
        DeliveryOptions={"TlsPolicy": "REQUIRE"},
    )
    with pytest.raises(client.exceptions.AlreadyExistsException):
        client.create_configuration_set(ConfigurationSetName="alpha")
    client.put_configuration_set_sending_options(ConfigurationSetName="alpha", SendingEnabled=False)
    with pytest.raises(client.exceptions.SendingPausedException):
        send(client, ConfigurationSetName="alpha")
    client.put_configuration_set_suppression_options(ConfigurationSetName="alpha", SuppressedReasons=["BOUNCE"])
    client.put_configuration_set_delivery_options(ConfigurationSetName="alpha", TlsPolicy="REQUIRE")
    client.put_configuration_set_reputation_options(ConfigurationSetName="alpha", ReputationMetricsEnabled=True)
    client.put_configuration_set_tracking_options(ConfigurationSetName="alpha", CustomRedirectDomain="t.example.com")
    client.put_configuration_set_archiving_options(ConfigurationSetName="alpha")
    vdm = {"DashboardOptions": {"EngagementMetrics": "ENABLED"}}
    client.put_configuration_set_vdm_options(ConfigurationSetName="alpha", VdmOptions=vdm)
    found = client.get_configuration_set(ConfigurationSetName="alpha")
    assert found["VdmOptions"] == vdm
    assert found["SendingOptions"] == {"SendingEnabled": False}
    assert found["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}
    client.create_configuration_set_event_destination(
        ConfigurationSetName="alpha", EventDestinationName="metrics", EventDestination=DESTINATION
    )
    client.update_configuration_set_event_destination(
        ConfigurationSetName="alpha", EventDestinationName="metrics", EventDestination=DESTINATION | {"Enabled": False}
    )
    (destination,) = client.get_configuration_set_event_destinations(ConfigurationSetName="alpha")["EventDestinations"]
    assert destination == DESTINATION | {"Name": "metrics", "Enabled": False}
    client.delete_configuration_set_event_destination(ConfigurationSetName="alpha", EventDestinationName="metrics")
    assert client.list_configuration_sets()["ConfigurationSets"] == ["alpha", "simulator"]
    client.delete_configuration_set(ConfigurationSetName="alpha")


def walk_identities(client) -> None:
    assert client.create_email_identity(EmailIdentity="example.net")["VerifiedForSendingStatus"] is False
    with pytest.raises(client.exceptions.MessageRejected):
        send(client, FromEmailAddress="news@example.net")
    assert client.get_email_identity(EmailIdentity="example.net")["VerificationStatus"] == "PENDING"
    assert [one["IdentityName"] for one in client.list_email_identities()["EmailIdentities"]] == ["example.net"]
    client.put_email_identity_dkim_attributes(EmailIdentity="example.net", SigningEnabled=True)
    client.put_email_identity_mail_from_attributes(EmailIdentity="example.net", MailFromDomain="mail.example.net")
    policy = {"EmailIdentity": "example.net", "PolicyName": "shop"}
    said = '{"Statement": [{"Effect": "Allow", "Action": "ses:SendEmail", "Principal": "*", "Resource": "*"}]}'
    client.create_email_identity_policy(**policy, Policy=said)
    client.update_email_identity_policy(**policy, Policy=said)
    assert client.get_email_identity_policies(EmailIdentity="example.net")["Policies"] == {"shop": said}
    client.delete_email_identity_policy(**policy)
    client.delete_email_identity(EmailIdentity="example.net")
    assert send(client, FromEmailAddress="news@example.net")


def test_an_identity_is_verified_by_the_test_that_needs_it(ses, sesv2):
    sesv2.create_email_identity(EmailIdentity="news@example.net")
    ses.control("PUT", "/_sim/identities/news@example.net", {"verified": True})
    assert sesv2.get_email_identity(EmailIdentity="news@example.net")["VerifiedForSendingStatus"] is True
    assert send(sesv2, FromEmailAddress="News <news@example.net>")


def test_where_everyone_may_send_each_domain_is_found_and_verified_until_somebody_owns_it(ses, sesv2):
    assert sesv2.get_email_identity(EmailIdentity="example.net")["VerificationStatus"] == "SUCCESS"
    sesv2.create_email_identity(EmailIdentity="example.net")
    assert sesv2.get_email_identity(EmailIdentity="example.net")["VerificationStatus"] == "PENDING"
    with Simulator(identities=["example.com"]) as strict:
        client = client_for(strict)
        with pytest.raises(client.exceptions.NotFoundException):
            client.get_email_identity(EmailIdentity="example.net")


def test_lists_come_in_pages(ses, sesv2):
    for number in range(5):
        sesv2.put_suppressed_destination(EmailAddress=f"r{number}@example.org", Reason="BOUNCE")
    token, found = None, []
    while True:
        more = {"NextToken": token} if token else {}
        page = sesv2.list_suppressed_destinations(PageSize=2, **more)
        found += [one["EmailAddress"] for one in page["SuppressedDestinationSummaries"]]
        token = page.get("NextToken")
        if token is None:
            break
    assert found == [f"r{number}@example.org" for number in range(5)]


def test_an_older_client_finds_the_lists_where_they_were(ses, sesv2):
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(ses.url).netloc)
    signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=x", "X-Amz-Date": "20261121T000000Z"}
    connection.request("GET", "/v2/email/configuration-sets?PageSize=10", headers=signed)
    assert json.loads(connection.getresponse().read()) == {"ConfigurationSets": ["simulator"]}
    connection.request("GET", "/v2/email/identities", headers=signed)
    assert json.loads(connection.getresponse().read()) == {"EmailIdentities": []}
    connection.close()


def test_a_bulk_call_succeeds_while_each_entry_has_its_own_fate(ses, sesv2):
    ses.change(rate=3)
    sesv2.create_email_template(TemplateName="news", TemplateContent=TEMPLATE)
    entries = [
        {
            "Destination": {"ToAddresses": [address]},
            "ReplacementEmailContent": {
                "ReplacementTemplate": {"ReplacementTemplateData": json.dumps({"name": f"r{n}"})}
            },
            "ReplacementTags": [{"Name": "sesmail-id", "Value": f"s{n}"}],
            "ReplacementHeaders": [{"Name": "List-Unsubscribe", "Value": f"<https://example.com/{n}>"}],
        }
        for n, address in enumerate(
            ["a@example.org", "not an address", "b@example.org", "c@example.org", "d@example.org"]
        )
    ]
    answer = sesv2.send_bulk_email(
        FromEmailAddress="news@example.com",
        DefaultContent={"Template": {"TemplateName": "news", "TemplateData": '{"name": "reader"}'}},
        DefaultEmailTags=[{"Name": "campaign", "Value": "nov"}],
        BulkEmailEntries=entries,
    )
    statuses = [result["Status"] for result in answer["BulkEmailEntryResults"]]
    assert statuses == ["SUCCESS", "INVALID_PARAMETER", "SUCCESS", "SUCCESS", "ACCOUNT_THROTTLED"]
    assert answer["BulkEmailEntryResults"][4]["Error"] == "Maximum sending rate exceeded."
    messages = ses.messages()
    assert [message["subject"] for message in messages] == ["Hello r0", "Hello r2", "Hello r3"]
    assert messages[0]["tags"] == {"campaign": "nov", "sesmail-id": "s0"}
    assert ses.report()["refused"] == {"invalid": 1, "rate": 1}


def test_an_operation_that_is_not_served_is_refused_in_words(sesv2):
    with pytest.raises(sesv2.exceptions.ClientError, match="does not serve this operation: /v2/email/contact-lists"):
        sesv2.list_contact_lists()


@pytest.mark.parametrize("name", ["a/b", "a b", "ü", "50%", "a/render"])
def test_a_name_may_hold_what_a_path_may_not(sesv2, name):
    sesv2.create_email_template(TemplateName=name, TemplateContent=TEMPLATE)
    assert sesv2.get_email_template(TemplateName=name)["TemplateName"] == name
    rendered = sesv2.test_render_email_template(TemplateName=name, TemplateData='{"name": "Ann"}')
    assert "Hello Ann" in rendered["RenderedTemplate"]
    sesv2.delete_email_template(TemplateName=name)
    sesv2.put_suppressed_destination(EmailAddress="a/b+c@example.org", Reason="BOUNCE")
    sesv2.get_suppressed_destination(EmailAddress="a/b+c@example.org")
    sesv2.delete_suppressed_destination(EmailAddress="a/b+c@example.org")


def test_a_template_that_is_missing_is_named(ses, sesv2):
    with pytest.raises(sesv2.exceptions.NotFoundException, match="Template nope does not exist"):
        send(sesv2, Content={"Template": {"TemplateName": "nope"}})


def test_an_inline_template_needs_no_name(ses, sesv2):
    send(sesv2, Content={"Template": {"TemplateContent": TEMPLATE, "TemplateData": '{"name": "Bo"}'}})
    assert ses.messages()[0]["subject"] == "Hello Bo"


def test_rendering_without_an_attribute_is_refused_in_ses_words(ses, sesv2):
    sesv2.create_email_template(TemplateName="news", TemplateContent=TEMPLATE)
    with pytest.raises(
        sesv2.exceptions.BadRequestException, match="Attribute 'name' is not present in the rendering data"
    ):
        sesv2.test_render_email_template(TemplateName="news", TemplateData="{}")


def test_an_attachment_and_odd_characters_survive(ses, sesv2):
    content = simple(
        "Grüße 🎉",
        subject="Übersicht",
        Attachments=[{"FileName": "bericht.pdf", "RawContent": b"\x00\x01", "ContentType": "application/pdf"}],
    )
    message_id = send(sesv2, Content=content, ReplyToAddresses=["answers@example.com"])
    shown = ses.control("GET", f"/_sim/messages/{message_id}")
    assert shown["text"] == "Grüße 🎉"
    assert ["Reply-To", "answers@example.com"] in shown["headers"]
    assert shown["attachments"] == [{"filename": "bericht.pdf", "content_type": "application/pdf", "size": 2}]


def test_an_email_among_the_files_of_one_that_ses_puts_together_can_be_opened(ses, sesv2):
    forwarded = {"FileName": "a.eml", "RawContent": b"Subject: inner\r\n\r\nHi.", "ContentType": "message/rfc822"}
    message_id = send(sesv2, Content=simple(Attachments=[forwarded]))
    with urlopen(f"{ses.url}/_sim/messages/{message_id}/source") as answer:
        message = message_from_bytes(answer.read(), policy=default)
    (part,) = message.iter_attachments()
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("message/rfc822", "8bit")
    assert part.get_content()["Subject"] == "inner"


def test_a_mail_in_a_character_set_that_nobody_knows_is_shown(ses, sesv2):
    raw = "From: a@example.com\r\nTo: b@example.org\r\nContent-Type: text/plain; charset=klingon\r\n\r\nGrüße"
    message_id = sesv2.send_email(Content={"Raw": {"Data": raw.encode()}})["MessageId"]
    assert ses.control("GET", f"/_sim/messages/{message_id}")["text"] == "Grüße"
