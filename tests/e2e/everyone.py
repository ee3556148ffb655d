"""A Python with our programs that every user of this machine can run.

The environment of the tests may lie in somebody's home, where no other user can start it. Then what
it holds is copied to where they can.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "certs", "collector", "proto", "runtime", "vedette")
SYSTEM_PYTHON = "/usr/bin/python3"
NOBODY = 65534
IMPORTS = "import agent.cli, collector.cli, vedette.cli, grpc, cryptography"


def as_user(uid: int, *, groups: tuple[int, ...] = ()) -> tuple[str, ...]:
    """Return what makes the command behind it another user's; skips where that cannot be done."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("needs setpriv, to become another user")
    more = ("--groups", ",".join(map(str, groups))) if groups else ("--clear-groups",)
    return (setpriv, f"--reuid={uid}", f"--regid={uid}", *more)


def python_for_everyone(home: Path) -> str:
    """Return an interpreter that every user can run, with our programs.

    Args:
        home: an empty directory that every user may enter.
    """
    if _works(sys.executable):
        return sys.executable
    base = f"{sys.version_info.major}.{sys.version_info.minor}"
    version = "import sys; print('%d.%d' % sys.version_info[:2])"
    if not Path(SYSTEM_PYTHON).exists() or _out(SYSTEM_PYTHON, version) != base:
        pytest.skip(f"there is no Python {base} that every user can run")
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", home / "venv"], check=True)
    python = str(home / "venv/bin/python")
    site = Path(_out(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    for name in sorted(_needed("vedette", set())):
        _copy(importlib.metadata.distribution(name), site)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    if not _works(python):
        pytest.skip("a copy of the environment does not run as another user")
    return python


def _works(python: str) -> bool:
    command = [*as_user(NOBODY), python, "-P", "-c", IMPORTS]
    done = subprocess.run(command, capture_output=True, check=False, cwd="/")
    return done.returncode == 0


def _out(python: str, program: str) -> str:
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _needed(name: str, seen: set[str]) -> set[str]:
    """Return the distributions that ours needs at run time, without itself."""
    for requirement in importlib.metadata.requires(name) or ():
        marker = requirement.partition(";")[2]
        if 'extra == "dev"' in marker or (name != "vedette" and "extra ==" in marker):
            continue
        needed = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if needed in seen or needed == "vedette" or not _is_installed(needed):
            continue
        seen.add(needed)
        _needed(needed, seen)
    return seen


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _copy(distribution: importlib.metadata.Distribution, site: Path) -> None:
    for file in distribution.files or ():
        if ".." in file.parts:
            continue  # a script
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        source = Path(str(distribution.locate_file(file)))
        if source.is_file():
            shutil.copyfile(source, target)
