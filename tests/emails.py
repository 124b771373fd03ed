"""What Hypothesis makes of an email's arguments: mostly wrong, some only just right."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from hypothesis import strategies as st

from sesmail.errors import InvalidEmail
from sesmail.message import Email

# Few letters, and everything that has a meaning in a header, an address, a domain or JSON.
quaint = st.text(st.sampled_from("aZ09.@<>()[]\\\"',;:=?_-+*/ äßéЖ日。😀"), max_size=30)
nasty = quaint | st.text(
    st.sampled_from("aZ09.@<>()[]\\\"',;:=?_-+*/ \t\r\n\0\x7f\x85\xa0äßéςЖ日。．\u200d\u2028\ud800\udc00😀"),
    max_size=30,
)
locals_ = st.one_of(nasty, st.from_regex(r"[a-z'+/=?.]{1,8}", fullmatch=True), nasty.map('"{}"'.format))
domains = st.one_of(nasty, st.from_regex(r"[a-zäß日。-]{1,9}\.(com|org|例え)", fullmatch=True))
addresses = st.builds("{}@{}".format, locals_, domains)
names = st.one_of(nasty, nasty.map('"{}"'.format), st.text(max_size=30))
mailboxes = st.one_of(nasty, addresses, st.builds("{} <{}>".format, names, addresses))
good_mailboxes = st.builds("{} <{}@example.org>".format, names, st.integers(0, 999))
recipients = st.lists(st.one_of(mailboxes, good_mailboxes, good_mailboxes, good_mailboxes), max_size=3)
texts = st.one_of(quaint, nasty, st.text(max_size=60))
attachments = st.one_of(
    st.tuples(texts, st.one_of(texts, st.binary(max_size=9)), st.one_of(st.none(), st.just("text/csv"), nasty)),
    st.fixed_dictionaries({"filename": texts, "content": texts, "content_id": st.one_of(st.none(), nasty)}),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(texts, inner, max_size=2)),
    max_leaves=4,
)
hunted = {
    "to": st.one_of(mailboxes, recipients),
    "subject": texts,
    "text": texts,
    "html": texts,
    "from_email": st.one_of(mailboxes, good_mailboxes),
    "cc": recipients,
    "bcc": recipients,
    "reply_to": recipients,
    "headers": st.dictionaries(st.one_of(nasty, st.sampled_from(["X-A", "x-a", "To", "X"])), texts, max_size=2),
    "attachments": st.lists(attachments, max_size=2),
    "tags": st.dictionaries(st.one_of(nasty, st.just("a")), st.one_of(nasty, st.just("b")), max_size=2),
    "metadata": st.one_of(st.dictionaries(texts, json_values, max_size=2), json_values),
    "configuration_set": st.one_of(nasty, st.just("events")),
    "lane": st.one_of(nasty, st.just("bulk")),
    "send_at": st.one_of(nasty, st.datetimes(), st.datetimes(timezones=st.just(UTC))),
    "expires_at": st.one_of(st.datetimes(), st.datetimes(timezones=st.timezones())),
    "idempotency_key": texts,
}
good = {"to": "Ann <ann@example.org>", "subject": "Grüße", "text": "Hallo"}
# Two fields at a time, so that a bad one does not hide what another lets through.
keywords = (
    st.sets(st.sampled_from(sorted(hunted)), min_size=1, max_size=2)
    .flatmap(lambda names: st.fixed_dictionaries({name: hunted[name] for name in sorted(names)}))
    .map(lambda values: good | values)
)


def constructed(values: dict[str, Any]) -> Email | None:
    try:
        return Email(**values)
    except InvalidEmail:
        return None
