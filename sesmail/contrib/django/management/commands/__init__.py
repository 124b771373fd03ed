"""`manage.py sesmail`."""
