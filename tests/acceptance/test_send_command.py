"""`sesmail send`, `status` and `quota` as they are typed: what they queue, say and exit with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from sesmail.embedded import EmbeddedRedis
from sesmail.message import Email
from sesmail.simulator import Simulator
from sesmail.state.batches.chunks import unpacked
from sesmail.state.keys import Keys
from sesmail.vocabulary import State
from tests.acceptance.conftest import Site
from tests.acceptance.programs import PATIENCE_SECONDS, eventually, fetch, free_port

SESMAIL = str(Path(sys.executable).parent / "sesmail")


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Desk:
    """Where somebody sits who types commands: a letter and lists lie there."""

    site: Site

    def start(self, *command: str, stdin: int = subprocess.DEVNULL, **environment: str) -> subprocess.Popen[str]:
        said = self.site.environment | {"SESMAIL_FROM_EMAIL": "news@example.com", "COLUMNS": "200"} | environment
        return subprocess.Popen(
            [SESMAIL, *command],
            cwd=self.site.folder,
            env=said,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str]) -> Answer:
        with process:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert "Traceback" not in err, err
        return Answer(process.returncode, out, err)

    def run(self, *command: str, **environment: str) -> Answer:
        return self.finish(self.start(*command, **environment))

    def file(self, name: str, content: str) -> str:
        (self.site.folder / name).write_text(content)
        return name

    def people(self, rows: Iterable[str]) -> str:
        return self.file("people.csv", "email,name\n" + "".join(f"{row}\n" for row in rows))

    def send(self, rows: Iterable[str], *options: str, **environment: str) -> Answer:
        """`sesmail send` of a small letter to these rows."""
        text = self.file("letter.txt", "Dear {{name}}")
        mailing = ["--csv", self.people(rows), "--subject", "For {{name}}", "--text", text, *options]
        return self.run("send", *mailing, **environment)

    def counts(self) -> dict[str, int]:
        """The sends there are, by state, those of batches among them."""
        found = Counter(self.site.ledger.counts())
        for batch_id in self.site.batches.latest():
            found.update(self.site.batches.status(batch_id).counts)
        return {str(state): found[state] for state in State if found[state]}

    def waiting(self) -> dict[str, str]:
        """Who waits in the latest batch, and the first value of each."""
        redis, keys = self.site.redis, Keys()
        chunks = redis.hvals(keys("batch", self.site.batches.latest()[0], "chunks"))
        return {row[0]: row[1] for chunk in chunks for row in unpacked(chunk)}

    def copies(self) -> Counter[str]:
        """How often SES has got a mail for whom."""
        return Counter(message["to"][0] for message in self.site.ses.messages())


def somebody(count: int, first: int = 0) -> list[str]:
    return [f"person{number}@example.org,Person {number}" for number in range(first, first + count)]


@pytest.fixture
def desk(site: Site) -> Desk:
    """A desk with an empty Redis database, no worker, and a celeryconfig.py that says nothing."""
    site.redis.flushdb()
    (site.folder / "celeryconfig.py").touch()
    return Desk(site)


# What is queued goes out

NOVEMBER = ["--html", "letter.html", "--attach", "terms.txt", "--tag", "list=monthly", "--key", "november"]
NOVEMBER += ["--reply-to", "help@example.com"]


@pytest.fixture(scope="module")
def mailed(new_site: Callable[..., Site]) -> Iterator[tuple[Desk, Answer]]:
    """A letter with everything to ten people, sent by a worker."""
    with Simulator(rate=500, calls_per_second=None) as ses:
        desk = Desk(new_site(ses))
        desk.file("letter.html", "<p>Dear {{ name }}</p>")
        desk.file("terms.txt", "The terms")
        people = [*somebody(8), '"person8@example.org","Fish & <Chips>"', "person9@example.org,Jürg"]
        answer = desk.send(people, *NOVEMBER, "--json")
        desk.site.start_worker()
        eventually(lambda: len(ses.messages()) == 10, explain=lambda: repr(desk.counts()))
        yield desk, answer


def test_everybody_on_the_list_is_mailed_once_with_their_own_values(mailed):
    desk, answer = mailed
    assert answer.code == 0
    said = answer.json
    assert said.pop("batch_id").startswith("batch_")
    assert said == {"queued": 10, "already_queued": 0, "bad": 0, "of": 10, "key": "november"}
    assert set(desk.copies().values()) == {1}
    messages = {message["to"][0]: message for message in desk.site.ses.messages()}
    assert messages["person9@example.org"]["subject"] == "For Jürg"
    address = f"/_sim/messages/{messages['person8@example.org']['message_id']}"
    fish = desk.site.ses.control("GET", address)
    assert (fish["subject"], fish["text"]) == ("For Fish & <Chips>", "Dear Fish & <Chips>")
    assert [attachment["filename"] for attachment in fish["attachments"]] == ["terms.txt"]
    assert fetch(f"{desk.site.ses.url}{address}/html") == "<p>Dear Fish &amp; &lt;Chips&gt;</p>"


def test_a_rerun_with_the_same_key_mails_only_who_is_new(mailed):
    desk, _ = mailed
    again = desk.send([*somebody(10), "new@example.org,New"], *NOVEMBER, "--json")
    assert (again.code, again.json["queued"], again.json["already_queued"]) == (0, 1, 10)
    eventually(lambda: "new@example.org" in desk.copies())
    assert set(desk.copies().values()) == {1}


def test_status_counts_the_sends_and_tells_what_became_of_one(mailed):
    desk, _ = mailed
    mailing = ["send", "--csv", "people.csv", "--subject", "Hi", "--text", "letter.txt"]
    send_id = desk.run(*mailing, "--test-to", "me@example.com", "--json").json["send_id"]
    desk.site.status(send_id, "sent")
    everything = desk.run("status", "--json")
    assert everything.code == 0
    assert everything.json["batches"]["sent"] >= 10
    assert everything.json["line"] == []
    one = desk.run("status", send_id, "--json").json
    assert (one["send_id"], one["state"], one["attempts"]) == (send_id, "sent", 1)
    assert one["message_id"] in {message["message_id"] for message in desk.site.ses.messages()}
    assert "line" in desk.run("status").out
    assert one["message_id"] in desk.run("status", send_id).out


def test_status_shows_no_address_and_no_subject(mailed):
    desk, answer = mailed
    send_id = f"{answer.json['batch_id']}-0"
    shown = desk.run("status", send_id).out + desk.run("status", send_id, "--json").out
    assert "@" not in shown
    assert "Person" not in shown


def test_quota_shows_the_account_s_limits_as_a_worker_was_told_them(mailed):
    desk, _ = mailed
    quota = desk.run("quota", "--json").json
    assert (quota["max_send_rate"], quota["max_24_hour_send"]) == (500, 50_000)
    assert quota["used_24_hours"] >= 10
    assert quota["left_for_transactional"] <= 50_000 - 10
    assert "max send rate" in desk.run("quota").out


# What cannot be mailed is not queued


def test_bad_rows_are_told_by_line_and_nothing_is_queued(desk):
    answer = desk.send([*somebody(2), "nobody,Bob", "carol@example.org", *somebody(1)], "--json")
    assert answer.code == 1
    assert [line.partition(":")[0] for line in answer.err.splitlines()[:3]] == ["line 4", "line 5", "line 6"]
    assert "3 of 5 rows cannot be mailed. Nothing was queued" in answer.err
    assert "the same address stands in line 2" in answer.err
    assert desk.counts() == {}


def test_a_long_list_of_bad_rows_is_cut_short(desk):
    answer = desk.send(f"nobody{number},Bob" for number in range(30))
    assert answer.err.count("line ") == 20
    assert "... and 10 more" in answer.err


def test_skip_bad_goes_on_without_them(desk):
    answer = desk.send([*somebody(2), "nobody,Bob"], "--skip-bad", "--json")
    assert answer.code == 0
    assert "line 4: to: " in answer.err
    assert {name: answer.json[name] for name in ("queued", "bad", "of")} == {"queued": 2, "bad": 1, "of": 3}
    assert desk.counts() == {"queued": 2}


def test_an_empty_list_is_no_mistake(desk):
    answer = desk.send([], "--json")
    assert (answer.code, answer.json["queued"]) == (0, 0)


def test_without_a_sender_nothing_is_queued_and_what_to_set_is_said(desk):
    answer = desk.send(somebody(1), SESMAIL_FROM_EMAIL="")
    assert answer.code == 1
    assert "SESMAIL_FROM_EMAIL" in answer.err
    assert desk.counts() == {}


def test_skip_bad_with_nobody_left_is_no_success(desk):
    answer = desk.send(["nobody,Bob", "nobody else,Carol"], "--skip-bad", "--json")
    assert answer.code == 1
    assert "None of 2 rows can be mailed" in answer.err
    assert {name: answer.json[name] for name in ("queued", "bad", "of")} == {"queued": 0, "bad": 2, "of": 2}


def test_skip_bad_with_everybody_queued_before_is_a_success(desk):
    for queued in (1, 0):
        answer = desk.send([*somebody(1), "nobody,Bob"], "--skip-bad", "--key", "may", "--json")
        assert (answer.code, answer.json["queued"]) == (0, queued)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (["--from", "nobody"], "--from: is not an email address"),
        (["--tag", "campaign=Spring sale"], "--tag: "),
        (["--tag", "a=1", "--tag", "a=2"], "a has two values"),
        (["--reply-to", "a@example.com, b@example.com"], "--reply-to: is not one address"),
        (["--configuration-set", "my set"], "--configuration-set: is not a configuration set's name"),
        (["--key", "k" * 300], "--key: has"),
        (["--delimiter", "::"], "--delimiter"),
        (["--encoding", "klingon"], "'klingon' is unknown"),
        (["--encoding", "hex"], "'hex' is unknown"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("more", [[], ["--skip-bad"]], ids=["", "skip-bad"])
def test_the_letter_s_own_mistakes_are_told_once_by_their_option(desk, said, told, more):
    answer = desk.send(somebody(3), *said, *more)
    assert answer.code == 2
    assert answer.err.count(told) == 1
    assert "line 2" not in answer.err
    assert desk.counts() == {}


def test_another_system_s_placeholder_is_refused_by_name_unless_it_is_meant(desk):
    desk.file("other.txt", "Dear {{{name}}}{% if vip %}!{% endif %}")
    mailing = ["send", "--csv", desk.people(somebody(1)), "--subject", "Hello", "--text", "other.txt"]
    answer = desk.run(*mailing)
    assert answer.code == 1
    assert "{{{name}}}, {% if vip %}, {% endif %}" in answer.err
    assert desk.counts() == {}
    assert desk.run(*mailing, "--verbatim").code == 0
    assert desk.counts() == {"queued": 1}


# Lists as people have them


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("email;name\r\nann@example.org;Jürg\r\n;\r\n".encode("cp1252"), [], "in cp1252"),
        ("Email Address\tname\r\nann@example.org\tJürg\r\n".encode("utf-16"), [], "tabs"),
        (b"sep=;\r\nemail;name\r\nann@example.org;J\xc3\xbcrg\r\n", [], "semicolons"),
        ("email,name\nann@example.org,Jürg\n".encode("mac_roman"), ["--encoding", "mac_roman"], ""),
        ("to^name\nann@example.org^Jürg\n".encode(), ["--delimiter", "^"], ""),
        ("to\tname\nann@example.org\tJürg\n".encode(), ["--delimiter", "tab"], ""),
    ],
)
def test_a_list_s_dialect_is_told_and_said_or_named(desk, content, options, said):
    (desk.site.folder / "list.csv").write_bytes(content)
    desk.file("letter.txt", "Dear {{name}}")
    answer = desk.run("send", "--csv", "list.csv", "--subject", "Hello", "--text", "letter.txt", "--json", *options)
    assert (answer.code, answer.json["queued"], answer.json["of"]) == (0, 1, 1)
    told = [line for line in answer.err.splitlines() if "is read as CSV" in line]
    assert len(told) == bool(said), "what was named is not told"
    assert said in "".join(told)
    assert desk.waiting() == {"ann@example.org": "Jürg"}


def test_a_list_may_come_from_standard_input(desk):
    desk.people([*somebody(3), "person0@example.org,Twice"])
    desk.file("letter.txt", "Dear {{name}}")
    mailing = ["send", "--csv", "-", "--subject", "Hello", "--text", "letter.txt", "--json", "--skip-bad"]
    process = desk.start(*mailing, stdin=subprocess.PIPE)
    with process:
        out, err = process.communicate((desk.site.folder / "people.csv").read_text(), timeout=PATIENCE_SECONDS)
    assert json.loads(out)["queued"] == 3
    assert "line 5: the same address stands in line 2" in err


def test_one_mailbox_in_several_spellings_is_queued_once_in_a_list_and_over_its_reruns(desk):
    twice = desk.send(["ann@bücher.example,Ann", "ann@xn--bcher-kva.example,Ann"], "--key", "may")
    assert "line 3: the same address stands in line 2" in twice.err
    for spelling in ("ann@bücher.example", "Ann <ANN@xn--bcher-kva.example>", "ann@bu\u0308cher.example"):
        assert desk.send([f"{spelling},Ann"], "--key", "may").code == 0
    assert desk.counts() == {"queued": 1}


@pytest.mark.parametrize("now", ["ann@bücher.example", "ann@xn--bcher-kva.example"])
def test_whom_an_earlier_release_queued_under_a_key_is_not_queued_again(desk, now):
    formerly = Email("ann@bücher.example", "Hello", "Hello", idempotency_key="may:ann@bücher.example")
    desk.site.ledger.accept("formerly", formerly)
    answer = desk.send([f"{now},Ann", *somebody(1)], "--key", "may", "--json")
    assert (answer.code, answer.json["queued"], answer.json["already_queued"]) == (0, 1, 1)


def test_another_letter_under_the_same_key_is_refused_and_another_key_sends_it_to_everybody(desk):
    assert desk.send(somebody(2), "--key", "may").code == 0
    desk.file("corrected.txt", "Dearest {{name}}")
    corrected = ["send", "--csv", desk.people(somebody(3)), "--subject", "For {{name}}", "--text", "corrected.txt"]
    answer = desk.run(*corrected, "--key", "may")
    assert (answer.code, desk.counts()) == (1, {"queued": 2})
    assert "Another letter, or list, was queued under the key may" in answer.err
    assert desk.run(*corrected, "--key", "june", "--json").json["queued"] == 3
    assert desk.counts() == {"queued": 5}


@pytest.mark.parametrize("option", ["--html", "--text"])
def test_a_letter_in_another_encoding_is_refused_with_its_name(desk, option):
    (desk.site.folder / "latin.txt").write_bytes(b"Gr\xfc\xdfe")
    answer = desk.run("send", "--csv", desk.people([]), "--subject", "Hello", option, "latin.txt")
    assert answer.code == 1
    assert "latin.txt is not in UTF-8" in answer.err


def test_a_wrong_setting_is_named(desk):
    answer = desk.send(somebody(1), SESMAIL_MAX_ATTEMPTS="many")
    assert answer.code == 78
    assert "SESMAIL_MAX_ATTEMPTS in the environment" in answer.err


@pytest.mark.parametrize(
    "command",
    [
        ["send"],
        ["send", "--csv", "people.csv", "--subject", "Hello"],
        ["send", "--csv", "people.csv", "--subject", "Hello", "--text", "people.csv", "--tag", "monthly"],
        ["send", "--csv", "missing.csv", "--subject", "Hello", "--text", "people.csv"],
        ["sned"],
        ["status", "--jsno"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_with_2(desk, command):
    desk.people(somebody(1))
    answer = desk.run(*command)
    assert answer.code == 2
    assert "Error: " in answer.err


def test_an_id_that_nobody_has_is_told(desk):
    answer = desk.run("status", "no-such-id")
    assert answer.code == 1
    assert "No send has this id" in answer.err


# Redis away, Ctrl-C


@pytest.mark.parametrize("command", [["status"], ["quota"], ["status", "an-id"]], ids=" ".join)
def test_redis_away_is_exit_code_75_for_try_again(desk, command):
    answer = desk.run(*command, SESMAIL_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    assert answer.code == 75
    assert "Redis cannot be reached" in answer.err


def queue_until_cut_off(desk: Desk, cut_off: Callable[[subprocess.Popen[str]], None]) -> tuple[Answer, str]:
    """`sesmail send`, without a key, that is cut off while Redis does not let it write; and the key that it told."""
    desk.site.redis.client_pause(60_000, all=False)
    mailing = ["--csv", desk.people(somebody(20)), "--subject", "For {{name}}", "--text", "letter.txt", "--json"]
    desk.file("letter.txt", "Dear {{name}}")
    process = desk.start("send", *mailing, SESMAIL_REDIS_TIMEOUT_SECONDS="60")
    said = ""
    while "If this is cut off" not in said:
        line = process.stderr.readline()
        assert line, f"it ended by itself: {said}"
        said += line
    cut_off(process)
    answer = desk.finish(process)
    return answer, said.partition("--key ")[2].partition("`")[0]


def test_ctrl_c_in_the_middle_is_exit_code_130_and_the_key_goes_on_where_it_stopped(desk):
    try:
        cut, key = queue_until_cut_off(desk, lambda process: process.send_signal(signal.SIGINT))
    finally:
        desk.site.redis.client_unpause()
    assert cut.code == 130
    assert f"`--key {key}` goes on with the rest" in cut.err
    rest = desk.send(somebody(20), "--key", key, "--json")
    assert rest.code == 0
    assert desk.counts() == {"queued": 20}


def test_redis_lost_in_the_middle_is_exit_code_75_and_the_key_goes_on_where_it_stopped(site, tmp_path):
    with EmbeddedRedis(tmp_path / "redis", appendfsync="always") as server:
        there = {"SESMAIL_REDIS_URL": server.url, "CELERY_BROKER_URL": server.url}
        desk = Desk(replace(site, variables=site.variables | there))
        cut, key = queue_until_cut_off(desk, lambda process: server.kill())
        assert cut.code == 75
        assert "Redis cannot be reached" in cut.err
        assert f"`--key {key}` goes on with the rest" in cut.err
        server.restart()
        rest = desk.send(somebody(20), "--key", key, "--json")
        assert rest.code == 0
        assert desk.counts() == {"queued": 20}


def test_ctrl_c_before_anything_is_queued_is_exit_code_130_too(desk):
    slow = desk.site.folder / "slow.csv"
    os.mkfifo(slow)
    process = desk.start("send", "--csv", "slow.csv", "--subject", "Hello", "--text", desk.file("letter.txt", "Hello"))
    with slow.open("w"):  # once it reads the list
        process.send_signal(signal.SIGINT)
        answer = desk.finish(process)
    assert (answer.code, answer.err) == (130, "Interrupted.\n")
    assert desk.counts() == {}


def test_a_redis_that_may_forget_is_told_by_status_and_by_a_worker_unless_it_is_meant(desk):
    redis = desk.site.redis
    policy = redis.config_get("maxmemory-policy")["maxmemory-policy"]
    redis.config_set("maxmemory-policy", "volatile-lru")
    try:
        answer = desk.run("status", "--json")
        assert "maxmemory-policy is volatile-lru" in answer.err
        assert answer.json["redis"]["policy"] == "volatile-lru"
        assert len(answer.json["redis"]["warnings"]) == 1
        assert answer.json["kept_mb"] == {"sent": 0, "not_sent": 0}
        meant = desk.run("status", SESMAIL_REDIS_MAY_FORGET="1")
        assert "WARNING" not in meant.err
        assert "volatile-lru" in meant.out
    finally:
        redis.config_set("maxmemory-policy", policy)
