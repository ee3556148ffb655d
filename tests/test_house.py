"""The scripts and contracts that keep the house."""

import ast
import configparser
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def script(name: str) -> ModuleType:
    """Load a script of the packaging folder, which is never a package."""
    spec = importlib.util.spec_from_file_location(f"house_{name}", ROOT / f"packaging/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PYPROJECT = """
[build-system]
requires = ["builder"]
[project]
requires-python = ">=3.11"
dependencies = []
[project.optional-dependencies]
agent = ["one>=1"]
[dependency-groups]
build = ["builder"]
[tool.other]
x = 1
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"one>=1"', '"one>=2"'),
        ('["builder"]', '["builder", "more"]'),
        (">=3.11", ">=3.12"),
        ("dependencies = []", 'dependencies = ["x"]'),
    ],
)
def test_a_changed_dependency_table_makes_every_lock_stale(
    tmp_path: Path, old: str, new: str
) -> None:
    lock = script("lock")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)
    for name in lock.SOURCES:
        text = f"# head\n{lock.DIGEST}{lock.digest(PYPROJECT)}\none==1\n"
        (tmp_path / "requirements" / f"{name}.txt").write_text(text)
    before = lock.stale(tmp_path)

    (tmp_path / "pyproject.toml").write_text(PYPROJECT.replace(old, new, 1))

    assert before == []
    assert len(lock.stale(tmp_path)) == len(lock.SOURCES)


def test_another_table_does_not_touch_the_locks() -> None:
    lock = script("lock")

    assert lock.digest(PYPROJECT) == lock.digest(PYPROJECT.replace("x = 1", "x = 2"))


def test_a_lock_that_does_not_exist_is_stale(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PYPROJECT)

    assert "agent.txt" in script("lock").stale(tmp_path)


def test_edited_missing_and_left_over_generated_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = script("generate")
    schema = ROOT / generate.SCHEMA
    copy = tmp_path / generate.SCHEMA
    copy.mkdir(parents=True)
    for path in [*schema.glob("*.proto"), *(schema / name for name in generate.files(schema))]:
        (copy / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    clean = generate.differing()

    edited, missing = sorted(generate.files(copy))[:2]
    (copy / edited).write_text("# edited")
    (copy / missing).unlink()
    (copy / "old_pb2.py").write_text("")

    assert clean == []
    assert generate.differing() == sorted([edited, missing, "old_pb2.py"])


def test_large_files_and_functions_are_told_and_others_are_not() -> None:
    sizes = script("sizes")
    small = "def small():\n" + "    pass\n" * 69
    large = "async def large():\n" + "    pass\n" * 70

    told = list(sizes.outliers(Path("a.py"), small + large + "x = 1\n" * 300))

    assert told == ["a.py: 441 lines", "a.py:71: large has 71 lines"]
    assert list(sizes.outliers(Path("b.py"), small)) == []


@pytest.mark.parametrize(
    ("contract", "package"),
    [("sensors", "agent.sense.sensors"), ("sinks", "collector.forward.sinks")],
)
def test_everything_in_a_table_is_kept_apart_by_contract(contract: str, package: str) -> None:
    table = ROOT / package.replace(".", "/") / "table.py"
    if not table.exists():
        pytest.skip(f"{package} has no table")
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")

    apart = contracts[f"importlinter:contract:{contract}"]["modules"].split()
    named = {
        node.module
        for node in ast.walk(ast.parse(table.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}.")
    }

    assert named <= set(apart)
