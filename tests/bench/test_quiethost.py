from pathlib import Path

from bench.quiethost import HostSize, a_quiet_host


def test_a_host_has_what_was_asked_for_and_gives_it_back(tmp_path: Path) -> None:
    before = processes()
    size = HostSize(processes=before + 60, sockets=3, files=600)

    with a_quiet_host(size, tmp_path / "tree"):
        during = processes()
        files = [path for path in (tmp_path / "tree").rglob("*") if path.is_file()]

    assert during >= before + 30
    assert len(files) == 600
    assert processes() < during - 20


def processes() -> int:
    return sum(path.name.isdigit() for path in Path("/proc").iterdir())
