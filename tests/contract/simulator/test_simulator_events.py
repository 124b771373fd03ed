"""Events, from an email to an HTTP server, through SNS with its handshake, signatures, retries and losses."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import boto3
import pytest
from cryptography.exceptions import InvalidSignature

from sesmail.simulator import Simulator
from tests.contract.simulator.receiver import Receiver, eventually, sns_client, verify
from tests.contract.simulator.simulator_client import client_for, send

RECORDED = Path(__file__).parents[2] / "fixtures" / "events"
FAST = {"calls_per_second": None, "rate": 1000, "time_scale": 50, "seed": 3}


@pytest.fixture(scope="module")
def _receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def _server(_receiver):
    with Simulator(sns_url=_receiver.url, sns_confirmed=True, **FAST) as ses:
        yield ses


@pytest.fixture(scope="module")
def _client(_server):
    return client_for(_server)


@pytest.fixture
def receiver(_server, _receiver):
    """What all events go to; nothing comes from the tests before."""
    _server.reset()
    _receiver.forget()
    return _receiver


@pytest.fixture
def ses(_server, receiver):
    return _server


@pytest.fixture
def sesv2(ses, _client):
    return _client


def types_of(receiver: Receiver) -> list[str]:
    return [event["eventType"] for event in receiver.events()]


def shape(value) -> object:
    """Names and types of a JSON value: lists by their first element."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_the_handshake_comes_before_any_notification():
    with Receiver() as receiver, Simulator(sns_url=receiver.url, **FAST) as ses:
        sesv2 = client_for(ses)
        send(sesv2, to="success@simulator.amazonses.com")
        ((headers, body),) = receiver.wait_for(1)
        envelope = json.loads(body)
        assert headers["x-amz-sns-message-type"] == envelope["Type"] == "SubscriptionConfirmation"
        assert "x-amz-sns-subscription-arn" not in headers
        assert envelope["SubscribeURL"].startswith("https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&")
        verify(envelope, ses.certificate_pem())
        sns = sns_client(ses.url)
        with pytest.raises(sns.exceptions.ClientError, match="Invalid token"):
            sns.confirm_subscription(TopicArn=envelope["TopicArn"], Token="wrong")
        sns.confirm_subscription(TopicArn=envelope["TopicArn"], Token=envelope["Token"])
        send(sesv2, to="success@simulator.amazonses.com")
        eventually(lambda: sorted(types_of(receiver)) == ["Delivery", "Send"])


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_notification_carries_snss_headers_and_a_signature_that_holds(version):
    with (
        Receiver() as receiver,
        Simulator(sns_url=receiver.url, sns_confirmed=True, signature_version=version, **FAST) as ses,
    ):
        send(client_for(ses), to="success@simulator.amazonses.com", tag="one")
        headers, body = receiver.wait_for(1)[0]
        envelope = json.loads(body)
        certificate = ses.certificate_pem()
    assert headers["x-amz-sns-message-type"] == "Notification"
    assert headers["x-amz-sns-message-id"] == envelope["MessageId"]
    assert headers["x-amz-sns-topic-arn"] == envelope["TopicArn"] == "arn:aws:sns:us-east-1:123456789012:ses-events"
    assert headers["x-amz-sns-subscription-arn"].startswith(envelope["TopicArn"] + ":")
    assert headers["content-type"] == "text/plain; charset=UTF-8"
    assert headers["user-agent"] == "Amazon Simple Notification Service Agent"
    assert envelope["SignatureVersion"] == version
    assert envelope["Subject"] == "Amazon SES Email Event Notification"
    form = r"https://sns\.us-east-1\.amazonaws\.com/SimpleNotificationService-[0-9a-f]{32}\.pem"
    assert re.fullmatch(form, envelope["SigningCertURL"])
    verify(envelope, certificate)
    for name in ("Message", "Subject", "TopicArn"):
        with pytest.raises(InvalidSignature):
            verify(envelope | {name: envelope[name] + "x"}, certificate)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("success+a@simulator.amazonses.com", ["Send", "Delivery"]),
        ("bounce+a@simulator.amazonses.com", ["Send", "Bounce"]),
        ("ooto@simulator.amazonses.com", ["Send", "Delivery", "Bounce"]),
        ("complaint@simulator.amazonses.com", ["Send", "Delivery", "Complaint"]),
        ("suppressionlist@simulator.amazonses.com", ["Send", "Bounce"]),
        ("reader@soft-bounce.example", ["Send", "DeliveryDelay", "Bounce"]),
        ("reader@reject.example", ["Reject"]),
        ("reader@delay.example", ["Send", "DeliveryDelay", "Delivery"]),
        ("reader@click.example", ["Send", "Delivery", "Open", "Click"]),
        ("reader@silent.example", ["Send"]),
        ("reader@example.org", ["Send", "Delivery"]),
    ],
)
def test_an_address_tells_its_own_story(ses, sesv2, receiver, address, expected):
    send(sesv2, to=address, tag="one")
    eventually(lambda: ses.messages()[0]["events"] == expected)
    eventually(lambda: sorted(types_of(receiver)) == sorted(expected))
    assert all(event["mail"]["tags"]["sesmail-id"] == ["one"] for event in receiver.events())


@pytest.mark.parametrize(
    ("address", "recorded"),
    [
        ("success@simulator.amazonses.com", "ev_delivery"),
        ("bounce@simulator.amazonses.com", "ev_bounce_permanent_general"),
        ("complaint@simulator.amazonses.com", "ev_complaint_abuse"),
        ("reader@delay.example", "ev_delivery_delay"),
        ("reader@reject.example", "ev_reject"),
        ("ooto@simulator.amazonses.com", "ev_bounce_transient_general_ooto"),
        ("suppressionlist@simulator.amazonses.com", "ev_bounce_permanent_suppressed"),
    ],
)
def test_an_event_has_the_members_that_aws_documents(sesv2, receiver, address, recorded):
    like = json.loads((RECORDED / f"{recorded}.json").read_text())
    details = next(name for name in like if name not in {"eventType", "mail"})
    send(sesv2, to=address)

    def found() -> list[dict]:
        return [event for event in receiver.events() if event["eventType"] == like["eventType"]]

    eventually(found)
    event = found()[0]
    assert shape(event[details]) == shape(like[details])
    missing = {"headers", "commonHeaders"} if recorded == "ev_delivery_delay" else set()
    assert set(event["mail"]) == set(like["mail"]) | missing
    same = ("bounceType", "bounceSubType", "complaintFeedbackType", "complaintSubType", "reason")
    assert {name: event[details].get(name) for name in same} == {name: like[details].get(name) for name in same}


def test_bounces_of_one_email_come_in_one_event(sesv2, receiver):
    send(sesv2, to=["bounce+1@simulator.amazonses.com", "bounce+2@simulator.amazonses.com", "reader@example.org"])
    eventually(lambda: "Bounce" in types_of(receiver))
    (bounce,) = [event for event in receiver.events() if event["eventType"] == "Bounce"]
    addresses = [one["emailAddress"] for one in bounce["bounce"]["bouncedRecipients"]]
    assert addresses == ["bounce+1@simulator.amazonses.com", "bounce+2@simulator.amazonses.com"]
    assert len(bounce["mail"]["destination"]) == 3


def test_a_bounce_puts_the_address_on_the_suppression_list_and_the_next_mail_bounces_there(ses, sesv2, receiver):
    send(sesv2, to="reader@bounce.example")
    eventually(lambda: "Bounce" in types_of(receiver))
    suppressed = sesv2.get_suppressed_destination(EmailAddress="reader@bounce.example")["SuppressedDestination"]
    assert suppressed["Reason"] == "BOUNCE"
    ses.outcomes({"*@bounce.example": "delivered"})
    send(sesv2, to="Reader@bounce.example")
    eventually(lambda: types_of(receiver).count("Bounce") == 2)
    subtypes = {event["bounce"]["bounceSubType"] for event in receiver.events() if event["eventType"] == "Bounce"}
    assert subtypes == {"General", "OnAccountSuppressionList"}
    send(sesv2, to="another@bounce.example")
    eventually(lambda: "Delivery" in types_of(receiver))


def test_an_address_suppressed_for_a_complaint_complains_again(sesv2, receiver):
    sesv2.put_suppressed_destination(EmailAddress="reader@example.org", Reason="COMPLAINT")
    send(sesv2, to="reader@example.org")
    eventually(lambda: sorted(types_of(receiver)) == ["Complaint", "Send"])
    recorded = json.loads((RECORDED / "ev_complaint_onaccountsuppressionlist.json").read_text())
    (complaint,) = [event["complaint"] for event in receiver.events() if event["eventType"] == "Complaint"]
    assert shape(complaint) == shape(recorded["complaint"])
    assert complaint["complaintSubType"] == "OnAccountSuppressionList"


def test_the_mailbox_simulators_addresses_are_never_suppressed(sesv2, receiver):
    send(sesv2, to="bounce@simulator.amazonses.com")
    eventually(lambda: "Bounce" in types_of(receiver))
    assert sesv2.list_suppressed_destinations()["SuppressedDestinationSummaries"] == []


def test_a_template_that_cannot_be_filled_in_is_accepted_and_then_told(sesv2, receiver):
    sesv2.create_email_template(TemplateName="news", TemplateContent={"Subject": "Dear {{firstName}}", "Text": "x"})
    send(sesv2, Content={"Template": {"TemplateName": "news", "TemplateData": "{}"}})
    eventually(lambda: types_of(receiver) == ["Rendering Failure"])
    recorded = json.loads((RECORDED / "ev_rendering_failure.json").read_text())
    assert receiver.events()[0]["failure"] == recorded["failure"] | {"templateName": "news"}


def test_a_server_error_is_tried_again_with_the_same_message_id(ses, sesv2, receiver):
    receiver.statuses = [500, 503]
    send(sesv2, to="reader@silent.example")
    envelopes = [json.loads(body) for _headers, body in receiver.wait_for(3)]
    assert len({envelope["MessageId"] for envelope in envelopes}) == 1
    eventually(lambda: ses.report()["notifications"]["acknowledged"] == 1)
    assert ses.report()["notifications"]["failed_attempts"] == 2
    gaps = [later - earlier for earlier, later in zip(receiver.times, receiver.times[1:], strict=False)]
    assert all(0.35 < gap < 2 for gap in gaps), "20 seconds, 50 times faster"


def test_after_three_retries_a_notification_is_dead(ses, sesv2, receiver):
    receiver.statuses = [500] * 10
    send(sesv2, to="reader@silent.example")
    eventually(lambda: ses.report()["notifications"]["dead"] == 1)
    assert len(receiver.received) == 4
    (dead,) = ses.control("GET", "/_sim/dead-letters")
    assert dead["reason"] == "HTTP 500"
    assert json.loads(dead["body"])["MessageId"] == receiver.envelopes()[0]["MessageId"]


@pytest.mark.parametrize("status", [400, 403, 404, 429, 302])
def test_a_refusal_by_the_receiver_is_final(ses, sesv2, receiver, status):
    receiver.statuses = [status]
    send(sesv2, to="reader@silent.example")
    eventually(lambda: ses.report()["notifications"]["dead"] == 1)
    assert len(receiver.received) == 1


def test_an_endpoint_that_takes_too_long_is_asked_again(ses, sesv2, receiver):
    receiver.slow_seconds = [2.5]
    send(sesv2, to="reader@silent.example")
    eventually(lambda: ses.report()["notifications"]["acknowledged"] == 1)
    assert ses.report()["notifications"]["failed_attempts"] == 1


def test_a_dead_endpoint_is_tried_again_until_the_policy_ends():
    policy = json.dumps({"healthyRetryPolicy": {"numRetries": 2, "minDelayTarget": 1, "maxDelayTarget": 1}})
    options = FAST | {"sns_url": "http://127.0.0.1:9/sns", "sns_confirmed": True, "delivery_policy": policy}
    with Simulator(**options) as ses:
        send(client_for(ses), to="reader@silent.example")
        eventually(lambda: ses.report()["notifications"]["dead"] == 1)
        assert ses.report()["notifications"]["failed_attempts"] == 3


def test_a_password_in_the_url_is_sent_when_it_is_asked_for():
    with Receiver(password="sns:s3cret") as receiver:
        url = receiver.url.replace("http://", "http://sns:s3cret@")
        with Simulator(sns_url=url, sns_confirmed=True, **FAST) as ses:
            send(client_for(ses), to="reader@silent.example")
            eventually(lambda: ses.report()["notifications"]["acknowledged"] == 1)


def test_raw_delivery_has_no_envelope_and_says_so():
    with Receiver() as receiver, Simulator(sns_url=receiver.url, sns_confirmed=True, raw_delivery=True, **FAST) as ses:
        send(client_for(ses), to="reader@silent.example")
        ((headers, body),) = receiver.wait_for(1)
        assert headers["x-amz-sns-rawdelivery"] == "true"
        assert json.loads(body)["eventType"] == "Send"


def test_duplicates_of_both_kinds_are_made_on_demand(ses, sesv2, receiver):
    ses.event_faults(duplicates=1)
    send(sesv2, to="reader@silent.example")
    receiver.wait_for(2)
    ids = [envelope["MessageId"] for envelope in receiver.envelopes()]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    ses.event_faults(new_id_duplicates=1)
    send(sesv2, to="reader@silent.example")
    receiver.wait_for(4)
    ids = [envelope["MessageId"] for envelope in receiver.envelopes()[2:]]
    assert len(set(ids)) == 2


def test_an_event_can_come_before_the_answer(ses, sesv2, receiver):
    ses.event_faults(before_response=True)
    message_id = send(sesv2, to="reader@silent.example")
    assert [event["mail"]["messageId"] for event in receiver.events()] == [message_id]


def test_events_can_be_held_and_released_at_once(ses, sesv2, receiver):
    ses.event_faults(hold=True)
    for _ in range(5):
        send(sesv2, to="success@simulator.amazonses.com")
    eventually(lambda: ses.report()["notifications"]["held"] == 10)
    assert receiver.received == []
    ses.event_faults()
    receiver.wait_for(10)


def test_shuffled_events_overtake_each_other(ses, sesv2, receiver):
    ses.event_faults(shuffle_seconds=0.5)
    for _ in range(20):
        send(sesv2, to="success@simulator.amazonses.com")
    receiver.wait_for(40)
    events = receiver.events()
    ids = [message["message_id"] for message in ses.messages()]
    order = [ids.index(event["mail"]["messageId"]) for event in events if event["eventType"] == "Send"]
    assert order != sorted(order)
    assert sorted(order) == list(range(20))


def test_a_burst_brings_each_invented_event_once(ses, receiver):
    ses.burst(300, per_second=1000, events=["delivery", "bounce"])
    receiver.wait_for(300, 20)
    tags = {event["mail"]["tags"]["sesmail-id"][0] for event in receiver.events()}
    assert tags == {f"burst-{number}" for number in range(1, 301)}


def test_an_event_destination_publishes_the_types_that_it_asks_for():
    with Receiver() as receiver, Simulator(**FAST) as ses:
        sesv2, sns = client_for(ses), sns_client(ses.url)
        topic = sns.create_topic(Name="bounces", Attributes={"SignatureVersion": "2"})["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url)
        receiver.wait_for(1)
        sns.confirm_subscription(TopicArn=topic, Token=receiver.envelopes("SubscriptionConfirmation")[0]["Token"])
        sesv2.create_configuration_set(ConfigurationSetName="alpha")
        destination = {"Enabled": True, "MatchingEventTypes": ["BOUNCE"], "SnsDestination": {"TopicArn": topic}}
        sesv2.create_configuration_set_event_destination(
            ConfigurationSetName="alpha", EventDestinationName="sns", EventDestination=destination
        )
        receiver.wait_for(2)
        text = (RECORDED / "setup_eventpublishing_topic_validated.txt").read_text()
        assert receiver.envelopes()[0]["Message"] == text
        send(sesv2, to="bounce@simulator.amazonses.com", ConfigurationSetName="alpha")
        send(sesv2, to="bounce@simulator.amazonses.com")
        eventually(lambda: len(receiver.events()) == 1)
        (event,) = receiver.events()
        assert event["eventType"] == "Bounce"
        assert event["mail"]["tags"]["ses:configuration-set"] == ["alpha"]
        destination["SnsDestination"]["TopicArn"] = topic + "-missing"
        with pytest.raises(sesv2.exceptions.BadRequestException, match="bounces-missing> not found"):
            sesv2.update_configuration_set_event_destination(
                ConfigurationSetName="alpha", EventDestinationName="sns", EventDestination=destination
            )
        (kept,) = sesv2.get_configuration_set_event_destinations(ConfigurationSetName="alpha")["EventDestinations"]
        assert kept["SnsDestination"] == {"TopicArn": topic}


def test_subscribing_an_endpoint_again_brings_its_events_once():
    with Receiver() as receiver, Simulator(sns_url=receiver.url, sns_confirmed=True, **FAST) as ses:
        sns = sns_client(ses.url)
        topic = ses.options.topic_arn
        again = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url)["SubscriptionArn"]
        (subscription,) = sns.list_subscriptions()["Subscriptions"]
        assert subscription["SubscriptionArn"] == again
        found = sns.get_subscription_attributes(SubscriptionArn=again)["Attributes"]
        assert (found["Endpoint"], found["PendingConfirmation"]) == (receiver.url, "false")
        assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"] == "1"
        send(client_for(ses), to="success@simulator.amazonses.com")
        eventually(lambda: len(receiver.events()) == 2)
        sns.delete_topic(TopicArn=topic)
        assert sns.list_topics()["Topics"] == []


@pytest.mark.parametrize("endpoint", ["http://", "http://[::1", "http://127.0.0.1:99999/", "https://127.0.0.1/"])
def test_an_endpoint_that_nobody_can_post_to_is_refused(ses, endpoint):
    sns = sns_client(ses.url)
    with pytest.raises(sns.exceptions.InvalidParameterException, match="Endpoint must be a URL"):
        sns.subscribe(TopicArn=ses.options.topic_arn, Protocol="http", Endpoint=endpoint)


def test_a_click_is_on_the_first_link_that_ses_tracks(sesv2, receiver):
    html = (
        '<a href="https://example.com/out" ses:no-track>unsubscribe</a>'
        '<a class="x" href="https://example.com/read?a=1&amp;b=2">read</a>'
    )
    content = {"Simple": {"Subject": {"Data": "x"}, "Body": {"Html": {"Data": html}}}}
    send(sesv2, to="reader@click.example", Content=content)
    eventually(lambda: "Click" in types_of(receiver))
    (link,) = [event["click"]["link"] for event in receiver.events() if event["eventType"] == "Click"]
    assert link == "https://example.com/read?a=1&b=2"


def test_identity_notifications_say_notification_type_and_carry_no_tags():
    with Receiver() as receiver, Simulator(**FAST) as ses:
        sns, ses_v1 = sns_client(ses.url), client_for(ses, "ses")
        topic = sns.create_topic(Name="feedback")["TopicArn"]
        arn = sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=receiver.url, ReturnSubscriptionArn=True)
        assert arn["SubscriptionArn"].startswith(topic)
        receiver.wait_for(1)
        sns.confirm_subscription(TopicArn=topic, Token=receiver.envelopes("SubscriptionConfirmation")[0]["Token"])
        ses_v1.set_identity_notification_topic(Identity="example.com", NotificationType="Bounce", SnsTopic=topic)
        send(client_for(ses), to="bounce@simulator.amazonses.com", tag="one")
        eventually(lambda: len(receiver.events()) == 1)
        (notification,) = receiver.events()
        ses_v1.set_identity_headers_in_notifications_enabled(
            Identity="example.com", NotificationType="Bounce", Enabled=True
        )
        send(client_for(ses), to="bounce@simulator.amazonses.com", tag="two")
        eventually(lambda: len(receiver.events()) == 2)
        with_headers = receiver.events()[1]
    assert {"headers", "commonHeaders"} <= set(with_headers["mail"])
    like = json.loads((RECORDED / "id_bounce_no_dsn_no_headers.json").read_text())
    assert notification["notificationType"] == "Bounce"
    assert set(notification["mail"]) == set(like["mail"])


def test_a_subscription_can_be_confirmed_by_following_its_url():
    with Receiver() as receiver, Simulator(sns_url=receiver.url, local_subscribe_url=True, **FAST) as ses:
        receiver.wait_for(1)
        (confirmation,) = receiver.envelopes("SubscriptionConfirmation")
        with urllib.request.urlopen(confirmation["SubscribeURL"]) as answer:
            assert b"ConfirmSubscriptionResult" in answer.read()
        send(client_for(ses), to="reader@silent.example")
        eventually(lambda: types_of(receiver) == ["Send"])


def test_a_throttle_policy_paces_what_is_delivered(ses, receiver):
    sns = sns_client(ses.url)
    topic = sns.list_topics()["Topics"][0]["TopicArn"]
    arn = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"][0]["SubscriptionArn"]
    policy = json.dumps({"throttlePolicy": {"maxReceivesPerSecond": 20}})
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="DeliveryPolicy", AttributeValue=policy)
    ses.burst(11)
    receiver.wait_for(11)
    assert receiver.times[-1] - receiver.times[0] > 0.4


@pytest.fixture(scope="module")
def sqs():
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "sqs", endpoint_url=url, region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    yield url, client
    server.stop()


def drain(client, queue_url: str, count: int) -> list[str]:
    bodies: list[str] = []

    def received() -> bool:
        answer = client.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)
        bodies.extend(message["Body"] for message in answer.get("Messages", ()))
        return len(bodies) >= count

    eventually(received)
    return bodies


@pytest.mark.parametrize("raw", [False, True], ids=["in SNS's envelope", "raw"])
def test_a_queue_gets_both_forms(sqs, raw):
    url, client = sqs
    queue_url = client.create_queue(QueueName=f"events-{raw}")["QueueUrl"]
    options = FAST | {"sqs_queue": f"events-{raw}", "sqs_endpoint_url": url, "raw_delivery": raw}
    with Simulator(**options) as ses:
        send(client_for(ses), to="reader@silent.example")
        (body,) = drain(client, queue_url, 1)
        certificate = ses.certificate_pem()
    given = json.loads(body)
    if raw:
        assert given["eventType"] == "Send"
    else:
        assert set(given) == set(json.loads((RECORDED / "sqs_body_enveloped.json").read_text()))
        verify(given, certificate)


def test_what_sns_gives_up_goes_to_the_dead_letter_queue(sqs, receiver):
    url, client = sqs
    queue_url = client.create_queue(QueueName="dead")["QueueUrl"]
    receiver.statuses = [400]
    options = FAST | {
        "sqs_endpoint_url": url,
        "sns_url": receiver.url,
        "sns_confirmed": True,
        "dead_letter_queue": "dead",
    }
    with Simulator(**options) as ses:
        send(client_for(ses), to="reader@silent.example")
        (body,) = drain(client, queue_url, 1)
    assert json.loads(body)["MessageId"] == receiver.envelopes()[0]["MessageId"]


def test_a_function_gets_lambdas_form_and_is_called_again_when_it_raises(tmp_path, monkeypatch):
    (tmp_path / "handlers.py").write_text(
        "import json, pathlib\n"
        "def handle(event, context):\n"
        "    log = pathlib.Path(__file__).with_name('log')\n"
        "    first = not log.exists()\n"
        "    with log.open('a') as out: out.write(json.dumps(event) + '\\n')\n"
        "    if first: raise RuntimeError('store is down')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Simulator(**(FAST | {"lambda_handler": "handlers:handle", "time_scale": 500})) as ses:
        send(client_for(ses), to="reader@silent.example")
        eventually(lambda: ses.report()["notifications"]["acknowledged"] == 1)
        events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert events[0] == events[1]
    assert shape(events[0]) == shape(json.loads((RECORDED / "lambda_sns_event.json").read_text()))
