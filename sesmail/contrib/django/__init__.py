"""sesmail for Django: put `sesmail.contrib.django` into INSTALLED_APPS."""
