"""What staff see and do in the admin, as JSON: by a boss, one who may look, and one who may do nothing here."""

import json

import django
from django.core.management import call_command
from django.test import Client

django.setup()
call_command("migrate", verbosity=0)

from django.contrib.admin.models import LogEntry  # noqa: E402
from django.contrib.auth.models import Permission, User  # noqa: E402

from sesmail import Delivery, Letter, Reached, current_client, send_batch, status  # noqa: E402
from sesmail.message import Email, Lane  # noqa: E402

SENDS = "/admin/sesmail_django/send/"
OPT_OUTS = "/admin/sesmail_django/optout/"
BATCHES = "/admin/sesmail_django/batch/"

ledger = current_client().ledger


def accept(send_id: str, to: str, **said: object) -> None:
    ledger.accept(send_id, Email(to, f"Subject of {send_id}", "Hi.", from_email="shop@example.com", **said))


def claimed(send_id: str, to: str, **said: object) -> object:
    accept(send_id, to, **said)
    claim = ledger.claim(send_id, "worker")
    ledger.begin(claim)
    return claim


accept("waits", "ann@example.org", send_at="2100-01-01T00:00:00+00:00", tags={"sesmail-list": "news"})
for name in ("refused", "wrong-address"):
    ledger.rejected(claimed(name, "ann@example.org"), "Email address is not verified.", "MessageRejected")
ledger.sent(claimed("went", "bob@example.org"), "mid-of-went")
bounced = Reached(at=2_000_000_000, recipient="bob@example.org", delivery=Delivery.BOUNCED, why="NoEmail")
current_client().reputation.progress([("went", bounced)])
ledger.outcome_unknown(claimed("open", "carl@example.org"), "no answer within 60 s")

batch = send_batch(
    Letter(subject="News", text="Hi.", from_email="shop@example.com"),
    [f"reader{number}@example.org" for number in range(3)],
    key="november",
    list="news",
    without_unsubscribe=True,
).id
held = current_client().batches.claim(Lane.BULK, "worker", "token")
current_client().batches.begin(held, {0: "reader0@example.org"}, tries=False)
current_client().batches.settle(held, [0], "sent")
current_client().batches.release(held)

boss = User.objects.create_superuser("boss", password="p")
looks = User.objects.create_user("looks", password="p", is_staff=True)
looks.user_permissions.set(Permission.objects.filter(codename__in=["view_send", "view_optout", "view_batch"]))
stranger = User.objects.create_user("stranger", password="p", is_staff=True)


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


by = {user.username: client_of(user) for user in (boss, looks, stranger)}
done: dict = {
    "permissions": sorted(
        Permission.objects.filter(content_type__app_label="sesmail_django").values_list("codename", flat=True)
    )
}

done["index"] = {name: "Sends" in client.get("/admin/").content.decode() for name, client in by.items()}
done["list"] = {name: client.get(SENDS).status_code for name, client in by.items()}
done["story"] = {name: client.get(SENDS + "refused/").content.decode() for name, client in by.items()}
done["went"] = by["boss"].get(SENDS + "went/").content.decode()
done["open"] = by["boss"].get(SENDS + "open/").content.decode()


def search(who: str, asked: str) -> str:
    where = by[who].post(SENDS, {"q": asked})["Location"]
    assert "@" not in where
    return where if "?" not in where else by[who].get(where).content.decode()


done["by_address"] = {name: search(name, "Ann@Example.org") for name in ("boss", "looks")}
done["by_list"] = search("boss", "news")
done["by_address_in_batch"] = {name: search(name, "Reader1@example.org") for name in ("boss", "looks")}
done["by_id"] = search("boss", "went")
done["by_batch"] = {name: search(name, batch) for name in ("boss", "looks")}
done["sent_of_batch"] = by["boss"].get(f"{SENDS}?batch={batch}&state=sent").content.decode()
done["of_batch"] = by["boss"].get(f"{SENDS}{batch}-1/").content.decode()
done["batches"] = {name: client.get(BATCHES).status_code for name, client in by.items()}
done["batch"] = {name: by[name].get(f"{BATCHES}{batch}/").content.decode() for name in ("boss", "looks")}
done["in_state"] = by["boss"].get(f"{SENDS}?state=queued").content.decode()
done["by_nothing"] = search("boss", "nosuch")

done["refused_to"] = {
    name: [
        by[name].post(SENDS + path, data).status_code
        for path, data in (
            ("refused/requeue/", {}),
            ("refused/resend/", {"to": "new@example.org"}),
            ("do/cancel/", {"ids": ["waits"]}),
        )
    ]
    + [by[name].post(f"{BATCHES}{batch}/{act}/").status_code for act in ("pause", "cancel")]
    + [
        by[name].post(OPT_OUTS + "add-one/", {"address": "x@example.org", "scope": "everything"}).status_code,
        by[name].post(OPT_OUTS + "remove/", {"address": "x@example.org", "scope": "everything"}).status_code,
    ]
    for name in ("looks", "stranger")
}
done["by_get"] = by["boss"].get(SENDS + "refused/requeue/").status_code
done["untouched"] = [status(name).state for name in ("refused", "waits")]

by["boss"].post(SENDS + "refused/requeue/")
by["boss"].post(SENDS + "do/cancel/", {"ids": ["waits", "went", "nosuch"]})
resent = by["boss"].post(SENDS + "wrong-address/resend/", {"to": "ann.new@example.org"})["Location"]
done["after"] = {name: status(name).state for name in ("refused", "waits", "wrong-address", "went")}
done["resent"] = resent.removeprefix(SENDS).strip("/")
by["boss"].post(SENDS + "wrong-address/resend/", {"to": "nobody"})
done["told"] = by["boss"].get(SENDS + "wrong-address/").content.decode()

by["boss"].post(
    OPT_OUTS + "add-one/", {"address": "Gone <Gone@example.org>", "scope": "everything", "reason": "manual"}
)
done["opt_outs"] = {name: by[name].get(OPT_OUTS).content.decode() for name in ("boss", "looks")}
done["added"] = [each.address for each in current_client().suppression.find("gone@example.org")]
by["boss"].post(OPT_OUTS + "remove/", {"address": "gone@example.org", "scope": "everything"})
done["removed"] = [each.address for each in current_client().suppression.find("gone@example.org")]
by["boss"].post(OPT_OUTS + "add-one/", {"address": "nobody", "scope": "everything"})

done["steered"] = {}
for act in ("pause", "resume", "cancel", "nosuch"):
    by["boss"].post(f"{BATCHES}{batch}/{act}/")
    page = by["boss"].get(BATCHES).content.decode()
    said = [each for each in ("Paused.", "Resumed.", "Cancelled.") if each in page]
    if act == "pause":
        done["of_paused"] = [
            by["boss"].get(f"{SENDS}{path}").content.decode() for path in (f"{batch}-1/", f"?batch={batch}")
        ]
    done["steered"][act] = [current_client().batches.status(batch).state, *said]
done["opt_outs_acts"] = by["boss"].get(OPT_OUTS).content.decode().partition("Done by staff")[2]
done["batch_counts"] = current_client().batches.status(batch).counts

done["audit"] = [[each.user.username, each.object_id, each.change_message] for each in LogEntry.objects.order_by("pk")]
done["batch_acts"] = by["boss"].get(f"{BATCHES}{batch}/").content.decode().partition("Done by staff")[2]
done["pages"] = {
    path: by["boss"].get(f"/admin/sesmail_django/{path}/").status_code for path in ("mailing", "setasideevent")
}
print(json.dumps(done))
