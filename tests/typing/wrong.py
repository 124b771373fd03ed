"""Calls that a type checker must report, each with the code of its error. Nothing here is run."""

from __future__ import annotations

from sesmail import Attachment, Client, Email, Lane, Settings, reschedule, send_ses_email, status

send_ses_email.delay(txt="typo")  # error: call-overload
send_ses_email.delay(to=42)  # error: call-overload
send_ses_email.delay("ann@example.org")  # error: call-overload
send_ses_email.delay("ann@example.org", "Hello", "Hi.", lane=Lane)  # error: call-overload
send_ses_email.delay("ann@example.org", "Hello", "Hi.", countdown=60)  # error: call-overload
send_ses_email.delay(Email("ann@example.org", "Hello", "Hi."), "Hello")  # error: call-overload
send_ses_email.delay_on_commit(subject="Hello")  # error: call-overload
send_ses_email.dealy("ann@example.org", "Hello", "Hi.")  # error: attr-defined
send_ses_email("ann@example.org", "Hello", "Hi.")  # error: operator
send_ses_email.apply_async(countdwn=60)  # error: call-arg
send_ses_email.apply_async("ann@example.org")  # error: arg-type
send_ses_email.apply_async(("ann@example.org", "Hello", "Hi."), countdown="60")  # error: arg-type
send_ses_email.s(txt="typo")  # error: call-overload
send_ses_email.si(subject="Hello", text="Hi.")  # error: call-arg
number: int = send_ses_email.delay("ann@example.org", "Hello", "Hi.").id  # error: assignment

Email("ann@example.org", "Hello", txt="typo")  # error: call-arg
Email("ann@example.org", "Hello", "Hi.", lane=3)  # error: arg-type
Email("ann@example.org", "Hello", "Hi.").subject = "Good day"  # error: misc
Attachment(b"%PDF", "receipt.pdf")  # error: arg-type

reschedule("an-id", "tomorrow")  # error: arg-type
print(status("an-id").stat)  # error: attr-defined


async def by_a_client() -> None:
    client = Client(Settings(max_send_rat=14))  # error: call-arg
    Settings(max_send_rate="fast")  # error: arg-type
    client.send("x")  # error: arg-type
    client.send(Email("ann@example.org", "Hello", "Hi."), task_id="a")  # error: call-arg
    print(client.asend(Email("ann@example.org", "Hello", "Hi.")).send_id)  # error: attr-defined
    print(send_ses_email.adelay("ann@example.org", "Hello", "Hi.").id)  # error: attr-defined
    await send_ses_email.adelay("ann@example.org", "Hello", "Hi.", cc=7)  # error: call-overload
