"""What all commands share on the terminal."""

from __future__ import annotations

import warnings

import pytest
from click.testing import CliRunner

from deadlib.cli import terminal
from deadlib.errors import ResultsChangedWarning


def test_changed_answers_are_told_and_not_put_into_a_log(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def loads_a_model() -> None:
        with terminal.native_output_to(None):
            warnings.warn("the answers changed", ResultsChangedWarning, stacklevel=1)
            warnings.warn("of some library", UserWarning, stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        CliRunner().invoke(terminal.Command("x", callback=loads_a_model), [])
    told = capfd.readouterr().err
    assert "WARNING: the answers changed" in told
    assert "of some library" not in told
