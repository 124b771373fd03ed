"""A side of `bench chaos` with two accounts of SES, the second of which takes over, and what goes wrong with the first."""

from __future__ import annotations

import json
from contextlib import ExitStack
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from benchmarks._misfortunes import Misfortune
from benchmarks._sides import OurSide, Outcome
from sesmail.simulator import Simulator
from tests.acceptance.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from sesmail.embedded import EmbeddedRedis

KINDS = (
    "connections to SES are cut",
    "answers of SES are cut off",
    "SES is out of reach",
    "the credentials expire",
    "the account is stopped",
)


def with_accounts(misfortunes: Iterable[Misfortune], seconds: float) -> list[Misfortune]:
    """The same, and each of these at a third of the time and at two thirds, however the seed has it."""
    more = [
        Misfortune(at_seconds=seconds * (third + number / 20), kind=kind, whom=0, lasting_seconds=2.0)
        for third in (0.33, 0.66)
        for number, kind in enumerate(KINDS)
    ]
    return sorted([*misfortunes, *more], key=attrgetter("at_seconds"))


class BothAccounts:
    """SES as the account `default` has it, and what both have taken."""

    def __init__(self, default: Simulator, reserve: Simulator) -> None:
        self._default, self._reserve = default, reserve

    def messages(self) -> list[dict[str, Any]]:
        return sorted([*self._default.messages(), *self._reserve.messages()], key=lambda message: message["time"])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._default, name)


class AccountsSide(OurSide):
    """sesmail, whose transactional email goes through another account while its own takes none."""

    def __init__(self, folder: Path, redis: EmbeddedRedis, ses: Simulator, proxy: Proxy, **environment: str) -> None:
        self._ending = ExitStack()
        self._reserve = self._ending.enter_context(Simulator(rate=50, quota=-1, calls_per_second=None))
        self.way_to_ses = self._ending.enter_context(Proxy(urlsplit(ses.url).port or 0))
        accounts = {"default": {"fallback": "reserve"}, "reserve": {"endpoint_url": self._reserve.url}}
        environment["SESMAIL_ACCOUNTS"] = json.dumps(accounts)
        environment["SESMAIL_ENDPOINT_URL"] = f"http://127.0.0.1:{self.way_to_ses.port}"
        super().__init__(folder, redis, ses, proxy, **environment)
        self.fleet.ses = BothAccounts(ses, self._reserve)  # type: ignore[assignment]

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        self._ending.close()

    def outcome(self) -> Outcome:
        outcome = super().outcome()
        outcome.fell_back = len(self._reserve.messages())
        return outcome
