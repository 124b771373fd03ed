"""Plain Python: `python plain.py ann@example.org`, beside a celeryconfig.py and a `celery -A sesmail worker`."""

import sys

from sesmail import send_ses_email

for address in sys.argv[1:]:
    result = send_ses_email.delay(address, "Hello", "It works.")
    print(result.id)
