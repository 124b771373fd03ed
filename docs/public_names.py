"""The reference page of the public names: what `import sesmail` offers, and the modules beside it."""

from __future__ import annotations

import ast
import inspect
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import sesmail
from docs import source
from docs.reference import fields, made_from, members, rows
from sesmail import vocabulary
from sesmail.message import Lane
from sesmail.sending.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MODULES = (
    "sesmail.signals",
    "sesmail.errors",
    "sesmail.testing",
    "sesmail.testing.pytest_plugin",
    "sesmail.tasks",
    "sesmail.contrib.django",
    "sesmail.contrib.flask",
    "sesmail.doors.asgi",
    "sesmail.doors.aws_lambda",
    "sesmail.doors.sqs",
    "sesmail.doors.prometheus",
    "sesmail.doors.flower",
    "sesmail.simulator",
    "sesmail.simulator.pytest_plugin",
    "sesmail.embedded",
)
"""The modules that sites name, beside the package itself. All others are for sesmail alone."""

HEADINGS = {
    "celery.tasks": "Sending",
    "message": "An email",
    "sending.letters.letter": "A letter to many",
    "sending.batches.batch": "A letter to many",
    "api": "What became of it",
    "vocabulary": "What is answered",
    "client": "Applications",
    "celery.current": "Applications",
    "settings": "Applications",
    "celery.standalone": "Applications",
    "errors": "Errors",
    "events.model": "Events",
    "signals": "Signals",
    "": "The package",
}
"""The headings of the public names, by the module that they come from."""

PAGES_OF_NAMES = {
    "send_ses_email": "arguments.md",
    "Email": "arguments.md",
    "Attachment": "arguments.md#attachment",
    "State": "states.md",
    "Delivery": "states.md#how-far-it-got-with-each-recipient",
    "Reason": "states.md#why-nothing-is-sent-to-an-address",
    "Settings": "settings.md",
}
PAGES_OF_MODULES = {"errors": "errors.md", "signals": "event-types.md", "events.model": "event-types.md#{}"}


def page() -> str:
    """What `import sesmail` offers, and the modules beside it."""
    lines = [
        made_from("sesmail/__init__.py"),
        "# Public names",
        "",
        "`from sesmail import ...`: what stands here stays as it is within a major version. Anything else in the",
        "package may change in any release, but for the modules [below](#modules).",
    ]
    for heading in dict.fromkeys(HEADINGS.values()):
        if names := [name for name in sesmail.__all__ if HEADINGS[_home(name)] == heading]:
            lines += ["", f"## {heading}", *rows("name", "meaning", cells=map(_name, names)), *_more(heading)]
    lines += ["", "## Modules", *rows("module", "meaning", cells=map(_module, MODULES))]
    return "\n".join(lines) + "\n"


def _home(name: str) -> str:
    return sesmail._HOMES.get(name, "")  # noqa: SLF001


def _name(name: str) -> tuple[str, str]:
    home, thing = _home(name), getattr(sesmail, name)
    if inspect.isfunction(thing):
        return f"`{_signature(name, thing)}`", source.one_line(thing.__doc__)
    module = import_module(f"sesmail.{home}".rstrip("."))
    meaning = source.module_attributes(module).get(name) or source.first_paragraph(thing.__doc__)
    page = PAGES_OF_NAMES.get(name) or PAGES_OF_MODULES.get(home, "").format(name.lower())
    return f"[`{name}`]({page})" if page else f"`{name}`", meaning


def _more(heading: str) -> list[str]:
    if heading == "What is answered":
        records = (vocabulary.Accepted, vocabulary.Status, vocabulary.Move, vocabulary.Reached)
        return [line for one in records for line in ("", f"### {one.__name__}", *fields(one))]
    if heading == "Applications":
        client = {name: getattr(sesmail.Client, name) for name in ("send", "asend", "outbox", "close")}
        asked = ("send", "status", "cancel", "reschedule", "requeue", "record_evidence")
        outbox = {name: getattr(Outbox, name) for name in asked}
        return ["", "### Client", *_methods(client), "", "### Client.outbox", *_methods(outbox)]
    if heading == "An email":
        return ["", "### Lane", *rows("lane", "meaning", cells=members(Lane))]
    return []


def _methods(methods: Mapping[str, Any]) -> list[str]:
    cells = [
        (f"`{_signature(name, one) if callable(one) else name}`", source.one_line(one.__doc__))
        for name, one in methods.items()
    ]
    return rows("method", "meaning", cells=cells)


def _signature(name: str, function: Callable[..., Any]) -> str:
    """A function as its definition writes it, without `self`."""
    (node,) = ast.parse(dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    parameters = ast.unparse(node.args).removeprefix("self").removeprefix(", ").replace("=", " = ")
    awaited = "await " if isinstance(node, ast.AsyncFunctionDef) else ""
    return f"{awaited}{name}({parameters}) -> {ast.unparse(node.returns) if node.returns else 'None'}"


def _module(name: str) -> tuple[str, str]:
    found = find_spec(name)
    assert found is not None
    assert found.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(found.origin).read_text(encoding="utf-8")))
    return f"`{name}`", source.first_paragraph(docstring)
