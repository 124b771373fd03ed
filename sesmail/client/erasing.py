"""Erases a person: from the ledger, and from the stored events of the sites that share it."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from sesmail.errors import InvalidEmail
from sesmail.events.erasing import erase_events
from sesmail.message.addresses import normal_address
from sesmail.state.ledger.erasing import LedgerEraser
from sesmail.state.ledger.ledger import Ledger
from sesmail.state.server.trouble import reachable
from sesmail.vocabulary import Erased

if TYPE_CHECKING:
    from sesmail.client.way_back import WayBack

NOT_LOOKED_THROUGH = (
    "email and events that name the person otherwise than by this address",
    "stored events of a release newer than this one, if there is any: run its `sesmail erase` as well",
    "the broker's messages and a result backend, which hold the arguments of your own tasks",
    "your own database, logs, and backups of Redis",
    "the suppression list that SES keeps of the account, and whatever else AWS keeps",
)
FORMER_NAMES = (
    "what stands under names without Celery's prefix, which other projects may use, too: once `sesmail migrate` says "
    "that none is left there, erase again"
)


def erase(client: WayBack, address: str, *, why: str, dry_run: bool) -> Erased:
    """See `sesmail.erase`."""
    normal = _checked(address)
    if client.is_suppressed:  # what is kept in memory goes with the process
        return _said(Counter(), "", time.time(), dry_run=dry_run, elsewhere=NOT_LOOKED_THROUGH)
    eraser = LedgerEraser(client.scripts, client.settings, normal, dry_run=dry_run)
    if not dry_run:
        client.audit.note("erase", eraser.name.partition("@")[0], why)
    in_batches = client.batches.erase(normal, dry_run=dry_run)
    counts = eraser.erase()  # last: who leaves a batch meanwhile is in the ledger then
    counts["waiting_email"] += in_batches
    if not dry_run:
        _forget_what_ses_listed(client, normal)
    sites = sorted({client.settings.site, *client.hearing.sites()})
    counts["events"] = erase_events(client.event_store, sites, eraser.redaction, normal, dry_run=dry_run)
    with reachable():
        now: Any = client.scripts.redis.time()
    elsewhere = (*([FORMER_NAMES] if _has_former_names(client) else []), *NOT_LOOKED_THROUGH)
    return _said(counts, eraser.name, now[0] + now[1] / 1e6, dry_run=dry_run, elsewhere=elsewhere)


def _forget_what_ses_listed(client: WayBack, address: str) -> None:
    """Of the lists of other accounts than `default`, while `sesmail suppress sync` runs."""
    for account in client.settings.account_names:
        scripts = client.scripts.of_account(account)
        with reachable():
            scripts.redis.srem(scripts.keys.of_account("ses-list"), address)


def _has_former_names(client: WayBack) -> bool:
    former = client.former_scripts
    return former is not None and any(Ledger(former, client.settings).counts().values())


def _said(counts: Counter[str], pseudonym: str, at: float, *, dry_run: bool, elsewhere: tuple[str, ...]) -> Erased:
    names = {*Erased.__dataclass_fields__} - {"pseudonym", "at", "dry_run", "not_looked_through"}
    numbers: dict[str, Any] = {name: counts[name] for name in names}
    return Erased(pseudonym=pseudonym, at=at, dry_run=dry_run, not_looked_through=elsewhere, **numbers)


def _checked(address: str) -> str:
    local, _, domain = address.strip().rpartition("@")
    if not local or not domain or any(sign in address for sign in "<>\n"):
        raise InvalidEmail("address", "is not a bare address, such as ann@example.org")
    return normal_address(address)
