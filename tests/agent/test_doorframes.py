import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import doorframes as door
from agent.errors import DoorError
from proto.model import StatementKind

FROM_SHIP = [
    door.Hello(1),
    door.Uplink(is_online=True),
    door.ReceiptFrame(b"p", b"s", b"k"),
    door.SignRequest(1, StatementKind.RENEW, bytes(32), bytes(16)),
    door.Chunk(1, b"data", 4),
    door.Damaged("0000000000000001.low.seg"),
    door.MetricsWanted(),
    door.CheckpointFrame(b"note", (bytes(32),)),
]
FROM_SENSE = [
    door.Hello(1, bytes(16), bytes(16)),
    door.VisibleFrame((door.VisibleSegment("n", bytes(16), 9),), is_all=True),
    door.Signed(1, b"p", b"s"),
    door.Fetch(1, "indicators/x", 0),
    door.MetricsFrame((door.Sample("n", (("a", "b"),), 1.0),)),
    door.KnownCheckpoint(4),
]


@pytest.mark.parametrize("frame", FROM_SHIP, ids=lambda f: type(f).__name__)
def test_frames_of_ship_survive(frame: door.FromShip) -> None:
    assert door.decode_from_ship(door.encode(frame)) == frame


@pytest.mark.parametrize("frame", FROM_SENSE, ids=lambda f: type(f).__name__)
def test_frames_of_sense_survive(frame: door.FromSense) -> None:
    assert door.decode_from_sense(door.encode(frame)) == frame


@pytest.mark.parametrize(
    "value",
    [[3, 1, "renew", b"short", bytes(16)], [6, "x" * 300], [99], {}, [20, [], True], [1, "yes"]],
)
def test_values_outside_the_closed_set_are_refused(value: object) -> None:
    with pytest.raises(DoorError):
        door.decode_from_ship(msgspec.msgpack.encode(value))


@given(st.binary(max_size=100))
def test_any_bytes_give_a_frame_or_our_error(data: bytes) -> None:
    for decode in (door.decode_from_ship, door.decode_from_sense):
        try:
            decode(data)
        except DoorError:
            continue
