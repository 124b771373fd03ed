"""What a Django site sends in a day, through Django's own functions alone; prints how many messages were accepted."""

import json
import warnings

import django
from django.conf import settings
from django.core import mail
from django.core.management import call_command
from django.test import Client

django.setup()
warnings.simplefilter("ignore")
call_command("migrate", verbosity=0)

from django.contrib.auth.models import User  # noqa: E402

settings.SESMAIL_TOLD = True
client = Client(raise_request_exception=False)
done = {}

done["order"] = len(client.post("/order").json()["ids"])
done["send_mail"] = mail.send_mail("send_mail", "Hi.", None, ["send-mail@example.org"], html_message="<p>Hi.</p>")

letter = mail.EmailMultiAlternatives(
    "alternatives", "Hi.", to=["Ann <alternatives@example.org>"], cc=["cc@example.org"]
)
letter.attach_alternative("<p>Hi.</p>", "text/html")
letter.attach_alternative("BEGIN:VCALENDAR\nEND:VCALENDAR", "text/calendar; method=REQUEST")
letter.attach("notes.txt", "some notes", "text/plain")
done["alternatives"] = letter.send()

data = [(f"mass {n}", "Hi.", None, [f"mass{n}@example.org"]) for n in range(3)]
done["mass_mail"] = mail.send_mass_mail(data)

done["admins"] = mail.mail_admins("admins", "Look.")
done["error_handler"] = client.get("/crash").status_code

signed_up = {"email": "allauth@example.org", "password1": "pelican-42-x", "password2": "pelican-42-x"}
done["allauth"] = client.post("/accounts/signup/", signed_up).status_code

User.objects.create_user("reset", "reset@example.org", "pelican-42-x")
done["password_reset"] = client.post("/auth/password_reset/", {"email": "reset@example.org"}).status_code

from post_office import mail as post  # noqa: E402

post.send("post-office@example.org", subject="post_office", message="Hi.", priority="now")
print(json.dumps(done))
