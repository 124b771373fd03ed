"""Words for an email's arguments that other libraries have, and what they are here."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from sesmail.errors import InvalidEmail

if TYPE_CHECKING:
    import inspect
    from collections.abc import Mapping, Sequence

_WORDS = {
    "text": "body text_body text_content plain plain_text plaintext content text_message bodytext msg",
    "html": "html_body html_content html_text htmlbody body_html htmltext",
    "to": "recipients recipient recipient_list to_email to_emails to_addresses to_address to_addrs send_to email"
    " emails destination toaddresses",
    "from_email": "sender from from_ from_address from_addr source from_name mail_from",
    "cc": "cc_addresses cc_emails cc_list",
    "bcc": "bcc_addresses bcc_emails bcc_list",
    "reply_to": "reply_to_addresses replyto reply_to_email reply_to_address",
    "subject": "title subject_line",
    "headers": "extra_headers header custom_headers",
    "attachments": "files attachment attach file",
    "tags": "email_tags categories tag",
    "metadata": "custom_args meta user_variables",
    "configuration_set": "configuration_set_name config_set",
    "account": "ses_account account_name",
    "send_at": "schedule_at scheduled_at deliver_at eta",
    "expires_at": "expiry expires",
    "lane": "priority",
}
_MEANT = {word: name for name, words in _WORDS.items() for word in words.split()}
_MEANINGLESS = {
    "fail_silently": "sending never fails silently: leave it out, or catch sesmail.SesmailError",
    "connection": "there is one way to SES per application: leave it out",
    "auth_user": "SES has no user and password of an SMTP server: leave it out",
    "auth_password": "SES has no user and password of an SMTP server: leave it out",
    "using": "there is one way to SES per application: leave it out",
    "message_id": "SES gives each email its own: leave it out",
    "date": "SES writes the time at which it takes the email: leave it out",
    "charset": "every email is in UTF-8: leave it out",
    "countdown": "give it to apply_async, or say send_at=",
    "template": "fill the template in and give text= and html=",
    "template_name": "fill the template in and give text= and html=",
    "template_id": "one of SES's own templates is said by ses=",
    "context": "fill the template in and give text= and html=",
}


_ALIKE = 0.75
"""How alike a slip is to what was meant: `contet`, `subjct`; `lists` is nothing that there is."""

FEWEST_OF_SEND_MAIL = 4
"""Positional arguments that Django's `send_mail` has at least."""


def checked_arguments(signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises `InvalidEmail` for arguments that an email does not have, with those that were probably meant."""
    names = [*signature.parameters]
    for name in kwargs:
        if name not in names:
            raise InvalidEmail("arguments", f"an email has no argument {_shown(name)}{_meant(name, names)}")
    if _is_in_the_order_of_send_mail(args):
        raise InvalidEmail(
            "arguments",
            "are in the order of Django's send_mail (subject, message, from_email, recipient_list): here it is to,"
            " subject, text, html; or name them",
        )
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        problem = re.sub("'", "", str(error))
        raise InvalidEmail("arguments", f"an email {'has' if problem.startswith('too') else 'is'} {problem}") from None


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[a-z_]{1,40}", name) else "of such a name"


def _meant(name: str, names: Sequence[str]) -> str:
    lower = name.lower()
    if lower in _MEANINGLESS:
        return f": {_MEANINGLESS[lower]}"
    (near,) = get_close_matches(lower, [*names, *_MEANT], n=1, cutoff=_ALIKE) or (None,)
    return f": did you mean {_MEANT.get(near, near)}=?" if near else ""


def _is_in_the_order_of_send_mail(args: Sequence[Any]) -> bool:
    if len(args) < FEWEST_OF_SEND_MAIL or _AN_ADDRESS.fullmatch(str(args[0]).strip()):
        return False
    sender, recipients = args[2], args[3]
    several = isinstance(recipients, list | tuple) and "@" in str(recipients)
    return (sender is None or "@" in str(sender)) and (several or bool(_AN_ADDRESS.fullmatch(str(recipients).strip())))


_AN_ADDRESS = re.compile(r"[^\s@<>]+@[^\s@<>]+|[^<>]*<[^\s@<>]+@[^\s@<>]+>")
