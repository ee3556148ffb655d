import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.frames import BadFrame, FrameDecoder, encode_frame


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.integers(1, 7))
def test_frames_survive_any_cut_of_the_stream(payloads: list[bytes], step: int) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    decoder = FrameDecoder(40)

    found = []
    for start in range(0, len(stream), step):
        found += decoder.feed(stream[start : start + step])

    assert found == payloads


@given(st.binary(max_size=200))
def test_any_bytes_give_bounded_frames_or_our_error(data: bytes) -> None:
    decoder = FrameDecoder(16)

    try:
        frames = decoder.feed(data)
    except BadFrame:
        return

    assert all(0 < len(frame) <= 16 for frame in frames)


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\0\0\0\x11", b"\xff\xff\xff\xff"])
def test_a_length_outside_the_cap_is_refused_before_the_payload_arrives(header: bytes) -> None:
    decoder = FrameDecoder(16)

    with pytest.raises(BadFrame):
        decoder.feed(header)
