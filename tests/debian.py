"""Programs of Debian packages that tests run against: extracted, never installed.

Two packages may conflict when installed and still be tested side by side, and nothing on the
machine changes. Without apt, or without a mirror, the test skips and says why.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DOWNLOAD_WAIT_S = 60


def extracted(home: Path, *packages: str) -> Path:
    """Return a directory that holds the files of the packages; skips where they cannot be had."""
    root = home / "-".join(packages)
    if root.is_dir():
        return root
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        pytest.skip("needs apt-get and dpkg, to extract " + ", ".join(packages))
    partial = home / f".{root.name}.{os.getpid()}"
    archives = partial / "archives"
    archives.mkdir(parents=True)
    try:
        _download(archives, packages)
        for archive in archives.glob("*.deb"):
            _run(["dpkg", "-x", str(archive), str(partial)], partial)
        shutil.rmtree(archives)
        partial.rename(root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def libraries(root: Path) -> dict[str, str]:
    """Return an environment in which programs below ``root`` find their libraries there."""
    found = sorted({str(path.parent) for path in root.rglob("lib*.so.*")})
    return {"PATH": os.environ.get("PATH", ""), "LD_LIBRARY_PATH": ":".join(found)}


def _download(archives: Path, packages: tuple[str, ...]) -> None:
    download = ["apt-get", "download", "-o", "APT::Sandbox::User=root", *packages]
    done = _run(download, archives)
    if done.returncode != 0 and os.geteuid() == 0:
        _run(["apt-get", "update"], archives)
        done = _run(download, archives)
    if done.returncode != 0:
        pytest.skip(f"cannot download {', '.join(packages)}: {done.stderr.strip()[-200:]}")


def _run(command: list[str], where: Path) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command, cwd=where, capture_output=True, text=True, check=False, timeout=DOWNLOAD_WAIT_S
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[0]} did not end within {DOWNLOAD_WAIT_S} s")
