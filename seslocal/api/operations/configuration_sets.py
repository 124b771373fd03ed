"""What calls do with configuration sets and their event destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from seslocal.account.configuration_sets import (
    EVENT_TYPES,
    LONGEST_DELIVERY_SECONDS,
    ConfigurationSet,
    EventDestination,
)
from seslocal.account.suppression import REASONS
from seslocal.account.tenants import SUPPRESSION_SCOPES
from seslocal.api.requests import validation
from seslocal.api.requests.listing import page
from seslocal.errors import Kind, Refused, invalid

if TYPE_CHECKING:
    from seslocal.api.call import Call, Handler, Operation
    from seslocal.ses import Ses

MAX_EVENT_DESTINATIONS = 10
KEPT_OPTIONS = (
    "TrackingOptions",
    "DeliveryOptions",
    "ReputationOptions",
    "SuppressionOptions",
    "VdmOptions",
    "ArchivingOptions",
)
OTHER_DESTINATIONS = (
    "KinesisFirehoseDestination",
    "CloudWatchDestination",
    "EventBridgeDestination",
    "PinpointDestination",
)


def create(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateConfigurationSet."""
    name = validation.configuration_set_name(validation.required(call.body, "ConfigurationSetName")) or ""
    if name in ses.account.configuration_sets:
        raise Refused(Kind.ALREADY_EXISTS, f"Configuration set <{name}> already exists.")
    sending = validation.mapping(call.body.get("SendingOptions"), "SendingOptions")
    ses.account.configuration_sets[name] = ConfigurationSet(
        name=name,
        sending_enabled=validation.flag(sending.get("SendingEnabled", True), "SendingEnabled"),
        options={option: _options(call.body[option], option) for option in KEPT_OPTIONS if call.body.get(option)},
    )
    return {}


def get(ses: Ses, call: Call) -> dict[str, Any]:
    """GetConfigurationSet."""
    found = ses.account.configuration_set(call.path["ConfigurationSetName"])
    fixed = {
        "ConfigurationSetName": found.name,
        "SendingOptions": {"SendingEnabled": found.sending_enabled},
        "Tags": [],
    }
    return fixed | found.options


def delete(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteConfigurationSet."""
    del ses.account.configuration_sets[ses.account.configuration_set(call.path["ConfigurationSetName"]).name]
    return {}


def list_all(ses: Ses, call: Call) -> dict[str, Any]:
    """ListConfigurationSets."""
    names, more = page(sorted(ses.account.configuration_sets), call)
    return {"ConfigurationSets": list(names)} | more


def put_sending(ses: Ses, call: Call) -> dict[str, Any]:
    """PutConfigurationSetSendingOptions."""
    found = ses.account.configuration_set(call.path["ConfigurationSetName"])
    found.sending_enabled = validation.flag(call.body.get("SendingEnabled", False), "SendingEnabled")
    return {}


def put_options(option: str) -> Handler:
    """PutConfigurationSet…Options: what the call gives replaces what was there."""

    def put(ses: Ses, call: Call) -> dict[str, Any]:
        given = call.body.get(option, call.body)  # some of the calls wrap it once more
        ses.account.configuration_set(call.path["ConfigurationSetName"]).options[option] = _options(given, option)
        return {}

    return put


def _options(given: Any, option: str) -> dict[str, Any]:
    options = validation.mapping(given, option)
    seconds = options.get("MaxDeliverySeconds")
    if seconds is not None and not (isinstance(seconds, int) and 300 <= seconds <= LONGEST_DELIVERY_SECONDS):
        raise invalid(f"MaxDeliverySeconds must be between 300 and {LONGEST_DELIVERY_SECONDS}.")
    if options.get("SuppressionScope") is not None:
        validation.one_of(options["SuppressionScope"], "suppressionScope", SUPPRESSION_SCOPES)
    for reason in validation.items(options.get("SuppressedReasons"), "SuppressedReasons"):
        validation.one_of(reason, "suppressedReasons", REASONS)
    return dict(options)


def create_destination(ses: Ses, call: Call) -> dict[str, Any]:
    """CreateConfigurationSetEventDestination; SNS gets a message to show that the topic can be published to."""
    found = ses.account.configuration_set(call.path["ConfigurationSetName"])
    name = validation.resource_name(validation.required(call.body, "EventDestinationName"), "EventDestinationName")
    if name in found.event_destinations:
        raise Refused(Kind.ALREADY_EXISTS, f"Event destination <{name}> already exists.")
    if len(found.event_destinations) >= MAX_EVENT_DESTINATIONS:
        raise Refused(
            Kind.LIMIT_EXCEEDED, f"A configuration set has at most {MAX_EVENT_DESTINATIONS} event destinations."
        )
    _put_destination(ses, found, name, call)
    return {}


def update_destination(ses: Ses, call: Call) -> dict[str, Any]:
    """UpdateConfigurationSetEventDestination."""
    found, name = _existing_destination(ses, call)
    _put_destination(ses, found, name, call)
    return {}


def delete_destination(ses: Ses, call: Call) -> dict[str, Any]:
    """DeleteConfigurationSetEventDestination."""
    found, name = _existing_destination(ses, call)
    del found.event_destinations[name]
    return {}


def get_destinations(ses: Ses, call: Call) -> dict[str, Any]:
    """GetConfigurationSetEventDestinations."""
    found = ses.account.configuration_set(call.path["ConfigurationSetName"])
    return {"EventDestinations": [destination.as_json() for destination in found.event_destinations.values()]}


def _existing_destination(ses: Ses, call: Call) -> tuple[ConfigurationSet, str]:
    found, name = ses.account.configuration_set(call.path["ConfigurationSetName"]), call.path["EventDestinationName"]
    if name not in found.event_destinations:
        raise Refused(Kind.NOT_FOUND, f"Event destination <{name}> does not exist.")
    return found, name


def _put_destination(ses: Ses, found: ConfigurationSet, name: str, call: Call) -> None:
    given = validation.mapping(validation.required(call.body, "EventDestination"), "EventDestination")
    asked = validation.items(given.get("MatchingEventTypes"), "MatchingEventTypes")
    types = [validation.one_of(one, "matchingEventTypes", EVENT_TYPES) for one in asked]
    topic = validation.mapping(given.get("SnsDestination"), "SnsDestination").get("TopicArn")
    if topic is not None:
        ses.publisher.validate_topic(validation.text(topic, "TopicArn"))
    found.event_destinations[name] = EventDestination(
        name=name,
        enabled=bool(given.get("Enabled", False)),
        event_types=tuple(types),
        topic_arn=topic,
        others={other: given[other] for other in OTHER_DESTINATIONS if given.get(other) is not None},
    )


_SET = "/v2/email/configuration-sets/{ConfigurationSetName}"
_DESTINATION = _SET + "/event-destinations/{EventDestinationName}"

OPERATIONS: tuple[Operation, ...] = (
    ("POST", "/v2/email/configuration-sets", "CreateConfigurationSet", create),
    ("GET", "/v2/email/configuration-sets", "ListConfigurationSets", list_all),
    ("POST", "/v2/email/list-configuration-sets", "ListConfigurationSets", list_all),
    ("GET", _SET, "GetConfigurationSet", get),
    ("DELETE", _SET, "DeleteConfigurationSet", delete),
    ("PUT", _SET + "/sending", "PutConfigurationSetSendingOptions", put_sending),
    ("PUT", _SET + "/suppression-options", "PutConfigurationSetSuppressionOptions", put_options("SuppressionOptions")),
    ("PUT", _SET + "/tracking-options", "PutConfigurationSetTrackingOptions", put_options("TrackingOptions")),
    ("PUT", _SET + "/delivery-options", "PutConfigurationSetDeliveryOptions", put_options("DeliveryOptions")),
    ("PUT", _SET + "/reputation-options", "PutConfigurationSetReputationOptions", put_options("ReputationOptions")),
    ("PUT", _SET + "/vdm-options", "PutConfigurationSetVdmOptions", put_options("VdmOptions")),
    ("PUT", _SET + "/archiving-options", "PutConfigurationSetArchivingOptions", put_options("ArchivingOptions")),
    ("POST", _SET + "/event-destinations", "CreateConfigurationSetEventDestination", create_destination),
    ("GET", _SET + "/event-destinations", "GetConfigurationSetEventDestinations", get_destinations),
    ("PUT", _DESTINATION, "UpdateConfigurationSetEventDestination", update_destination),
    ("DELETE", _DESTINATION, "DeleteConfigurationSetEventDestination", delete_destination),
)
