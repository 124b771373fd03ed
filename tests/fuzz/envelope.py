"""Coverage-guided fuzzing of what comes in from outside; stops at the first escape.

pip install atheris && python -m tests.fuzz.envelope -max_len=4096 -max_total_time=60

For any body, by HTTP or from a queue: no exception escapes, and no acknowledgement without a row. Some are signed after
the fuzzer made them, so that they get past the signature.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import zlib

import atheris

with atheris.instrument_imports(include=["sesmail"]):
    from sesmail.events.intake import Intake
    from sesmail.events.reading import read
    from sesmail.events.sns import Certificates, SnsVerifier

from tests.signing import FIXTURES, TOPIC, Signer


class Rows:
    def __init__(self) -> None:
        self.count = 0

    def put(self, events) -> int:
        self.count += len(events)
        return len(events)


SIGNER = Signer()
VERIFIER = SnsVerifier({TOPIC: "alpha"}, Certificates(SIGNER.fetch))


def one_body(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    signed = zlib.crc32(data) % 8 == 0  # signing is slow
    assert read(text, site="alpha")
    body = json.dumps(SIGNER.notification(text)) if signed else text
    posted, queued = Rows(), Rows()
    answer = Intake(VERIFIER, posted).answer(body.encode(), {})
    stays = Intake(VERIFIER, queued, raw_site="alpha").take({"1": body})
    assert (answer.status == 200) == bool(posted.count), (answer, posted.count)
    assert answer.status in {200, 400, 403, 413}, answer
    assert bool(stays) != bool(queued.count), (stays, queued.count)
    assert answer.status == 200 or not signed, answer


def main() -> None:
    logging.disable(logging.CRITICAL)
    found = tempfile.mkdtemp()  # the first folder is written to
    atheris.Setup([*sys.argv, found, str(FIXTURES)], one_body)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
