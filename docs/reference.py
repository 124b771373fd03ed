"""The reference pages that are made from the code: arguments, states, errors, event types, keys."""

from __future__ import annotations

import dataclasses
import inspect
import re
from itertools import groupby
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import sesmail
from docs import source
from sesmail import doctor, errors, signals, vocabulary
from sesmail.celery.send_task import SendSesEmail, SendTask
from sesmail.events import model
from sesmail.message import Attachment, Email, Lane
from sesmail.state import keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

ALIASES = {"Addresses": "str | Iterable[str]", "Any | None": "Any"}
"""Names in annotations that say nothing to a reader, and what they stand for."""


def made_from(*files: str) -> str:
    """The first line of a page, for those who would change it by hand."""
    return f"<!-- Made from {', '.join(files)} by `python -m docs.generate`: change it there. -->"


def rows(*columns: str, cells: Iterable[Iterable[str]]) -> list[str]:
    """A table."""
    lines = [" | ".join(cell.replace("|", r"\|") for cell in line) for line in cells]
    return ["", f"| {' | '.join(columns)} |", "|" + "---|" * len(columns), *(f"| {line} |" for line in lines)]


# -- arguments --------------------------------------------------------------------------------------------------------


def arguments_page() -> str:
    """What `send_ses_email` is given, and how."""
    email = source.fields(Email) | source.table(Email.__init__.__doc__)
    words = {name.lstrip("_"): meaning for name, meaning in email.items()}
    options = _parameters(SendSesEmail.apply_async)
    del options["args"], options["kwargs"]
    lines = [
        made_from("sesmail/message/email.py", "sesmail/message/attachment.py", "sesmail/celery/send_task.py"),
        "# The arguments of `send_ses_email`",
        "",
        "Whatever SES would not take raises `InvalidEmail`, which names the argument and its limit; nothing is queued.",
        "",
        "## Ways to call it",
        *rows("call", "meaning", cells=_calls()),
        "",
        "## Of the email",
        "",
        "They are those of `sesmail.Email`, too. The first four may be given by their places.",
        *_arguments(_parameters(Email), words),
        "",
        "## Attachment",
        "",
        source.first_paragraph(Attachment.__doc__),
        *_arguments(_parameters(Attachment), source.fields(Attachment)),
        "",
        "## Of `apply_async`",
        *_arguments(options, source.table(SendTask.apply_async.__doc__)),
    ]
    return "\n".join(lines) + "\n"


def _calls() -> Iterator[tuple[str, str]]:
    for name, meaning in source.table(SendSesEmail.__doc__).items():
        assert hasattr(SendSesEmail, name), f"send_ses_email.{name} does not exist"
        yield f"`.{name}(...)`", meaning


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {name: one for name, one in inspect.signature(function).parameters.items() if name != "self"}


def _arguments(parameters: Mapping[str, inspect.Parameter], words: Mapping[str, str]) -> list[str]:
    assert parameters.keys() == words.keys(), (
        f"without a meaning, or without an argument: {parameters.keys() ^ words.keys()}"
    )
    cells = [
        (f"`{name}`", _types(one.annotation), _default(one.default), words[name]) for name, one in parameters.items()
    ]
    return rows("argument", "type", "default", "meaning and limits", cells=cells)


def _types(annotation: str) -> str:
    """An annotation, in words where it is a union; that it may be None is said by the default."""
    for alias, meaning in ALIASES.items():
        annotation = annotation.replace(alias, meaning)
    return " or ".join(f"`{one}`" for one in annotation.split(" | ") if one != "None")


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return "required"
    if value in (None, ()):
        return ""
    return f"`{value.value if isinstance(value, Lane) else value!r}`"


# -- states -----------------------------------------------------------------------------------------------------------


STATES = ["nothing", *vocabulary.State]


def states_page() -> str:
    """What a send can be, what leads where, and the other lists of words that `sesmail status` answers with."""
    lines = [
        made_from("sesmail/vocabulary.py", "sesmail/state/lua"),
        "# The states of a send",
        "",
        "`sesmail.status(id).state`, `sesmail status` and the metrics use these words.",
        *rows("state", "meaning", "comes from", "goes to", cells=_states()),
        "",
        "What is `sent` is forgotten by Redis itself, after `SESMAIL_SENT_RETENTION_SECONDS`.",
        "",
        "## What leads where",
        "",
        "Each move is one Lua script, so it is made whole or not at all, by Redis' own clock. `nothing` is before an",
        "email is accepted, and after it is forgotten.",
        *rows("from", "to", "when", "by", cells=_moves()),
        "",
        "## How far it got with each recipient",
        "",
        f"`sesmail.status(id).deliveries`. {source.one_line(vocabulary.Delivery.__doc__)}",
        *rows("delivery", "meaning", cells=members(vocabulary.Delivery)),
        "",
        "## Why nothing is sent to an address",
        "",
        source.one_line(vocabulary.Reason.__doc__),
        *rows("reason", "meaning", cells=members(vocabulary.Reason)),
    ]
    return "\n".join(lines) + "\n"


def _states() -> Iterator[tuple[str, ...]]:
    ways = [(origin, move.to) for move in source.moves() for origin in move.origins]
    for state, meaning in source.members(vocabulary.State).items():
        come_from = {origin for origin, to in ways if to == state != origin}
        go_to = {to for origin, to in ways if origin == state != to}
        yield f"`{state}`", meaning, _codes(come_from), _codes(go_to)


def _moves() -> Iterator[tuple[str, ...]]:
    for move in sorted(source.moves(), key=lambda move: (STATES.index(move.origins[0]), STATES.index(move.to))):
        file = f"[{move.script}](../sesmail/state/lua/{move.room}/{move.script}.lua)"
        yield _codes(move.origins), f"`{move.to}`", move.when, file


def _codes(states: Iterable[str]) -> str:
    return ", ".join(f"`{state}`" for state in sorted(states, key=STATES.index))


def members(words: Any) -> Iterator[tuple[str, str]]:
    """The rows of an enumeration."""
    return ((f"`{member}`", meaning) for member, meaning in source.members(words).items())


# -- errors -----------------------------------------------------------------------------------------------------------

BRANCH = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>\w+)(?: +(?P<words>.+))?$", re.MULTILINE)


def errors_page() -> str:
    """Every error, what it means for the mail, and what to do."""
    before, tree, after = inspect.cleandoc(errors.__doc__ or "").split("\n\n")
    tree = inspect.cleandoc(tree)
    lines = [
        made_from("sesmail/errors.py"),
        "# Errors",
        "",
        f"{before} Those that callers meet can be had from `sesmail`, all from `sesmail.errors`.",
        "",
        "```text",
        tree,
        "```",
        "",
        after,
        *rows("error", "what it means for the mail", "what to do", "it knows", cells=_errors(tree)),
    ]
    return "\n".join(lines) + "\n"


def _errors(tree: str) -> Iterator[tuple[str, ...]]:
    for found in BRANCH.finditer(tree):
        error = getattr(errors, found["name"])
        others = [base for base in error.__bases__ if base not in (Exception, *vars(errors).values())]
        also = "".join(f" Also a kind of `{base.__name__}`." for base in others)
        knows = ", ".join(f"`{name}`" for name in _context(error))
        yield f"`{error.__name__}`", source.one_line(error.__doc__) + also, found["words"] or "", knows


def _context(error: type) -> dict[str, None]:
    """What an error carries beside its message."""
    ours = [one for one in error.__mro__ if one in vars(errors).values() and "__init__" in vars(one)]
    code = "".join(inspect.getsource(vars(one)["__init__"]) for one in reversed(ours))
    return dict.fromkeys(re.findall(r"^        self\.(\w+) = ", code, re.MULTILINE))


# -- events -----------------------------------------------------------------------------------------------------------


def events_page() -> str:
    """The signals, and the types of the events that they tell of."""
    types = [one for one in vars(model).values() if isinstance(one, type) and issubclass(one, model.Event)]
    public = [one for one in types if one.__name__ in sesmail.__all__ and one is not model.Event]
    told = {one.signal: f"[`{one.__name__}`](#{one.__name__.lower()})" for one in public if one.signal}
    lines = [
        made_from("sesmail/signals.py", "sesmail/events/model.py"),
        "# Signals and event types",
        "",
        _prose(signals.__doc__),
        *rows(
            "signal",
            "when",
            "event",
            cells=[(f"`{name}`", one.__doc__ or "", told.get(name, "")) for name, one in signals.ALL.items()],
        ),
        "",
        "What follows from each: see [Events](events-reference.md#what-follows-from-an-event).",
        "",
        "## Event",
        "",
        "What all of them have.",
        *fields(model.Event),
    ]
    for one in public:
        lines += ["", f"## {one.__name__}", "", _event(one), *fields(one)]
    return "\n".join(lines) + "\n"


def _prose(docstring: str | None) -> str:
    """A docstring in Markdown: what is set off in it is Python."""
    text = inspect.cleandoc(docstring or "")
    return re.sub(r"(?<=\n\n)(?:    .*\n|\n(?=\n*    ))+", lambda code: f"```python\n{dedent(code[0])}```\n", text)


def _event(one: type[model.Event]) -> str:
    counter, delivery = (one.__dataclass_fields__[name].default for name in ("counter", "delivery"))
    told = f" Told by `{one.signal}`." if one.signal else " Told by no signal."
    counts = f" Counts as `{counter}`." if counter else ""
    proves = f" The recipient's status: `{delivery}`." if delivery else ""
    return source.one_line(one.__doc__) + told + counts + proves


def fields(record: type) -> list[str]:
    """The fields that a record itself adds, without those that it only sets."""
    inherited = {
        field.name for base in record.__bases__ if dataclasses.is_dataclass(base) for field in dataclasses.fields(base)
    }
    words = source.fields(record)
    types = {field.name: str(field.type) for field in dataclasses.fields(record)}
    cells = [
        (f"`{name}`", f"`{types[name]}`", words[name]) for name in words if name in types and name not in inherited
    ]
    return rows("field", "type", "meaning", cells=cells) if cells else []


# -- keys -------------------------------------------------------------------------------------------------------------


def keys_page() -> str:
    """The map of Redis."""
    lines = [made_from("sesmail/state/keys.py"), "# Keys in Redis", "", inspect.cleandoc(keys.__doc__ or "")]
    by_pattern = {key.pattern: key for key in keys.CATALOGUE}
    text = inspect.getsource(keys).partition("CATALOGUE")[2]
    for group in re.split(r"^    # ", text, flags=re.MULTILINE)[1:]:
        heading, _, entries = group.partition("\n")
        found = [by_pattern.pop(pattern) for pattern in re.findall(r"Key\(\s*\"([^\"]+)\"", entries)]
        cells = [(f"`{key.pattern}`", key.type, key.lifetime, key.meaning) for key in found]
        lines += ["", f"## {heading}", *rows("key", "type", "lifetime", "meaning", cells=cells)]
    assert not by_pattern, f"under no heading: {by_pattern}"
    return "\n".join(lines) + "\n"


# -- the doctor -------------------------------------------------------------------------------------------------------


def doctor_page() -> str:
    """All checks of `sesmail doctor`."""
    lines = [made_from("sesmail/doctor"), "# What goes wrong with a set-up", "", DOCTOR]
    for about, found in groupby(doctor.in_order(), key=lambda each: each.about):
        lines += ["", f"## {about}"]
        for each in found:
            lines += ["", f"### {each.id}", "", f"**{each.level}.** {each.cause}", ""]
            lines += [f"{each.do} ([more]({each.docs}))"]
    return "\n".join(lines) + "\n"


DOCTOR = """```console
$ sesmail doctor                      # what is wrong, the weightiest first, each with what to do
$ sesmail doctor --json
$ sesmail doctor --skip sandbox       # what is meant so
```

It looks at settings, Redis, the broker, workers, SES and the way of events. It changes nothing and sends nothing: the
right to send is tried by an email to nobody, which SES refuses in any case. It exits with 1 where an error or a warning
is found. What it has no right to see is told as *not seen*, with the reason. Run it with the environment and the AWS
role of a worker. *Error*: mail does not go out, or is lost; *warning*: somebody should see to it; *info*: it is so, and
may be meant so.

Why mail is not going out just now: `sesmail why`. How things stand: `sesmail status`."""
