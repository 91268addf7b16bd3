"""The design, enforced: imports go one way, and help answers without TensorFlow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

RANKS = [
    {"tfrecords_tools"},
    {
        "deadlib._version",
        "deadlib.errors",
        "deadlib.outputs",
        "deadlib.presets",
        "deadlib.bootstrap",
        "deadlib.videos",
    },
    {"deadlib.predictions"},
    {
        "deadlib.recipe",
        "deadlib.metrics",
        "deadlib.views",
        "deadlib.pages",
        "deadlib.crops",
        "deadlib.retrieval",
        "deadlib.aggregation",
    },
    {
        "deadlib.data",
        "deadlib.augment",
        "deadlib.models",
        "deadlib.losses",
        "deadlib.calibration",
        "deadlib.plates",
        "deadlib.web",
    },
    {"deadlib.runs"},
    {"deadlib.acquisition", "deadlib.windows"},
    {"deadlib.inputs", "deadlib.annotation", "deadlib.controls"},
    {
        "deadlib.simulation",
        "deadlib.training",
        "deadlib.inference",
        "deadlib.evaluation",
        "deadlib.heatmaps",
        "deadlib.interpretation",
        "deadlib.serving",
        "deadlib.features",
        "deadlib.doses",
        "deadlib.embeddings",
    },
    {"deadlib.study", "deadlib.panel", "deadlib.server"},
    {"deadlib.cli"},
]
RANK_OF = {part: rank for rank, parts in enumerate(RANKS) for part in parts}


def part_of(module: str) -> str:
    names = module.split(".")
    return names[0] if names[0] == "tfrecords_tools" else ".".join(names[:2])


def module_name(path: Path) -> str:
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


def imported_modules(path: Path) -> list[str]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    return modules


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True)


SOURCES = [
    path
    for package in ("deadlib", "tfrecords_tools")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != ROOT / "deadlib" / "__init__.py"
]


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_one_way(path: Path) -> None:
    importer = part_of(module_name(path))
    assert importer in RANK_OF, f"{importer} has no rank: add it to RANKS and to architecture.md"
    for module in imported_modules(path):
        imported = part_of(module)
        if imported == importer or imported not in RANK_OF:
            continue
        assert RANK_OF[imported] < RANK_OF[importer], f"{module_name(path)} imports {module}"


COMMANDS = sorted(
    path.stem
    for path in (ROOT / "deadlib" / "cli").glob("*.py")
    if path.stem not in {"__init__", "terminal"}
)
HEAVY = {"tensorflow", "keras", "pandas", "matplotlib", "scipy", "sklearn"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_does_not_import_anything_heavy(command: str) -> None:
    script = (
        "import sys, json\n"
        f"from deadlib.cli.{command} import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(json.dumps(sorted(name.split('.')[0] for name in sys.modules)), file=sys.stderr)"
    )
    done = run_python(script)
    assert not HEAVY & set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    assert "Usage" in done.stdout


def test_importing_deadlib_starts_nothing_heavy() -> None:
    script = "import sys, deadlib; print(sorted(sys.modules))"
    done = run_python(script)
    assert not HEAVY & {name.split(".")[0] for name in ast.literal_eval(done.stdout)}


def test_public_names_exist() -> None:
    import deadlib

    for name in deadlib.__all__:
        assert getattr(deadlib, name) is not None
        assert getattr(deadlib, name) is not None, "the second access must not find a module"


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import deadlib

    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        deadlib.evalute  # noqa: B018
