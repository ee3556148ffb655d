"""The laws of signed notes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.signatures import SigningKey, VerifyKey
from proto import note
from proto.errors import CheckpointRejected, Malformed, TooLarge, WireError
from proto.note import NoteKey

KEY = SigningKey.from_private_bytes(bytes(range(32)))
OTHER = SigningKey.from_private_bytes(bytes(range(1, 33)))
NAME = "log.example"
TEXT = "first line\n\nafter an empty line\n"

# A tree head of the Go checksum database, as served, and the key it publishes.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_NOTE = (
    "go.sum database tree\n"
    "65209736\n"
    "5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo=\n"
    "\n"
    "\N{EM DASH} sum.golang.org Az3grnbssgK7ubgFX36gVETtNv0U23qxyAhAMai2QUfeGa3nB/akvkMdlUErfcZz7l/"
    "R3cVtYspg3dxXABkGZZKdsQ8=\n"
)


def go_key() -> NoteKey:
    name, _, material = GO_KEY.split("+", 2)
    return NoteKey(name, VerifyKey(base64.b64decode(material)[1:]))


def a_note(text: str = TEXT, name: str = NAME, signer: SigningKey = KEY) -> bytes:
    return note.sign_note(text, name, signer)


def trusted(*keys: SigningKey, name: str = NAME) -> list[NoteKey]:
    return [NoteKey(name, key.public) for key in keys]


def with_line(data: bytes, line: str) -> bytes:
    return data + line.encode() + b"\n"


def test_a_published_note_verifies_under_its_published_key() -> None:
    key = go_key()

    text = note.open_note(GO_NOTE.encode(), [key])

    assert key.id.hex() == GO_KEY.split("+")[1]
    assert text == GO_NOTE.partition("\n\n")[0] + "\n"


@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n"), max_size=200
    ).map("{}\n".format)
)
def test_any_text_without_control_characters_survives_being_signed(text: str) -> None:
    data = a_note(text)

    assert note.open_note(data, trusted(KEY)) == text


def test_empty_lines_belong_to_the_text_and_only_the_last_one_ends_it() -> None:
    parsed = note.parse_note(a_note())

    assert parsed.text == TEXT
    assert len(parsed.signatures) == 1


def test_every_flipped_bit_of_a_note_is_found() -> None:
    data = a_note()
    keys = trusted(KEY)

    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            note.open_note(bytes(flipped), keys)


def test_a_note_without_a_trusted_signature_is_refused() -> None:
    data = a_note(signer=OTHER)

    with pytest.raises(CheckpointRejected):
        note.open_note(data, trusted(KEY))
    with pytest.raises(CheckpointRejected):
        note.open_note(data, [])


def test_a_key_speaks_under_its_own_name_only() -> None:
    data = a_note(name="other.example")

    with pytest.raises(CheckpointRejected):
        note.open_note(data, trusted(KEY))


def test_a_signature_of_an_unknown_key_is_passed_over() -> None:
    line = a_note(signer=OTHER, name="witness.example").decode().rstrip("\n").rpartition("\n")[2]
    data = with_line(a_note(), line)

    assert note.open_note(data, trusted(KEY)) == TEXT
    assert len(note.parse_note(data).signatures) == 2


def test_a_known_key_whose_signature_fails_spoils_the_note_though_another_verifies() -> None:
    good, other = a_note(), a_note("another text\n", signer=OTHER)
    line = other.decode().rstrip("\n").rpartition("\n")[2]

    with pytest.raises(CheckpointRejected):
        note.open_note(with_line(good, line), trusted(KEY, OTHER))


def test_a_known_key_id_under_an_unknown_name_is_an_unknown_key() -> None:
    stolen_id = note.key_id(NAME, KEY.public.raw)
    line = f"\N{EM DASH} witness.example {note.encode_base64(stolen_id + bytes(64))}"

    assert note.open_note(with_line(a_note(), line), trusted(KEY)) == TEXT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        TEXT.encode(),
        a_note()[:-1],
        a_note() + b"\n",
        a_note() + b"not a signature\n",
        a_note().replace(b"first", b"fi\x00st"),
        a_note().replace(b"first", b"fi\tst"),
        a_note().replace(b"first", b"fi\rst"),
        a_note().replace(b"first", b"\xff"),
        a_note().replace(b"\n\n\xe2", b"\n\xe2"),
        a_note().replace(NAME.encode(), b"two words"),
        a_note().replace(NAME.encode(), b"a+b"),
        a_note().replace(NAME.encode(), b""),
        a_note().replace(NAME.encode(), "no\N{NO-BREAK SPACE}break".encode()),
        a_note().replace(NAME.encode(), b"x" * 257),
        TEXT.encode() + b"\n\xe2\x80\x94 log.example\n",
        TEXT.encode() + b"\n\xe2\x80\x94 log.example \n",
        TEXT.encode() + b"\n\xe2\x80\x94 log.example AAAAAA==\n",
        TEXT.encode() + b"\n\xe2\x80\x94 log.example ????\n",
        TEXT.encode() + b"\n- log.example AAAAAAAA\n",
    ],
)
def test_a_note_that_breaks_the_format_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        note.open_note(data, trusted(KEY))


def test_a_note_over_its_limits_is_not_read() -> None:
    line = a_note(signer=OTHER).decode().rstrip("\n").rpartition("\n")[2]

    with pytest.raises(TooLarge):
        note.parse_note(a_note("x" * note.NOTE_SIZE_BYTES_MAX + "\n"))
    with pytest.raises(TooLarge):
        note.parse_note(with_line(a_note(), "\n".join([line] * note.SIGNATURES_MAX)))


def test_sixteen_large_signatures_of_others_are_accepted() -> None:
    line = f"\N{EM DASH} witness.example {note.encode_base64(bytes(5000))}"

    data = with_line(a_note(), "\n".join([line] * 15))

    assert note.open_note(data, trusted(KEY)) == TEXT


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "carriage\r\n", "null\0\n"])
def test_a_text_that_could_not_be_read_back_is_not_signed(text: str) -> None:
    with pytest.raises(Malformed):
        a_note(text)


@pytest.mark.parametrize("name", ["", "two words", "a+b", "line\u2028end"])
def test_a_name_that_could_not_be_read_back_is_not_signed_under(name: str) -> None:
    with pytest.raises(Malformed):
        a_note(name=name)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_note_or_our_error(data: bytes) -> None:
    try:
        note.parse_note(data)
    except WireError:
        return


@given(st.text(max_size=60), st.text(max_size=60))
def test_anything_below_a_text_is_a_signature_or_our_error(name: str, encoded: str) -> None:
    data = f"text\n\n\N{EM DASH} {name} {encoded}\n".encode()

    try:
        (line,) = note.parse_note(data).signatures
    except WireError:
        return
    assert f"{line.name} {note.encode_base64(line.key_id + line.signature)}" == f"{name} {encoded}"


@given(st.binary(max_size=60))
def test_base64_has_one_spelling(data: bytes) -> None:
    text = note.encode_base64(data)

    assert note.decode_base64(text) == data


@pytest.mark.parametrize("text", ["QR==", "QQ", "QQ=", "Q Q=", "QQ==\n", "Q-_=", "\N{EURO SIGN}"])
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        note.decode_base64(text)
