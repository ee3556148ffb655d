"""The tree keeps the house rules that no other tool knows."""

import ast
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("agent", "bench", "certs", "collector", "proto", "runtime", "vedette")
BLOB_BYTES_MAX = 512 * 1024

# Modules without a test file of their own, each with its reason.
UNTESTED: dict[str, str] = {}

KEY_MATERIAL = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\\nb\"']{1,40}[A-Za-z0-9+/=]{32}")

# The tree speaks of the product: not of how it was made, where, or whence its parts come.
BANNED_WORDS = {
    "how it was made": re.compile(r"\b(?:this|our|working) session\b|\bissue #\d", re.IGNORECASE),
    "a writing tool": re.compile(r"\bc[l]aude\b|\bc[o]pilot\b|\bs[u]bagents?\b", re.IGNORECASE),
    "a path of one machine": re.compile(
        r"(?<![\w.-])/wor[k]/|/root/\.(?:pyenv|cache|local)\b|/opt/wheel[s]"
    ),
    "a registry of packages": re.compile(
        r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|crates\.io|rubygems\.org|proxy\.golang\.org"
    ),
}

RUNTIME_FILES_MAX = 8
DOMAIN = re.compile(
    "agent|alert|collector|correlat|enrol|envelope|evidence|finding|incident|indicator|ledger"
    "|outbox|posture|receipt|sensor|siem|sigma|tenant|threat|uplink",
    re.IGNORECASE,
)


def tracked() -> list[Path]:
    """Return every file of the tree, new ones included, ignored ones not."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(
        [*command, "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if listed.returncode != 0:
        pytest.skip("not a checkout of the repository")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_symlink() or path.exists()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            yield path.relative_to(ROOT), data.decode("utf-8", "replace")


def modules() -> list[Path]:
    """Return the source modules that need a test, relative to the root."""
    return [
        path.relative_to(ROOT)
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        if not path.name.startswith("__") and not path.match("*_pb2*.py")
    ]


def imported(source: str) -> set[str]:
    """Return every dotted name that a module's import statements could mean."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_no_private_key_stands_in_the_tree() -> None:
    found = [str(path) for path in tracked() if KEY_MATERIAL.search(path.read_bytes())]

    assert found == []


def test_the_search_for_keys_finds_one() -> None:
    body = b"MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp"
    kind = b"PRIVATE KEY"

    for end in (b"\n", b'\\n"\n    b"'):
        assert KEY_MATERIAL.search(b"-----BEGIN EC " + kind + b"-----" + end + body)
    assert not KEY_MATERIAL.search(b'b"-----BEGIN ' + kind + b'-----" in data')


def test_files_are_plain_or_executable_and_only_programs_are() -> None:
    odd = []
    for path in tracked():
        runs = bool(path.lstat().st_mode & 0o111)
        if path.is_symlink() or path.stat().st_mode & 0o7000:
            odd.append(f"{path}: not a plain file")
        elif runs != (path.read_bytes()[:2] == b"#!"):
            odd.append(f"{path}: executable without #!, or the reverse")

    assert odd == []


def test_no_file_is_a_large_blob() -> None:
    found = [str(path) for path in tracked() if path.stat().st_size > BLOB_BYTES_MAX]

    assert found == []


@pytest.mark.parametrize("what", BANNED_WORDS)
def test_the_tree_speaks_of_the_product_alone(what: str) -> None:
    found = [
        f"{path}: {match.group()}"
        for path, text in texts()
        for match in BANNED_WORDS[what].finditer(text)
    ]

    assert found == []


def test_every_module_has_a_test_file_that_imports_it() -> None:
    missing = []
    for module in modules():
        test = ROOT / "tests" / module.parent / f"test_{module.name}"
        dotted = ".".join(module.with_suffix("").parts)
        if dotted in UNTESTED:
            continue
        if not test.is_file():
            missing.append(f"{module}: no {test.relative_to(ROOT)}")
        elif dotted not in imported(test.read_text("utf-8")):
            missing.append(f"{module}: {test.relative_to(ROOT)} does not import it")

    assert missing == []


def test_an_exception_from_having_a_test_names_a_module_and_a_reason() -> None:
    names = {".".join(module.with_suffix("").parts) for module in modules()}

    assert UNTESTED.keys() <= names
    assert all(UNTESTED.values())


def test_no_test_mocks() -> None:
    mocking = [
        str(path)
        for path, text in texts()
        if path.suffix == ".py" and {"unittest.mock", "mock", "pytest_mock"} & imported(text)
    ]

    assert mocking == []


def test_the_runtime_stays_small_and_knows_no_word_of_the_domain() -> None:
    files = [path for path in (ROOT / "runtime").glob("*.py") if path.name != "__init__.py"]

    found = [f"{path.name}: {word}" for path in files for word in DOMAIN.findall(path.read_text())]

    assert len(files) <= RUNTIME_FILES_MAX
    assert found == []


def test_the_packaging_folder_never_hides_the_library_of_that_name() -> None:
    assert not (ROOT / "packaging" / "__init__.py").exists()


def test_no_other_distribution_brings_our_import_names() -> None:
    owners = importlib.metadata.packages_distributions()

    foreign = {room: set(owners.get(room, [])) - {"vedette"} for room in ROOMS}

    assert not any(foreign.values()), foreign


def test_no_lock_brings_a_library_that_takes_our_import_names() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        assert not re.search(r"^proto-plus\b", lock.read_text(), re.MULTILINE), lock


@pytest.mark.parametrize("script", ["lock.py", "generate.py"])
def test_locks_and_generated_code_are_up_to_date(script: str) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "packaging" / script), "--check"],
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr


def test_locks_name_no_address_and_hash_every_pin() -> None:
    for lock in sorted((ROOT / "requirements").glob("*.txt")):
        text = lock.read_text()
        pins = re.split(r"\n(?=[a-z])", text)[1:]

        assert pins
        assert all("--hash=sha256:" in pin for pin in pins), lock
        assert not re.search(r"https?:|--(?:extra-)?index|--find-links|file:| @ ", text), lock
