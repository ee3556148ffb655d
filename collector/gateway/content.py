"""A mirror without judgement: published content files, in pieces, by name.

All trust is in the content's own signatures. A name is looked up as the publisher's own code allows
(`collector.feeds.mirror`); whatever it would not write is refused before any file is touched.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from certs.identity import TenantId
from collector.feeds.errors import NoSuchContent
from collector.feeds.mirror import open_content
from collector.gateway import messages
from collector.gateway.enforcement import Session

CHUNK_BYTES_MAX: Final = 256 * 1024


class ContentService:
    """Serves each tenant's content.

    Args:
        directory_of: where a tenant's published files lie.
    """

    def __init__(self, directory_of: Callable[[TenantId], Path]) -> None:
        self._directory_of = directory_of

    async def get(self, session: Session, request: bytes) -> AsyncIterator[bytes]:
        """Yield a file's pieces from an offset on; one empty piece where nothing is left.

        Args:
            session: whose content.
            request: untrusted bytes.

        Raises:
            TooLarge: over the limit.
            Malformed: not such a request.
            BadName: not a name of content.
            NoSuchContent: no such file is published.
        """
        name, offset = messages.parse_get(request)
        directory = self._directory_of(session.identity.tenant)
        path = await asyncio.to_thread(open_content, directory, name)
        while True:
            session.check()
            data, total = await asyncio.to_thread(_piece, path, offset)
            yield messages.chunk_response(data, total)
            offset += len(data)
            if not data or offset >= total:
                return


def _piece(path: Path, offset: int) -> tuple[bytes, int]:
    try:
        with path.open("rb", buffering=0) as file:
            total = file.seek(0, 2)
            if offset >= total:
                return b"", total
            file.seek(offset)
            return file.read(CHUNK_BYTES_MAX), total
    except OSError as error:
        # A release that was replaced takes its files with it.
        raise NoSuchContent("the file is no longer published") from error
