"""A local SES that behaves like SES: its limits, its errors, its events and, on demand, its bad days.

It knows nothing of who mails through it: any program that uses SES, in any language, can be pointed at it.

    options.py           every knob
    simulator.py         the local SES in a process of its own, for tests; child.py is that process
    command.py           the local SES as a command
    server.py  app.py    the local SES in this process, and as an ASGI application
    control.py  page/    what tests and people look at and change, beside SES
    api/                 a call's way in: its wire form, what it says, what it does
    ses.py               what belongs together: an account, the SNS beside it, the publisher between them
    events/              what becomes of an accepted email, and how SES tells of it
    account/             the account's limits, faults, identities, lists, and the mail that it took
    sns/                 topics, subscriptions, signatures, deliveries
    message/             an email, its MIME form, the template language
    errors.py            how SES refuses
"""

from __future__ import annotations

from seslocal.cannot_start import CannotStart
from seslocal.options import Options
from seslocal.server import serve
from seslocal.simulator import Simulator

__all__ = ["CannotStart", "Options", "Simulator", "serve"]
