"""Names for Django's permissions and its admin. There are no tables: what is shown is read from the ledger."""

from __future__ import annotations

from django.db import models


class Send(models.Model):
    """A send of the ledger."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=128)

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        permissions = (("see_addresses", "Can see addresses and subjects"),)
        verbose_name = "send"
        verbose_name_plural = "sends"


class Batch(models.Model):
    """A letter to many."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=128)

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        verbose_name = "batch"
        verbose_name_plural = "batches"


class OptOut(models.Model):
    """An address that is not written to."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=128)

    class Meta:
        managed = False
        default_permissions = ("view", "add", "delete")
        verbose_name = "opt-out"
        verbose_name_plural = "opt-outs"


class Mailing(models.Model):
    """What became of a list's emails of one day."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=128)

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = "mailing"
        verbose_name_plural = "mailings"


class SetAsideEvent(models.Model):
    """An event of SES that could not be processed."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=128)

    class Meta:
        managed = False
        default_permissions = ("view", "change")
        verbose_name = "event set aside"
        verbose_name_plural = "events set aside"
