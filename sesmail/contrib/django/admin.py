"""Django's admin over the ledger: sends, batches, opt-outs, mailings and events set aside."""

from __future__ import annotations

from django.contrib import admin

from sesmail.contrib.django.admin_batches import BatchAdmin
from sesmail.contrib.django.admin_events import SetAsideEventAdmin
from sesmail.contrib.django.admin_opt_outs import MailingAdmin, OptOutAdmin
from sesmail.contrib.django.admin_sends import SendAdmin
from sesmail.contrib.django.models import Batch, Mailing, OptOut, Send, SetAsideEvent

admin.site.register(Send, SendAdmin)
admin.site.register(Batch, BatchAdmin)
admin.site.register(OptOut, OptOutAdmin)
admin.site.register(Mailing, MailingAdmin)
admin.site.register(SetAsideEvent, SetAsideEventAdmin)
