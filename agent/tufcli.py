"""``vedette-agent tuf``: the TUF client as a tool, for any repository.

    vedette-agent tuf --metadata-dir DIR init ROOT
    vedette-agent tuf --metadata-dir DIR --metadata-url URL refresh
    vedette-agent tuf --metadata-dir DIR --metadata-url URL --target-name NAME
                      --target-base-url URL --target-dir DIR download

It is the workflow that `agent.sense.tufclient` runs, over http, https or file addresses, and the
command line that the conformance suite of the TUF project asks of a client. The root given at
``init`` stays the anchor, whatever the cache says. Everything that fails exits 1.
"""

import argparse
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import ClassVar, Final
from urllib.response import addinfourl

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.ngclient import (  # type: ignore[attr-defined]  # its __all__ is computed
    FetcherInterface,
    Updater,
)

from runtime.errors import Fault, VedetteError
from runtime.files import write_atomic

ROOT_BYTES_MAX: Final = 512_000
CONNECT_S_MAX: Final = 10
FILE_S_MAX: Final = 600
_CHUNK_BYTES: Final = 64 * 1024
_ANCHOR: Final = "trusted_root.json"
_SCHEMES: Final = ("http://", "https://", "file://")


class TufFailed(VedetteError):
    """The repository, or what it offers, is not to be trusted or cannot be reached."""

    fault: ClassVar[Fault] = Fault.PEER


class UrlFetcher(FetcherInterface):
    """Gets files by address, within bounds of time; python-tuf bounds their size."""

    def __init__(self) -> None:
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.FileHandler(),
            urllib.request.HTTPRedirectHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            urllib.request.UnknownHandler(),
        ):
            self._opener.add_handler(handler)

    def _fetch(self, url: str) -> Iterator[bytes]:
        if not url.startswith(_SCHEMES):
            raise DownloadError(f"{url[:200]!r} is not an address this tool fetches")
        try:
            answer = self._opener.open(url, timeout=CONNECT_S_MAX)
        except urllib.error.HTTPError as error:
            error.close()
            raise DownloadHTTPError(f"status {error.code}", error.code) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, FileNotFoundError) or url.startswith("file://"):
                raise DownloadHTTPError("no such file", 404) from error
            raise DownloadError(f"cannot be reached: {error.reason}") from error
        return self._chunks(answer)

    def _chunks(self, answer: HTTPResponse | addinfourl) -> Iterator[bytes]:
        ends_at = time.monotonic() + FILE_S_MAX
        with answer:
            while True:
                try:
                    data = answer.read(_CHUNK_BYTES)
                except (OSError, HTTPException) as error:
                    raise DownloadError("the answer broke off") from error
                if not data:
                    return
                if time.monotonic() > ends_at:
                    raise DownloadError(f"took more than {FILE_S_MAX} s")
                yield data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options and the three actions."""
    parser.add_argument("--metadata-dir", type=Path, required=True, help="kept metadata")
    parser.add_argument("--metadata-url", default="", help="where the repository's metadata lies")
    parser.add_argument("--target-name", default="", help="the target to download")
    parser.add_argument("--target-base-url", default="", help="where the repository's targets lie")
    parser.add_argument("--target-dir", type=Path, help="where the target goes")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="trust a root")
    init.add_argument("root", type=Path, metavar="ROOT", help="the root metadata to trust")
    actions.add_parser("refresh", help="bring the metadata up to date")
    actions.add_parser("download", help="bring the metadata up to date and fetch a target")


def run(args: argparse.Namespace) -> int:
    """Do one action.

    Raises:
        TufFailed: it did not end well; the metadata that was trusted before still is.
    """
    try:
        if args.action == "init":
            _init(args.metadata_dir, args.root)
        else:
            _work(args)
    except (RepositoryError, DownloadError, OSError, ValueError) as error:
        raise TufFailed(f"{args.action} failed: {ascii(str(error))[1:-1][:400]}") from error
    return 0


def _init(directory: Path, root: Path) -> None:
    with root.open("rb") as file:
        data = file.read(ROOT_BYTES_MAX + 1)
    if len(data) > ROOT_BYTES_MAX:
        raise ValueError(f"root metadata has at most {ROOT_BYTES_MAX} bytes")
    directory.mkdir(parents=True, exist_ok=True)
    _updater(directory, "file:///", None, data)
    write_atomic(directory / _ANCHOR, data)


def _work(args: argparse.Namespace) -> None:
    if not args.metadata_url:
        raise ValueError("--metadata-url is needed")
    anchor = (args.metadata_dir / _ANCHOR).read_bytes()
    updater = _updater(args.metadata_dir, args.metadata_url, args.target_dir, anchor)
    updater.refresh()
    if args.action == "download":
        _download(updater, args)


def _download(updater: Updater, args: argparse.Namespace) -> None:
    if not (args.target_name and args.target_base_url and args.target_dir):
        raise ValueError("--target-name, --target-base-url and --target-dir are needed")
    target = updater.get_targetinfo(args.target_name)
    if target is None:
        raise RepositoryError(f"no role signs for {args.target_name}")
    path = updater.find_cached_target(target)
    if path is None:
        path = updater.download_target(target, target_base_url=args.target_base_url)
    sys.stdout.write(f"{path}\n")


def _updater(directory: Path, url: str, targets: Path | None, anchor: bytes) -> Updater:
    return Updater(
        metadata_dir=str(directory),
        metadata_base_url=url,
        target_dir=None if targets is None else str(targets),
        fetcher=UrlFetcher(),
        bootstrap=anchor,
    )
