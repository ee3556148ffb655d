"""The laws of the TUF client as a tool."""

import argparse
import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.sense.tufchain import BUNDLE
from agent.tufcli import TufFailed, add_arguments, run
from tests.agent.sense.tufkit import OTHER_KEYS, Repo


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture(params=["http", "file"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    served = Repo().write(tmp_path / "served")
    if request.param == "file":
        yield served.as_uri()
        return
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(served))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def tuf(*words: str) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(words))


def begun(tmp_path: Path, repo: Repo | None = None) -> str:
    (tmp_path / "root.json").write_bytes((repo or Repo()).root)
    directory = str(tmp_path / "client")
    tuf("--metadata-dir", directory, "init", str(tmp_path / "root.json"))
    return directory


def downloaded(directory: str, base: str, tmp_path: Path) -> list[bytes]:
    tuf(
        *("--metadata-dir", directory, "--metadata-url", f"{base}/metadata"),
        *("--target-name", BUNDLE, "--target-base-url", f"{base}/targets"),
        *("--target-dir", str(tmp_path / "out"), "download"),
    )
    return [path.read_bytes() for path in (tmp_path / "out").iterdir()]


def test_init_keeps_the_root_under_its_plain_name_and_asks_nobody(tmp_path: Path) -> None:
    repo = Repo()
    directory = begun(tmp_path, repo)

    assert (Path(directory) / "root.json").read_bytes() == repo.root


def test_refresh_leaves_the_metadata_it_trusts_under_plain_names(tmp_path: Path, base: str) -> None:
    directory = begun(tmp_path)

    assert tuf("--metadata-dir", directory, "--metadata-url", f"{base}/metadata", "refresh") == 0

    names = {path.name for path in Path(directory).iterdir()}
    assert names >= {"root.json", "timestamp.json", "snapshot.json", "targets.json"}


def test_download_gives_the_verified_target_and_does_not_fetch_it_twice(
    tmp_path: Path, base: str
) -> None:
    directory = begun(tmp_path)

    assert downloaded(directory, base, tmp_path) == [Repo().bundle]
    for path in (tmp_path / "served" / "targets").rglob("*.vdx"):
        path.unlink()

    assert downloaded(directory, base, tmp_path) == [Repo().bundle]


def test_a_tampered_target_is_not_left_in_place(tmp_path: Path, base: str) -> None:
    directory = begun(tmp_path)
    for path in (tmp_path / "served" / "targets").rglob("*.vdx"):
        path.write_bytes(path.read_bytes()[::-1])

    with pytest.raises(TufFailed) as failed:
        downloaded(directory, base, tmp_path)

    assert failed.value.exit_code == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_the_root_of_init_counts_and_not_what_lies_in_the_cache(tmp_path: Path, base: str) -> None:
    directory = begun(tmp_path, Repo(keys=OTHER_KEYS))
    (Path(directory) / "root.json").unlink()
    (Path(directory) / "root.json").write_bytes(Repo().root)

    with pytest.raises(TufFailed):
        tuf("--metadata-dir", directory, "--metadata-url", f"{base}/metadata", "refresh")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "data:,x", "metadata", "http://127.0.0.1:1"])
def test_what_cannot_be_fetched_fails_by_name(tmp_path: Path, url: str) -> None:
    directory = begun(tmp_path)

    with pytest.raises(TufFailed):
        tuf("--metadata-dir", directory, "--metadata-url", url, "refresh")


@pytest.mark.parametrize("words", [["refresh"], ["--metadata-url", "file:///x", "download"]])
def test_missing_options_and_a_missing_init_are_failures(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(TufFailed):
        tuf("--metadata-dir", str(tmp_path / "none"), *words)


def test_a_root_that_is_none_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_text("{}")

    with pytest.raises(TufFailed):
        tuf("--metadata-dir", str(tmp_path / "client"), "init", str(tmp_path / "root.json"))

    assert not (tmp_path / "client" / "trusted_root.json").exists()
