"""Which files SES refuses is known to sesmail and to the local SES, each by itself: they must know the same."""

from __future__ import annotations

from seslocal.api.requests.validation import UNSUPPORTED_EXTENSIONS
from sesmail.message.file_names import REFUSED_EXTENSIONS


def test_the_local_ses_refuses_the_files_that_an_email_may_not_have():
    assert UNSUPPORTED_EXTENSIONS == REFUSED_EXTENSIONS
