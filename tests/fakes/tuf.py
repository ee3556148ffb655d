"""A mirror for the TUF client: a directory, and whatever a test puts in its way."""

from collections.abc import Callable, Iterator
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface  # type: ignore[attr-defined]


class DirectoryFetcher(FetcherInterface):
    """Serves the files of a directory; ``meddle`` may change what is served."""

    def __init__(
        self, directory: Path, meddle: Callable[[str, bytes], bytes] = lambda _, data: data
    ) -> None:
        self.directory = directory
        self.meddle = meddle
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.asked.append(url)
        path = self.directory / url
        if not path.is_file():
            raise DownloadHTTPError("missing", 404)
        yield self.meddle(url, path.read_bytes())
