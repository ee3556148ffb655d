import hashlib

from hypothesis import given
from hypothesis import strategies as st

from certs.digests import Sha256


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_pieces_give_the_digest_of_the_whole_at_every_moment(pieces: list[bytes]) -> None:
    ours = Sha256()

    for number, piece in enumerate(pieces, 1):
        ours.update(memoryview(piece))
        assert ours.digest() == hashlib.sha256(b"".join(pieces[:number])).digest()
    assert ours.digest() == hashlib.sha256(b"".join(pieces)).digest()
