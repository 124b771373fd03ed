"""For the tests of a site: an outbox that keeps email in memory, worked off on demand, with the answers a test wants.

    from sesmail.testing import outbox

    with outbox() as box:
        sign_up("ann@example.org")
        box.assert_sent(to="ann@example.org", subject="Welcome", count=1)

No Redis, no SES, no other process. As a pytest fixture: `pytest_plugins = ["sesmail.testing.pytest_plugin"]`; for
`unittest` and Django: `SesmailTestMixin`. See docs/testing.md.
"""

from __future__ import annotations

from sesmail.testing.mixin import SesmailTestMixin
from sesmail.testing.outbox import SesOutbox, outbox
from sesmail.testing.sends import Send
from sesmail.testing.ses_events import ses_event
from sesmail.testing.sns import SnsPost, sns_post, trusted_sns

__all__ = ["Send", "SesOutbox", "SesmailTestMixin", "SnsPost", "outbox", "ses_event", "sns_post", "trusted_sns"]
