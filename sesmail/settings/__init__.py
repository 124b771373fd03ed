"""Every knob: typed, with its unit in its name and its default beside it.

Where values come from, the first that has one wins:

1. what the application says: Flask's `app.config["SESMAIL_REGION"]`, Celery's `sesmail_region = ...` (Flask has
   Celery's in `app.config["CELERY"]`), Django's `SESMAIL = {"REGION": ...}`;
2. the environment: `SESMAIL_REGION`, `SESMAIL_MAX_SEND_RATE`, ...;
3. names that others made known: `AWS_SES_REGION_NAME` and `AWS_SES_CONFIGURATION_SET` of django-ses, in Django's
   settings or the environment, and `AWS_REGION`, which boto3 itself does not read; of Django's settings also
   `DEFAULT_FROM_EMAIL`, and django-ses's names of the sender, the endpoint and the credentials;
4. the defaults below.

Credentials need not be here: boto3 finds them its own way, in variables, files and roles.
"""

from sesmail.settings.knobs import Settings, rate_limit
from sesmail.settings.reading import WRONG, Source, load, misspelt_variables
from sesmail.settings.sources import ENVIRONMENT_PREFIX

__all__ = ["ENVIRONMENT_PREFIX", "WRONG", "Settings", "Source", "load", "misspelt_variables", "rate_limit"]
