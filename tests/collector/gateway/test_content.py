from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collector.errors import AccessDenied
from collector.feeds.errors import NoSuchContent
from collector.gateway.content import CHUNK_BYTES_MAX, ContentService
from collector.gateway.enforcement import Session
from collector.issuer.agents import State
from proto.content.errors import BadName
from proto.vedette.v1.service_pb2 import Chunk, GetRequest
from tests.collector.gateway.test_enforcement import FakeCall, Post

NAME = "metadata/timestamp.json"


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    post = Post()
    async with post.point.enter(FakeCall()) as session:
        yield session


@pytest.fixture
def service(tmp_path: Path) -> ContentService:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "timestamp.json").write_bytes(b"0123456789")
    (tmp_path / "metadata" / "big.json").write_bytes(bytes(range(256)) * 3000)
    (tmp_path.parent / "secret.json").write_bytes(b"secret")
    (tmp_path / "metadata" / "link.json").symlink_to(tmp_path.parent / "secret.json")
    return ContentService(lambda _: tmp_path)


async def get(service: ContentService, session: Session, name: str, offset: int = 0) -> list[Chunk]:
    request = GetRequest(name=name, offset=offset).SerializeToString()
    return [Chunk.FromString(piece) async for piece in service.get(session, request)]


async def test_a_file_comes_whole_in_bounded_pieces(
    service: ContentService, session: Session
) -> None:
    pieces = await get(service, session, "metadata/big.json")

    assert b"".join(piece.data for piece in pieces) == bytes(range(256)) * 3000
    assert max(len(piece.data) for piece in pieces) <= CHUNK_BYTES_MAX
    assert {piece.total for piece in pieces} == {768_000}


@pytest.mark.parametrize(("offset", "data"), [(7, b"789"), (10, b""), (1 << 40, b"")])
async def test_reading_goes_on_from_any_offset(
    service: ContentService, session: Session, offset: int, data: bytes
) -> None:
    (piece,) = await get(service, session, NAME, offset)

    assert (piece.data, piece.total) == (data, 10)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.json",
        "metadata/../../secret.json",
        "/etc/passwd",
        "metadata/%2e%2e/secret.json",
        "metadata/.hidden",
        "secret.json",
        "metadata\\timestamp.json",
        "",
        "x" * 1000,
    ],
)
async def test_a_name_that_the_publisher_would_not_write_is_refused(
    service: ContentService, session: Session, name: str
) -> None:
    with pytest.raises(BadName):
        await get(service, session, name)


@pytest.mark.parametrize("name", ["metadata/none.json", "metadata/link.json"])
async def test_what_is_not_published_is_not_found_and_links_are_not_followed(
    service: ContentService, session: Session, name: str
) -> None:
    with pytest.raises(NoSuchContent):
        await get(service, session, name)


async def test_a_revocation_stops_a_download_between_two_pieces(tmp_path: Path) -> None:
    post = Post()
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "big.json").write_bytes(bytes(3 * CHUNK_BYTES_MAX))
    service = ContentService(lambda _: tmp_path)
    request = GetRequest(name="metadata/big.json").SerializeToString()

    async with post.point.enter(FakeCall()) as session:
        pieces = service.get(session, request)
        await anext(pieces)
        post.change(state=State.REVOKED)
        with pytest.raises(AccessDenied):
            await anext(pieces)
