"""The documents, checked: every command that they print is understood by the program."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import pytest

from deadlib.cli.main import VERBS

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "bin" / "quickstart"]


def printed_commands(path: Path) -> list[str]:
    """Lines of shell code that call deadlib, continuation lines joined."""
    text = path.read_text(encoding="utf-8")
    fenced = re.findall(r"```(?:bash|sh)\n(.*?)```", text, re.S)
    blocks = fenced if path.suffix == ".md" else [text]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    call = re.compile(r"(?:^|step |\$ )(deadlib[- ][a-z].*)")
    found = (call.search(line.split("  #")[0]) for line in lines)
    return [match.group(1) for match in found if match]


COMMANDS = [(path.name, command) for path in DOCUMENTS for command in printed_commands(path)]


def test_the_readme_prints_commands() -> None:
    assert sum(name == "README.md" for name, _ in COMMANDS) >= 5


@pytest.mark.parametrize(("document", "line"), COMMANDS, ids=lambda value: str(value)[:60])
def test_a_printed_command_is_understood(document: str, line: str) -> None:
    program, *arguments = shlex.split(line, comments=True)
    verb = arguments.pop(0) if program == "deadlib" else program.removeprefix("deadlib-")
    if verb.startswith("-"):
        return
    assert verb in VERBS, f"{document}: {line}"
    command: click.Command = import_module(f"deadlib.cli.{verb.replace('-', '_')}").main
    while isinstance(command, click.Group) and arguments:
        subcommand = command.get_command(click.Context(command), arguments.pop(0))
        assert subcommand is not None, f"{document}: {line}"
        command = subcommand
    # A command may hand over to another one, as `deadlib-convert verify` does.
    command = command.make_context(verb, list(arguments), resilient_parsing=True).command
    options = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    options |= {"--help", "-h", "--version"}
    unknown = {word.split("=")[0] for word in arguments if word.startswith("--")} - options
    assert not unknown, f"{document}: {line}: unknown {unknown}"


def test_the_readme_and_its_page_make_the_same_screen() -> None:
    made = {
        name: [shlex.split(line) for line in printed_commands(ROOT / name) if " screen" in line]
        for name in ("README.md", "docs/celldeathpred.md")
    }
    for start in ("deadlib-simulate", "deadlib-convert"):
        first = [next(w for w in lines if w[0] == start) for lines in made.values()]
        assert first[0] == first[1]


def test_every_verb_has_its_document_and_its_script() -> None:
    documents = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    scripts = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"deadlib-{verb}" in documents
        assert f"deadlib-{verb} = deadlib.cli.{verb.replace('-', '_')}:main" in scripts


def test_relative_links_lead_somewhere() -> None:
    for path in DOCUMENTS:
        if path.suffix != ".md":
            continue
        prose = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", prose):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path.name} links to {target}"
