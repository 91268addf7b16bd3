"""deadlib-simulate on the command line."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

from deadlib.cli.simulate import main
from deadlib.simulation import MODALITIES

TINY = ["--width", "64", "--height", "64"]


def test_options_reach_the_simulation(tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["phase", str(out), *TINY, "--positions", "3", "--positions-per-well", "1",
                 "--doses", "0,150", "--shortcut", "brightness=0.4", "--shortcut", "defocus=2",
                 "--seed", "7"]  # fmt: skip
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "deadlib-convert" in done.output
    record = json.loads((out / "simulation.json").read_text())
    assert record["seed"] == 7
    assert record["parameters"]["doses"] == [0.0, 150.0]
    assert record["parameters"]["shortcut"] == {"brightness": 0.4, "defocus": 2.0}


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_parameter_is_an_option(modality: str) -> None:
    flags = {flag for option in main.commands[modality].params for flag in option.opts}
    for item in fields(MODALITIES[modality]):
        assert f"--{item.name.replace('_', '-')}" in flags
    shown = CliRunner().invoke(main, [modality, "--help"])
    assert shown.exit_code == 0
    assert "Example:" in shown.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["phase", "out", "--effect", "-1"], "not in the range"),
        (["phase", "out", "--doses", "0,many"], "not a list of numbers"),
        (["phase", "out", "--shortcut", "brightness"], "expected for example brightness=0.5"),
        (["phase", "out", "--shortcut", "colour=1"], "'colour' is unknown"),
        (["phase", "out", "--shortcut", "shading=1", "--shortcut", "shading=2"], "given twice"),
        (["transmitted", "out", "--lines", "U2,HeLa"], "'HeLa' is unknown; known: PC3"),
        (["painting", "out", "--plates", "2", "--shortcut", "shading=1"], "at least 3, found 2"),
        (["fluo", "out"], "No such command"),
    ],
)
def test_a_wrong_option_is_a_usage_error(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert message in done.output


def test_a_folder_in_the_way_ends_with_one_message(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = CliRunner().invoke(main, ["phase", str(tmp_path), *TINY, "--positions", "1"])
    assert done.exit_code == 1
    assert "Traceback" not in done.output
