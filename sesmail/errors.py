"""What can go wrong: one class per what the caller does next.

    SesmailError
    ├── InvalidEmail              mend the email
    │   └── IdempotencyConflict   give this email an idempotency key, or task id, of its own
    ├── ConfigurationError        mend the setting that it names; never swallow it together with a failed email
    │   ├── LedgerRefuses         mend the address of Redis, or the rights of its user
    │   └── MissingExtra          install the optional part that it names
    ├── LedgerUnavailable         call again when Redis is back
    ├── UnknownSend               check the id; its record may have expired
    ├── MoveRefused               look at the state that it names: it is too late for this, or too early
    ├── StaleClaim                nothing: another worker has the send
    ├── SendPostponed             nothing: the email waits, as is written down
    ├── NotSent                   read the reason; send it again when that is gone
    ├── NotificationRefused       answer 4xx: it must never be tried again
    ├── EventNotStored            answer 503 or raise, so that AWS delivers it again
    │   └── EventStoreUnavailable call again when the store is back, or has room
    ├── QueueUnavailable          call again later
    └── SesError                  what SES answered, by what happens next
        ├── SendThrottled         slow down and try again
        ├── DailyQuotaExceeded    wait until the 24-hour window frees
        ├── SesUnavailable        try again: nothing was sent
        ├── OutcomeUnknown        wait for evidence: SES may have it
        ├── SendRejected          read SES's words; send it again when their reason is gone
        └── LineStopped           stop, keep them all, tell somebody: no email would pass
            ├── SendingPaused     ask AWS, or whoever paused it
            └── SesMisconfigured  mend the identity, credentials, configuration set or permission

A class's docstring is its default message. Messages never hold an address, a subject or a body: they go to logs.
"""

from __future__ import annotations

import inspect


class SesmailError(Exception):
    """Something in sesmail went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.cleandoc(type(self).__doc__ or ""))


class InvalidEmail(SesmailError, ValueError):
    """The email cannot be sent as it is. Nothing was queued."""

    def __init__(self, field: str, problem: str, limit: str | None = None) -> None:
        """Name the field, what is wrong with its value and, where there is one, the limit that it breaks."""
        self.field = field
        self.problem = problem
        self.limit = limit
        allowed = f" ({limit})" if limit else ""
        super().__init__(f"{field}: {problem}{allowed}. Nothing was queued.")

    def __reduce__(self) -> tuple[type[InvalidEmail], tuple[str, str, str | None]]:
        return type(self), (self.field, self.problem, self.limit)


class IdempotencyConflict(InvalidEmail):
    """Another email was accepted under this idempotency key, or task id. It stays as it is; nothing was queued."""

    def __init__(self, field: str, send_id: str) -> None:
        """Name the argument that stands for another email already, and that email's send."""
        self.send_id = send_id
        """The send of the other email: `sesmail.status` tells what became of it."""
        super().__init__(field, f"another email was accepted under it, the send {send_id}", "each email has its own")

    def __reduce__(self) -> tuple[type[IdempotencyConflict], tuple[str, str]]:  # type: ignore[override]
        return type(self), (self.field, self.send_id)


class ConfigurationError(SesmailError):
    """A setting is missing or wrong. No email is sent until it is mended; those queued wait."""


class LedgerRefuses(ConfigurationError):
    """Redis is there, but refuses: by password, rights or database. No email is lost; those accepted before wait."""

    @classmethod
    def because(cls, words: str, meaning: str, address: str = "") -> LedgerRefuses:
        """With what Redis or its client said, what that means and what to do, and where; none of it names an email."""
        where = f" at {address}" if address else ""
        return cls(
            f"Redis{where} refuses ({words}). {meaning} Nothing is done by this call; emails accepted before wait."
        )


class MissingExtra(ConfigurationError, ImportError):
    """An optional part is not installed. Install it, for example with `pip install 'sesmail[demo]'`."""


class LedgerUnavailable(SesmailError, ConnectionError):
    """Redis cannot be reached. Call again when it is back.

    Nothing was accepted by this call, unless Redis took it and its answer was lost on the way, or comes too late: with
    an idempotency key, or the same task id, calling again is safe in either case. Emails accepted earlier are safe in
    Redis and go out when it is back.
    """

    @classmethod
    def because(cls, words: str, address: str = "", *, answered: bool = False) -> LedgerUnavailable:
        """With what Redis (`answered`) or its client said, and where, which holds nothing of an email."""
        first, _, rest = inspect.cleandoc(cls.__doc__ or "").partition(".")
        where = f"{address}: " if address and address not in words else ""
        return cls(f"{'Redis is there, but takes nothing for now' if answered else first} ({where}{words}).{rest}")


class UnknownSend(SesmailError, LookupError):
    """No send has this id, or its record has expired."""


class MoveRefused(SesmailError):
    """The send is in a state that does not allow this."""


class StaleClaim(SesmailError):
    """This worker no longer holds the send: it was given up as dead and another worker has it. Nothing is done here."""


class SendPostponed(SesmailError):
    """The email must wait for the rate, the quota or the line. It is written down as waiting; no attempt is used."""

    def __init__(self, seconds: float, reason: str) -> None:
        self.seconds = seconds
        self.reason = reason
        super().__init__(f"waits {seconds:.1f} s: {reason}")

    def __reduce__(self) -> tuple[type[SendPostponed], tuple[float, str]]:
        return type(self), (self.seconds, self.reason)


class NotSent(SesmailError):
    """The email was not sent and nobody tries again by itself: cancelled, expired, suppressed or abandoned.

    `sesmail failed` lists it with its reason and can send it again.
    """


class NotificationRefused(SesmailError):
    """A notification is not one of ours, or not proved to be. It is not stored and must not be tried again."""

    def __init__(self, message: str | None = None, *, status: int = 403) -> None:
        super().__init__(message)
        self.status = status
        """The HTTP status that says so: one of 400 to 499, which SNS takes as final."""


class EventNotStored(SesmailError):
    """An event of SES could not be stored. It is not acknowledged, so AWS delivers it again."""


class EventStoreUnavailable(EventNotStored):
    """The store of events cannot be reached, or has no room. Nothing is acknowledged, so AWS delivers it again.

    Events stored earlier are safe, and processed when the store is back.
    """

    @classmethod
    def because(cls, cause: str) -> EventStoreUnavailable:
        """With what the store said, by the name of its error: its text may hold an address."""
        return cls(f"{inspect.cleandoc(cls.__doc__ or '')} ({cause})")


class QueueUnavailable(SesmailError):
    """The queue cannot be read now. What is in it stays there."""


class SesError(SesmailError):
    """SES did not accept the email."""

    def __init__(self, message: str | None = None, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """The error code as SES or botocore spells it, such as `TooManyRequestsException`; for logs and counts."""
        self.is_answer = False
        """Whether SES has said so, in an HTTP answer; else it could not be asked, or did not answer."""


class SendThrottled(SesError):
    """SES says that the send rate is exceeded. The email waits and is tried again; no attempt is used up."""


class DailyQuotaExceeded(SesError):
    """The account's 24-hour quota is used up. Email waits and goes on by itself as the window frees."""


class SesUnavailable(SesError):
    """SES could not be reached. Nothing was sent; the email is tried again."""


class OutcomeUnknown(SesError):
    """SES gave no clear answer: it may have sent the email. An event settles it, or the evidence window's end."""


class SendRejected(SesError):
    """SES refuses this email for good, or it cannot be composed. `sesmail failed` lists it and can send it again."""


class LineStopped(SesError):
    """SES would refuse every email like this one. The line is stopped; the emails wait, none is lost."""

    def __init__(self, message: str | None = None, *, code: str = "", scope: str = "account") -> None:
        super().__init__(message, code=code)
        self.scope = scope
        """What is stopped: `account`, or what such emails go out by: `identity:DOMAIN` of the sender,
        `configuration-set:NAME`, `tenant:NAME`, `template:NAME`, `contact-list:NAME`, `global-endpoint:ID`."""


class SendingPaused(LineStopped):
    """AWS or the account's owner paused sending. Email waits until sending is allowed again: see the SES console."""


class SesMisconfigured(LineStopped):
    """SES refuses because of the set-up: credentials, permission, sender identity or configuration set."""


def in_a_line(error: BaseException) -> str:
    """What happened, without what an application should know of its call: for logs and commands."""
    return str(error).partition("\n\n")[0].partition(" Call again when it is back.")[0].replace("\n", " ")
