"""The layout rules of the repository, read from the source with `ast`, and proof that each rule bites."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A package may import itself and packages of a lower rank; scripts and tests stand on top.
RANK = {"sim": 0, "perception": 1, "planning": 1, "agents": 2, "scripts": 3, "tests": 3}
ALLOWED_ACROSS = {("tests", "scripts")}
# highway-env is the judge, never the engine.
NO_HIGHWAY_ENV = ("sim/engine/", "sim/scenarios/")
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MAX_LINES, MAX_SCRIPT_LINES = 400, 100


@dataclass(frozen=True)
class Exceptions:
    """Files that break a rule for a reason; an entry that is no longer needed is an error too."""

    # path -> (lines allowed, why)
    long_files: dict[str, tuple[int, str]] = field(default_factory=dict)
    # path -> why it may open a file that can run code
    trust_gates: dict[str, str] = field(default_factory=dict)


EXCEPTIONS = Exceptions(
    trust_gates={
        "agents/sb3.py": "a Stable-Baselines3 zip is opened only where the user says --trust",
        "perception/shipped_weights.py": "weights_only=True, and only files of a known SHA-256",
    },
)


def imported_modules(tree: ast.Module, package: list[str]) -> list[tuple[int, str]]:
    """(line, dotted name) of all imports in `tree`; relative ones are resolved, strings included."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(base + ([node.module] if node.module else []))
            found += [(node.lineno, f"{module}.{alias.name}" if module else alias.name) for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            function = ast.unparse(node.func)
            if function in ("__import__", "import_module", "importlib.import_module"):
                found.append((node.lineno, str(node.args[0].value)))
    return found


def import_violations(path: str, imports: list[tuple[int, str]]) -> list[str]:
    """Imports that point up, sideways, into highway-env from the engine, or at a module that can run code."""
    package = path.split("/")[0]
    found = []
    for line, name in imports:
        other = name.split(".")[0]
        lower = RANK.get(other, -1) < RANK[package]
        if other != package and not lower and (package, other) not in ALLOWED_ACROSS:
            found.append(f"{path}:{line}: {package} must not import {other}")
        if other == "highway_env" and path.startswith(NO_HIGHWAY_ENV):
            found.append(f"{path}:{line}: the engine and the scenarios must not import highway_env")
        if other in PICKLES or name in ("torch.load", "torch.save"):
            found.append(f"{path}:{line}: nothing is pickled here, so no {name}")
    return found


def pickle_violations(path: str, tree: ast.Module, imports: list[tuple[int, str]]) -> list[str]:
    """Calls that write or read a pickle: torch.save/load, allow_pickle, weights_only=False, SB3's `load`."""
    sb3 = any(name.split(".")[0] in ("stable_baselines3", "sb3_contrib") for _, name in imports)
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        if function in ("torch.load", "torch.save"):
            found.append(f"{path}:{node.lineno}: {function} pickles; use safetensors")
        elif sb3 and function.endswith(".load") and function.split(".")[0] not in ("np", "numpy", "json"):
            found.append(f"{path}:{node.lineno}: {function} opens an SB3 zip outside a trust gate")
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if (keyword.arg, value) in (("allow_pickle", True), ("weights_only", False)):
                found.append(f"{path}:{node.lineno}: {keyword.arg}={value} lets a file run code")
    return found


def length_violations(path: str, lines: int, exceptions: Exceptions) -> list[str]:
    """Files longer than a reader can hold, scripts that do more than parse, call and print."""
    limit = MAX_SCRIPT_LINES if path.startswith("scripts/") else MAX_LINES
    if path in exceptions.long_files:
        allowed, _ = exceptions.long_files[path]
        if lines <= limit:
            return [f"{path}: has {lines} lines and needs its long_files entry no more"]
        limit = allowed
    return [f"{path}: {lines} lines, {limit} are allowed"] if lines > limit else []


def layout_violations(root: Path, exceptions: Exceptions) -> list[str]:
    """Every broken rule under `root`, as `path:line: what is wrong`."""
    found = []
    files = sorted(file for package in RANK for file in (root / package).rglob("*.py"))
    seen = {file.relative_to(root).as_posix() for file in files}
    for file in files:
        path = file.relative_to(root).as_posix()
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text, path)
        imports = imported_modules(tree, path.split("/")[:-1])
        for part in file.relative_to(root).with_suffix("").parts:
            if part.removeprefix("test_") in EMPTY_NAMES:
                found.append(f"{path}: {part!r} says nothing; name the subject")
        found += import_violations(path, imports)
        calls = pickle_violations(path, tree, imports)
        if path not in exceptions.trust_gates:
            found += calls
        elif not calls:
            found.append(f"{path}: opens nothing dangerous and needs its trust_gates entry no more")
        found += length_violations(path, len(text.splitlines()), exceptions)
    listed = {*exceptions.long_files, *exceptions.trust_gates}
    return found + [f"{path}: listed as an exception, but there is no such file" for path in sorted(listed - seen)]


def test_the_repository_keeps_its_layout():
    assert (ROOT / "sim/world.py").is_file()  # an empty tree keeps every rule
    violations = layout_violations(ROOT, EXCEPTIONS)
    assert not violations, "\n" + "\n".join(violations)


def test_a_tree_that_keeps_the_rules_passes(tmp_path):
    write(tmp_path, "sim/world.py", "import torch\n")
    write(tmp_path, "sim/engine/step.py", "from ..world import World\nfrom sim import world\n")
    write(tmp_path, "sim/evaluation/real.py", "import highway_env\n")
    write(tmp_path, "planning/search.py", "import sim.world\n")
    write(
        tmp_path,
        "agents/drive.py",
        "from planning import search\nimport perception.detect\nimport torch\n",
    )
    write(tmp_path, "scripts/train.py", "import agents.drive\n" + "\n" * (MAX_SCRIPT_LINES - 1))
    write(tmp_path, "tests/test_train.py", "import scripts.train\nimport agents, sim\n")
    assert layout_violations(tmp_path, Exceptions()) == []


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("sim/world.py", "import agents.ppo", "sim/world.py:1: sim must not import agents"),
        (
            "sim/world.py",
            "def f():\n    import planning",
            "sim/world.py:2: sim must not import planning",
        ),
        ("sim/a/b.py", "from ...agents import ppo", "sim must not import agents"),
        ("sim/world.py", "import importlib\nimportlib.import_module('agents')", "sim must not import agents"),
        ("agents/ppo.py", "import scripts.train", "agents must not import scripts"),
        ("planning/idm.py", "import perception", "planning must not import perception"),
        ("perception/track.py", "from planning import idm", "perception must not import planning"),
        ("scripts/train.py", "from tests import conftest", "scripts must not import tests"),
        ("sim/engine/step.py", "from highway_env import utils", "must not import highway_env"),
        ("sim/scenarios/highway.py", "import highway_env.envs", "must not import highway_env"),
        ("sim/utils.py", "", "'utils' says nothing"),
        ("agents/common/net.py", "", "'common' says nothing"),
        ("tests/sim/test_helpers.py", "", "'test_helpers' says nothing"),
        ("agents/dqn.py", "import pickle", "no pickle"),
        ("agents/dqn.py", "from torch import save", "no torch.save"),
        ("agents/dqn.py", "import torch\ntorch.save({}, 'x')", "agents/dqn.py:2: torch.save pickles"),
        ("agents/dqn.py", "import torch\ntorch.load('x')", "torch.load pickles"),
        ("tests/test_a.py", "import numpy as np\nnp.load('x', allow_pickle=True)", "allow_pickle=True"),
        ("sim/a.py", "load('x', weights_only=False)", "weights_only=False"),
        ("sim/a.py", "from stable_baselines3 import DQN\nDQN.load('x.zip')", "outside a trust gate"),
        ("sim/a.py", "\n" * (MAX_LINES + 1), "sim/a.py: 401 lines, 400 are allowed"),
        ("scripts/a.py", "\n" * (MAX_SCRIPT_LINES + 1), "scripts/a.py: 101 lines, 100 are allowed"),
    ],
)
def test_each_violation_is_caught(tmp_path, path, text, message):
    write(tmp_path, path, text)
    found = layout_violations(tmp_path, Exceptions())
    assert len(found) == 1
    assert message in found[0]


def test_exceptions_are_honoured_and_stale_ones_reported(tmp_path):
    write(tmp_path, "sim/long.py", "\n" * 450)
    write(tmp_path, "sim/gate.py", "from stable_baselines3 import DQN\nDQN.load('x.zip')")
    exceptions = Exceptions({"sim/long.py": (450, "a table")}, {"sim/gate.py": "asks for --trust"})
    assert layout_violations(tmp_path, exceptions) == []

    write(tmp_path, "sim/long.py", "\n" * 451)
    assert layout_violations(tmp_path, exceptions) == ["sim/long.py: 451 lines, 450 are allowed"]

    write(tmp_path, "sim/long.py", "")
    (tmp_path / "sim/gate.py").unlink()
    found = layout_violations(tmp_path, exceptions)
    assert [line.split(":")[0] for line in found] == ["sim/long.py", "sim/gate.py"]


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text, encoding="utf-8")
