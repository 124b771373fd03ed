"""The part of SNS's API that event publishing needs: topics, subscriptions and their confirmation."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from seslocal.api.requests import form
from seslocal.errors import invalid
from seslocal.options import ACCOUNT_ID

if TYPE_CHECKING:
    from seslocal.api.call import Call, Handler
    from seslocal.ses import Ses
    from seslocal.sns.topics import Subscription

NAMESPACE = "http://sns.amazonaws.com/doc/2010-03-31/"
PENDING = "PendingConfirmation"
_TOPIC_NAME = re.compile(r"[A-Za-z0-9_-]{1,256}")


def create_topic(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateTopic, with its SignatureVersion if one is asked for."""
    version = _signature_version(form.attributes(call.body).get("SignatureVersion", "1"))
    name = form.required(call.body, "Name")
    if not _TOPIC_NAME.fullmatch(name):
        raise invalid("Invalid parameter: Topic Name")  # nor FIFO topics: SES publishes to standard ones only
    return {"TopicArn": ses.sns.create_topic(name, version).arn}


def get_topic_attributes(ses: Ses, call: Call) -> dict[str, Any]:
    """GetTopicAttributes."""
    topic = ses.sns.topic(form.required(call.body, "TopicArn"))
    waiting = sum(not subscription.confirmed for subscription in topic.subscriptions.values())
    return {
        "Attributes": form.Entries(
            TopicArn=topic.arn,
            Owner=ACCOUNT_ID,
            SignatureVersion=topic.signature_version,
            SubscriptionsConfirmed=str(len(topic.subscriptions) - waiting),
            SubscriptionsPending=str(waiting),
        )
    }


def delete_topic(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteTopic, and its subscriptions; one that is not there is no error."""
    ses.sns.topics.pop(form.required(call.body, "TopicArn"), None)
    return {}


def list_topics(ses: Ses, _call: Call) -> dict[str, Any]:
    """ListTopics."""
    return {"Topics": [{"TopicArn": arn} for arn in ses.sns.topics]}


def set_topic_attributes(ses: Ses, call: Call) -> dict[str, Any]:
    """SetTopicAttributes: SignatureVersion."""
    topic = ses.sns.topic(form.required(call.body, "TopicArn"))
    if form.required(call.body, "AttributeName") == "SignatureVersion":
        topic.signature_version = _signature_version(call.body.get("AttributeValue", ""))
    return {}


def subscribe(ses: Ses, call: Call) -> dict[str, Any]:
    """Subscribe: an HTTP endpoint is asked to confirm."""
    given = form.attributes(call.body)
    subscription = ses.sns.subscribe(
        form.required(call.body, "TopicArn"),
        form.required(call.body, "Protocol"),
        form.required(call.body, "Endpoint"),
        raw=given.get("RawMessageDelivery") == "true",
        policy=given.get("DeliveryPolicy"),
        dead_letter_queue=_dead_letter_queue(given.get("RedrivePolicy")),
    )
    shown = subscription.confirmed or call.body.get("ReturnSubscriptionArn") == "true"
    return {"SubscriptionArn": subscription.arn if shown else "pending confirmation"}


def confirm_subscription(ses: Ses, call: Call) -> dict[str, Any]:
    """ConfirmSubscription: the endpoint shows the token that it was sent."""
    topic_arn, token = form.required(call.body, "TopicArn"), form.required(call.body, "Token")
    return {"SubscriptionArn": ses.sns.confirm(topic_arn, token).arn}


def set_subscription_attributes(ses: Ses, call: Call) -> dict[str, Any]:
    """SetSubscriptionAttributes: RawMessageDelivery, DeliveryPolicy or RedrivePolicy."""
    subscription = ses.sns.subscription(form.required(call.body, "SubscriptionArn"))
    value = call.body.get("AttributeValue", "")
    match form.required(call.body, "AttributeName"):
        case "RawMessageDelivery":
            subscription.raw = value == "true"
        case "DeliveryPolicy":
            ses.sns.set_policy(subscription, value)
        case "RedrivePolicy":
            ses.sns.set_dead_letter_queue(subscription, _dead_letter_queue(value))
        case other:
            raise invalid(f"Invalid parameter: AttributeName {other}")
    return {}


def get_subscription_attributes(ses: Ses, call: Call) -> dict[str, Any]:
    """GetSubscriptionAttributes."""
    subscription = ses.sns.subscription(form.required(call.body, "SubscriptionArn"))
    waits = "false" if subscription.confirmed else "true"
    raw = "true" if subscription.raw else "false"
    shown = _shown(subscription) | {"SubscriptionArn": subscription.arn}
    if subscription.dead_letter_name:
        shown["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": subscription.dead_letter_name})
    return {"Attributes": form.Entries(**shown, PendingConfirmation=waits, RawMessageDelivery=raw)}


def unsubscribe(ses: Ses, call: Call) -> dict[str, Any]:
    """Unsubscribe."""
    ses.sns.unsubscribe(form.required(call.body, "SubscriptionArn"))
    return {}


def list_subscriptions(ses: Ses, call: Call) -> dict[str, Any]:
    """ListSubscriptionsByTopic."""
    topic = ses.sns.topic(form.required(call.body, "TopicArn"))
    return {"Subscriptions": [_shown(subscription) for subscription in topic.subscriptions.values()]}


def list_all_subscriptions(ses: Ses, _call: Call) -> dict[str, Any]:
    """ListSubscriptions."""
    return {"Subscriptions": [_shown(one) for topic in ses.sns.topics.values() for one in topic.subscriptions.values()]}


def publish(ses: Ses, call: Call) -> dict[str, Any]:
    """Publish."""
    topic_arn, message = form.required(call.body, "TopicArn"), form.required(call.body, "Message")
    return {"MessageId": ses.sns.publish(topic_arn, message, call.body.get("Subject"))}


def _shown(subscription: Subscription) -> dict[str, str]:
    return {
        "SubscriptionArn": subscription.arn if subscription.confirmed else PENDING,
        "Owner": ACCOUNT_ID,
        "Protocol": subscription.protocol,
        "Endpoint": subscription.address,
        "TopicArn": subscription.topic_arn,
    }


def _signature_version(given: str) -> str:
    if given not in {"1", "2"}:
        raise invalid("Invalid parameter: SignatureVersion must be 1 or 2")
    return given


def _dead_letter_queue(redrive_policy: str | None) -> str | None:
    if not redrive_policy:
        return None
    try:
        return str(json.loads(redrive_policy)["deadLetterTargetArn"])
    except (ValueError, KeyError, TypeError) as error:
        raise invalid("Invalid parameter: RedrivePolicy") from error


HANDLERS: dict[str, Handler] = {
    "CreateTopic": create_topic,
    "ListTopics": list_topics,
    "GetTopicAttributes": get_topic_attributes,
    "DeleteTopic": delete_topic,
    "SetTopicAttributes": set_topic_attributes,
    "Subscribe": subscribe,
    "ConfirmSubscription": confirm_subscription,
    "GetSubscriptionAttributes": get_subscription_attributes,
    "ListSubscriptions": list_all_subscriptions,
    "SetSubscriptionAttributes": set_subscription_attributes,
    "Unsubscribe": unsubscribe,
    "ListSubscriptionsByTopic": list_subscriptions,
    "Publish": publish,
}
