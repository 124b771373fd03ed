"""`sesmail loadtest`: what it sends, and what it asks for before."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import click
import pytest

from sesmail.cli.loadtest import Run, _emails, _mix, _quantile


def test_the_mix_is_kept_to_at_every_length() -> None:
    client = SimpleNamespace(settings=SimpleNamespace(from_email="shop@example.com"))
    mix = {"success": 97, "bounce": 2, "complaint": 1}
    made = [*_emails(client, Run(name="loadtest-1"), 300, mix)]
    assert Counter(kind for _, kind in made) == {"success": 291, "bounce": 6, "complaint": 3}
    assert Counter(kind for _, kind in made[:100]) == mix
    assert len({email.to for email, _ in made}) == 300
    assert all(email.to[0].startswith(f"{kind}+") for email, kind in made)
    assert all(email.to[0].endswith("@simulator.amazonses.com") for email, _ in made)


@pytest.mark.parametrize("said", ["", "success", "success=x", "sucess=1", "success=0,bounce=0", "success=1;bounce=1"])
def test_a_mix_that_means_nothing_is_refused(said: str) -> None:
    with pytest.raises(click.BadParameter):
        _mix(None, None, said)  # type: ignore[arg-type]


def test_the_tail_of_few_is_their_longest() -> None:
    assert (_quantile([], 0.5), _quantile([1.0], 0.99), _quantile([1.0, 2.0, 3.0], 1.0)) == (None, 1.0, 3.0)
