import base64
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import KeyUnusable
from certs.keyring import (
    KEY_FILE_BYTES_MAX,
    ensure_signing_key,
    load_signing_key,
    read_key_file,
    save_signing_key,
    signing_key_from_pem,
    signing_key_to_pem,
    write_key_file,
)
from certs.p256 import P256Key
from certs.signatures import SigningKey

SEED = bytes(range(32))


def a_key_file(folder: Path, mode: int = 0o600, data: bytes | None = None) -> Path:
    path = folder / "signing.key"
    path.write_bytes(
        signing_key_to_pem(SigningKey.from_private_bytes(SEED)) if data is None else data
    )
    path.chmod(mode)
    return path


def test_a_saved_key_comes_back_and_only_its_user_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    key = SigningKey.from_private_bytes(SEED)

    save_signing_key(path, key)

    assert load_signing_key(path).private_bytes() == SEED
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["signing.key"]


def test_the_file_is_the_pkcs8_that_every_tool_reads_and_writes() -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
    theirs = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    ours = signing_key_to_pem(SigningKey.from_private_bytes(SEED))

    assert ours == theirs
    read = load_pem_private_key(ours, None)
    assert isinstance(read, ed25519.Ed25519PrivateKey)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644, 0o610, 0o601, 0o602, 0o620, 0o777])
def test_a_key_that_others_can_reach_is_refused_with_what_to_do(tmp_path: Path, mode: int) -> None:
    path = a_key_file(tmp_path, mode)

    with pytest.raises(KeyUnusable) as caught:
        load_signing_key(path)

    assert f"chmod 600 {path}" in caught.value.hint


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_key_file_is_read(tmp_path: Path, mode: int) -> None:
    assert load_signing_key(a_key_file(tmp_path, mode)).private_bytes() == SEED


@pytest.mark.root
def test_a_key_of_another_user_is_refused_even_by_root(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path = a_key_file(tmp_path)
    os.chown(path, 12345, -1)

    with pytest.raises(KeyUnusable) as caught:
        load_signing_key(path)

    assert "12345" in caught.value.message


def test_a_link_to_a_key_is_not_followed(tmp_path: Path) -> None:
    link = tmp_path / "link.key"
    link.symlink_to(a_key_file(tmp_path))

    with pytest.raises(KeyUnusable):
        load_signing_key(link)


def test_a_pipe_a_folder_and_nothing_are_not_keys(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)

    for path in (pipe, tmp_path, tmp_path / "missing", tmp_path / "no" / "folder"):
        with pytest.raises(KeyUnusable):
            read_key_file(path)


def test_a_file_larger_than_any_key_is_refused(tmp_path: Path) -> None:
    path = a_key_file(tmp_path, data=bytes(KEY_FILE_BYTES_MAX + 1))

    with pytest.raises(KeyUnusable):
        read_key_file(path)


def test_a_key_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"

    first, second = ensure_signing_key(path), ensure_signing_key(path)

    assert first.private_bytes() == second.private_bytes()


@pytest.mark.parametrize("data", [b"", b"damaged"])
def test_a_key_file_that_is_no_good_is_never_replaced(tmp_path: Path, data: bytes) -> None:
    path = a_key_file(tmp_path, data=data)

    with pytest.raises(KeyUnusable):
        ensure_signing_key(path)

    assert path.read_bytes() == data


def test_a_dangling_link_is_not_taken_for_a_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KeyUnusable):
        ensure_signing_key(path)

    assert not (tmp_path / "elsewhere").exists()


def test_a_key_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable):
        write_key_file(tmp_path / "missing" / "signing.key", b"data")


def test_replacing_a_key_replaces_it_whole(tmp_path: Path) -> None:
    path = a_key_file(tmp_path)
    other = SigningKey.generate()

    save_signing_key(path, other)

    assert load_signing_key(path).private_bytes() == other.private_bytes()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_key_or_refused(data: bytes) -> None:
    with pytest.raises(KeyUnusable):
        signing_key_from_pem(data)


@given(st.binary(max_size=60))
def test_any_der_in_a_pem_is_an_ed25519_key_or_refused(der: bytes) -> None:
    pem = b"-----BEGIN PRIVATE KEY-----\n%s\n-----END PRIVATE KEY-----\n" % base64.b64encode(der)

    with pytest.raises(KeyUnusable):
        signing_key_from_pem(pem)


@given(st.binary(min_size=32, max_size=32))
def test_every_key_survives_its_file_form(seed: bytes) -> None:
    pem = signing_key_to_pem(SigningKey.from_private_bytes(seed))

    assert signing_key_from_pem(pem).private_bytes() == seed


def test_a_key_of_another_kind_is_refused() -> None:
    with pytest.raises(KeyUnusable):
        signing_key_from_pem(P256Key.generate().to_pem())
