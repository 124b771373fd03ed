"""Settings for `celery -A sesmail worker` (beat, flower, ...) and for programs without a Celery app of their own.

Copy it into the folder where those are started. As it is it changes nothing: a line that begins with `# ` and a setting
shows a default; take the `# ` away and change it where its reason applies to you. All of Celery's settings can be set
here; those of sesmail begin with `sesmail_`, or are in the environment as SESMAIL_..., over which this file wins.
A file with an error stops whatever reads it; a misspelt name is warned of.
"""

# Who emails are from that do not say so themselves, such as "Example Shop <shop@example.com>". SES must have verified
# the address or its domain.
# sesmail_from_email = None

# -- Where things are --------------------------------------------------------------------------------------------------

# The broker, which carries a ticket for each email. The environment's CELERY_BROKER_URL goes before this line, so that
# one file serves the laptop and the servers; keep passwords there.
# broker_url = "redis://127.0.0.1:6379/0"

# The Redis that keeps the emails until SES has them. Needed where the broker is not Redis; else it is the broker's.
# It must not forget: `appendonly yes`, `maxmemory-policy noeviction`.
# sesmail_redis_url = "redis://127.0.0.1:6379/0"

# The AWS Region of SES, where boto3's own configuration (AWS_DEFAULT_REGION, ~/.aws) does not say it. Credentials come
# from there as well, never from this file.
# sesmail_region = None

# SES publishes bounces and complaints through a configuration set; without one nobody is told of them.
# sesmail_configuration_set = None

# -- How much at once --------------------------------------------------------------------------------------------------

# Threads of one worker. Each waits for SES most of the time: recipients a second x seconds per answer, and a few more.
# worker_concurrency = 16

# For accounts that may not ask SES for their limits (`ses:GetAccount`): recipients a second, for all workers together.
# sesmail_max_send_rate = None

# What one worker may send, of all that the account may: "6/s". The account's rate holds for all of them in any case.
# sesmail_worker_rate_limit = None

# -- For those who need more -------------------------------------------------------------------------------------------

# Entries of your own are added to those that sesmail needs: beat sweeps (as the workers do), and what you schedule.
# beat_schedule = {}

# Entries here are added to sesmail's, too; see docs/plain-python.md before you make `visibility_timeout` longer.
# broker_transport_options = {}

# Results of tasks are kept nowhere, because the ledger knows more (`sesmail status ID`). With a result backend,
# `send_ses_email.delay(...).get()` works; it shows states and SES's message ids, never what an email holds.
# task_ignore_result = True
# result_backend = None
