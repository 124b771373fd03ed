"""Tenants, policies of identities, and how long SES tries: each as AWS documents it."""

from __future__ import annotations

import json

import pytest

from sesmail.simulator import Simulator
from tests.contract.simulator.receiver import Receiver, eventually
from tests.contract.simulator.simulator_client import client_for, send, simple
from tests.services import LOWEST_VERSIONS

pytestmark = pytest.mark.skipif(LOWEST_VERSIONS, reason="an older model of SES knows no tenants")

OURS = "arn:aws:ses:us-east-1:123456789012"
ANOTHERS = "arn:aws:ses:us-east-1:999999999999:identity/example.com"


def tenant(sesv2, name: str, **more) -> str:
    made = sesv2.create_tenant(TenantName=name, **more)
    for resource in ("identity/example.com", "configuration-set/simulator"):
        sesv2.create_tenant_resource_association(TenantName=name, ResourceArn=f"{OURS}:{resource}")
    return made["TenantArn"]


def refusal(sesv2, **more) -> str:
    with pytest.raises(sesv2.exceptions.ClientError) as caught:
        send(sesv2, **more)
    return f"{caught.value.response['Error']['Code']}: {caught.value.response['Error']['Message']}"


def test_an_email_goes_out_for_a_tenant_by_resources_that_are_associated_with_it(ses, sesv2):
    assert refusal(sesv2, TenantName="shop-1") == "NotFoundException: Tenant shop-1 does not exist."
    sesv2.create_tenant(TenantName="shop-1")
    assert "identity/example.com is not associated with tenant shop-1" in refusal(sesv2, TenantName="shop-1")
    sesv2.create_tenant_resource_association(TenantName="shop-1", ResourceArn=f"{OURS}:identity/example.com")
    assert "configuration-set/simulator is not associated" in refusal(sesv2, TenantName="shop-1")
    sesv2.create_tenant_resource_association(TenantName="shop-1", ResourceArn=f"{OURS}:configuration-set/simulator")
    for content in (simple(), {"Raw": {"Data": b"Subject: x\r\n\r\ny"}}):
        send(sesv2, TenantName="shop-1", Content=content)
    assert [message["tenant"] for message in ses.messages()] == ["shop-1", "shop-1"]


def test_a_template_of_the_account_is_a_resource_of_a_tenant_too(sesv2):
    tenant(sesv2, "shop-1")
    sesv2.create_email_template(TemplateName="hello", TemplateContent={"Subject": "Hi {{name}}", "Text": "x"})
    filled = {"Template": {"TemplateName": "hello", "TemplateData": '{"name": "Ann"}'}}
    assert "template/hello is not associated" in refusal(sesv2, TenantName="shop-1", Content=filled)
    sesv2.create_tenant_resource_association(TenantName="shop-1", ResourceArn=f"{OURS}:template/hello")
    send(sesv2, TenantName="shop-1", Content=filled)


def test_a_tenant_is_paused_by_itself_and_goes_on(sesv2):
    arns = {name: tenant(sesv2, name) for name in ("shop-1", "shop-2")}
    pause = {"ReputationEntityType": "RESOURCE", "ReputationEntityReference": arns["shop-1"]}
    sesv2.update_reputation_entity_customer_managed_status(**pause, SendingStatus="DISABLED")
    assert refusal(sesv2, TenantName="shop-1") == "SendingPausedException: Sending paused for this tenant."
    send(sesv2, TenantName="shop-2")
    send(sesv2)
    assert sesv2.get_tenant(TenantName="shop-1")["Tenant"]["SendingStatus"] == "DISABLED"
    sesv2.update_reputation_entity_customer_managed_status(**pause, SendingStatus="REINSTATED")
    send(sesv2, TenantName="shop-1")


def test_tenants_and_their_resources_can_be_listed_and_taken_away(sesv2):
    for name in ("shop-2", "shop-1"):
        tenant(sesv2, name)
    assert [each["TenantName"] for each in sesv2.list_tenants()["Tenants"]] == ["shop-1", "shop-2"]
    listed = sesv2.list_tenant_resources(TenantName="shop-1")["TenantResources"]
    assert [each["ResourceType"] for each in listed] == ["CONFIGURATION_SET", "EMAIL_IDENTITY"]
    gone = {"TenantName": "shop-1", "ResourceArn": f"{OURS}:identity/example.com"}
    sesv2.delete_tenant_resource_association(**gone)
    with pytest.raises(sesv2.exceptions.NotFoundException):
        sesv2.delete_tenant_resource_association(**gone)
    sesv2.delete_tenant(TenantName="shop-1")
    with pytest.raises(sesv2.exceptions.NotFoundException):
        sesv2.get_tenant(TenantName="shop-1")


def test_a_tenant_s_own_suppression_list_holds_for_it_alone():
    with (
        Receiver() as receiver,
        Simulator(sns_url=receiver.url, sns_confirmed=True, calls_per_second=None, time_scale=50) as ses,
    ):
        sesv2 = client_for(ses)
        tenant(sesv2, "own", SuppressionAttributes={"SuppressionScope": "TENANT"})
        tenant(sesv2, "shares")
        sesv2.put_suppressed_destination(EmailAddress="ann@example.org", Reason="BOUNCE", TenantName="own")
        for name in ("own", "shares"):
            send(sesv2, to="ann@example.org", TenantName=name)
            send(sesv2, to="bob@bounce.example", TenantName=name)
        eventually(lambda: len(receiver.events()) == 8)
        found = {
            (event["mail"]["tags"]["ses:tenant-name"][0], event["mail"]["destination"][0]): event["bounce"][
                "bounceSubType"
            ]
            for event in receiver.events()
            if event["eventType"] == "Bounce"
        }
        assert found == {
            ("own", "ann@example.org"): "OnTenantSuppressionList",
            ("own", "bob@bounce.example"): "General",
            ("shares", "bob@bounce.example"): "General",
        }
        lists = [{"TenantName": "own"}, {}]
        on = [sesv2.list_suppressed_destinations(**of)["SuppressedDestinationSummaries"] for of in lists]
        assert [{each["EmailAddress"] for each in of} for of in on] == [
            {"ann@example.org", "bob@bounce.example"},
            {"bob@bounce.example"},
        ]


def policy(effect: str = "Allow", principal: str = "arn:aws:iam::123456789012:root") -> str:
    statement = {"Effect": effect, "Action": ["ses:SendEmail"], "Principal": {"AWS": principal}, "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_who_sends_by_another_s_identity_needs_its_owner_s_policy(sesv2):
    sesv2.create_email_identity(EmailIdentity="example.com")
    named = {"EmailIdentity": "example.com", "PolicyName": "shop"}
    sesv2.create_email_identity_policy(**named, Policy=policy(principal="arn:aws:iam::111111111111:root"))
    assert "is not authorized to perform `ses:SendEmail'" in refusal(sesv2, FromEmailAddressIdentityArn=ANOTHERS)
    sesv2.update_email_identity_policy(**named, Policy=policy())
    assert [*sesv2.get_email_identity_policies(EmailIdentity="example.com")["Policies"]] == ["shop"]
    unverified = refusal(sesv2, FromEmailAddressIdentityArn=ANOTHERS)
    assert unverified.startswith("MessageRejected: Email address is not verified")
    sesv2.delete_email_identity_policy(**named)
    assert "is not authorized" in refusal(sesv2, FromEmailAddressIdentityArn=ANOTHERS)


def test_an_identity_s_arn_is_that_of_the_sender(sesv2):
    send(sesv2, FromEmailAddressIdentityArn=f"{OURS}:identity/example.com")
    other = f"{OURS}:identity/example.net"
    assert "does not match the address" in refusal(sesv2, FromEmailAddressIdentityArn=other)
    assert "does not match the address" in refusal(
        sesv2,
        FeedbackForwardingEmailAddress="bounces@example.com",
        FeedbackForwardingEmailAddressIdentityArn=other,
    )


def test_what_cannot_be_delivered_in_the_longest_time_of_its_configuration_set_is_a_transient_bounce():
    with (
        Receiver() as receiver,
        Simulator(sns_url=receiver.url, sns_confirmed=True, calls_per_second=None, time_scale=3000) as ses,
    ):
        sesv2 = client_for(ses)
        set_options = sesv2.put_configuration_set_delivery_options
        with pytest.raises(sesv2.exceptions.BadRequestException, match="between 300 and 50400"):
            set_options(ConfigurationSetName="simulator", MaxDeliverySeconds=50_401)
        set_options(ConfigurationSetName="simulator", MaxDeliverySeconds=300)
        send(sesv2, to="ann@unreachable.example")
        eventually(lambda: len(receiver.events()) == 3)
        events = sorted(receiver.events(), key=lambda event: event["eventType"])
    assert [event["eventType"] for event in events] == ["Bounce", "DeliveryDelay", "Send"]
    bounce = events[0]["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Transient", "CustomTimeoutExceeded")


def test_opens_and_clicks_that_an_email_does_not_want_are_not_told(ses, sesv2):
    for switch in ("DISABLED", "ENABLED"):
        tracking = {"OpenTrackingEnabled": switch, "ClickTrackingEnabled": "ENABLED"}
        send(sesv2, to=f"{switch}@click.example", ConfigurationOverrides={"Tracking": tracking})
    with pytest.raises(sesv2.exceptions.BadRequestException):
        send(sesv2, ConfigurationOverrides={"Tracking": {"OpenTrackingEnabled": "PERHAPS"}})
