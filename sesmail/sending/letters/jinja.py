"""Letters in Jinja: rendered in its sandbox, strictly, each letter compiled once in a process."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sesmail.errors import ConfigurationError, InvalidEmail, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment, Template

_OF_OTHER_FILES = "it extends, includes or imports another file, which workers do not have: write it out"


@lru_cache(maxsize=16)
def names(text: str) -> set[str]:
    """The variables of a template. Raises `ConfigurationError` for what is none, and `MissingExtra`."""
    environment = _environment(in_html=False)
    from jinja2 import TemplateSyntaxError, meta  # noqa: PLC0415  optional

    try:
        tree = environment.parse(text)
        needs_files = any(True for _ in meta.find_referenced_templates(tree))
        found = meta.find_undeclared_variables(tree) - set(environment.globals)
    except TemplateSyntaxError as error:
        raise ConfigurationError(
            f"The letter is no Jinja template: line {error.lineno}: {error.message}. Nothing was queued."
        ) from None
    if needs_files:
        raise ConfigurationError(f"The letter cannot be rendered: {_OF_OTHER_FILES}. Nothing was queued.")
    return found


def rendered(field: str, text: str, values: Mapping[str, object], *, in_html: bool = False) -> str:
    """A template with one reader's values. Raises `InvalidEmail` that names the field alone."""
    template = _compiled(text, in_html=in_html)
    try:
        return template.render(values)
    except Exception as error:  # noqa: BLE001  a template is a program: whatever it does with this reader's values
        problem = f"cannot be rendered with these values ({type(error).__name__})"
    raise InvalidEmail(field, problem)  # out here: Jinja's words may quote a value


@lru_cache(maxsize=16)
def _compiled(text: str, *, in_html: bool) -> Template:
    return _environment(in_html=in_html).from_string(text)


@lru_cache(maxsize=2)
def _environment(*, in_html: bool) -> Environment:
    """Immutable: what a template is given, it cannot change for the next reader."""
    try:
        from jinja2 import StrictUndefined  # noqa: PLC0415  optional
        from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtra(
            "A letter in Jinja cannot be read or rendered: jinja2 is not installed. Nothing was sent. Install it with "
            "`pip install 'sesmail[jinja]'`, on workers, too."
        ) from error
    said: dict[str, Any] = {"autoescape": in_html, "undefined": StrictUndefined, "keep_trailing_newline": True}
    return ImmutableSandboxedEnvironment(**said)
