"""Write the lock files, or check that they belong to the dependency tables of pyproject.toml.

    python packaging/lock.py           renew every lock
    python packaging/lock.py --check   exit 1 and say which lock is older than the tables

A lock pins versions and hashes and names no address: where the files come from is the
installer's own setting. Every lock is a part of the development lock, so that one environment
can hold them all.
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
PIN = re.compile(r"^[a-z]\S+==\S+", re.MULTILINE)
DIGEST = "# digest of the dependency tables: sha256:"

# The development lock comes first: the others are constrained by it.
SOURCES = {
    "dev": ["pyproject.toml", "--extra", "agent", "--extra", "collector", "--extra", "dev"],
    "agent": ["pyproject.toml", "--extra", "agent"],
    "collector": ["pyproject.toml", "--extra", "collector"],
    "build": ["--group", "build"],
}


def digest(pyproject: str) -> str:
    """Return the digest of every table that decides what is installed."""
    tables = tomllib.loads(pyproject)
    project = tables["project"]
    told = [
        tables["build-system"]["requires"],
        project["requires-python"],
        project.get("dependencies", []),
        project["optional-dependencies"],
        tables["dependency-groups"],
    ]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def stale(root: Path = ROOT) -> list[str]:
    """Return the names of the locks that do not carry today's digest."""
    wanted = DIGEST + digest((root / "pyproject.toml").read_text())
    paths = [root / "requirements" / f"{name}.txt" for name in SOURCES]
    return [
        path.name
        for path in paths
        if not path.is_file() or wanted not in path.read_text().splitlines()[:3]
    ]


def resolved(name: str) -> str:
    """Return the pins and hashes of one lock for every Python we support."""
    command = [sys.executable, "-m", "uv", "pip", "compile", *SOURCES[name]]
    command += ["--universal", "--python-version", "3.11", "--generate-hashes", "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    if name != "dev":
        command += ["--constraints", "requirements/dev.txt"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Renew or check, as the argument says."""
    if "--check" in sys.argv[1:]:
        names = stale()
        if names:
            print(f"older than pyproject.toml: {', '.join(names)}; run make lock", file=sys.stderr)
        return 1 if names else 0
    LOCKS.mkdir(exist_ok=True)
    head = f"# Pins and hashes without addresses; `make lock` renews them.\n{DIGEST}"
    for name in SOURCES:
        text = f"{head}{digest((ROOT / 'pyproject.toml').read_text())}\n{resolved(name)}"
        (LOCKS / f"{name}.txt").write_text(text)
        print(f"requirements/{name}.txt: {len(PIN.findall(text))} pins", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
