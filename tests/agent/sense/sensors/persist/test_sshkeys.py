"""Keys are told by fingerprint, comment and options; the key itself stays."""

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.persist.sshkeys import (
    DEFAULT_PATHS,
    KEYS_A_FILE_MAX,
    parse_key,
    read,
    read_config,
)
from proto.model import User
from tests.agent.sense.sensors.persist.looking import a_look, found_by, put, said


def a_key(seed: bytes = b"k", kind: bytes = b"ssh-ed25519") -> tuple[str, str]:
    """Return a key's text and its fingerprint; 32 bytes that open nothing."""
    body = hashlib.sha256(seed).digest()
    blob = len(kind).to_bytes(4, "big") + kind + len(body).to_bytes(4, "big") + body
    print_ = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return f"{kind.decode()} {base64.b64encode(blob).decode()}", f"SHA256:{print_}"


def a_host(root: Path, keys: str, config: str = "") -> Path:
    put(root, "/etc/passwd", "root:x:0:0::/root:/b\nalice:x:1000:1000::/home/alice:/b\n")
    (root / "root").mkdir(exist_ok=True)
    put(root, "/home/alice/.ssh/authorized_keys", keys)
    if config:
        put(root, "/etc/ssh/sshd_config", config)
    return root


def test_a_key_is_its_fingerprint_with_comment_and_options(tmp_path: Path) -> None:
    text, fingerprint = a_key()
    options = 'command="echo \\"a b\\"",no-pty'
    a_host(tmp_path, f"# mine\n\n{options} {text} alice@laptop two\n")

    (item,) = found_by(read, tmp_path)

    assert item.name == fingerprint
    assert item.value == f"type=ssh-ed25519 comment=alice@laptop two options={options}"
    assert item.user == User(uid=1000, name="alice")
    assert text.split()[1] not in str(item)


def test_the_fingerprint_is_the_one_of_ssh_keygen(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen here")
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", str(tmp_path / "k")],
        check=True,
    )
    listed = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "k.pub")], check=True, capture_output=True, text=True
    )

    key = parse_key((tmp_path / "k.pub").read_bytes())

    assert key is not None
    assert key.fingerprint == listed.stdout.split()[1]
    assert key.comment == "me"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"ssh-ed25519",
        b"ssh-ed25519 not-base64",
        b"ssh-ed25519 AAAA",
        b"ssh-rsa " + a_key()[0].split()[1].encode(),
        b'command="never closed ssh-ed25519 AAAA',
        b"\x00\xff\xfe",
    ],
)
def test_a_line_that_is_no_key_is_none(line: bytes) -> None:
    assert parse_key(line) is None


def test_lines_that_are_no_keys_are_counted(tmp_path: Path) -> None:
    look = a_look(a_host(tmp_path, "garbage\nssh-ed25519 AAAA x\n"))

    assert found_by(read, tmp_path, look) == []
    assert look.odd == 2


def test_sshds_own_paths_are_followed_includes_and_matches_too(tmp_path: Path) -> None:
    one, two, three = a_key(b"1"), a_key(b"2"), a_key(b"3")
    config = (
        "Include sshd_config.d/*.conf\nAuthorizedKeysFile .ssh/keys /etc/keys/%u %h/x%%\n"
        "AuthorizedKeysFile .ssh/%k\nMatch User bob\n AuthorizedKeysFile none\n"
    )
    a_host(tmp_path, a_key()[0], config)
    put(tmp_path, "/etc/ssh/sshd_config.d/a.conf", "AuthorizedKeysCommand /bin/k %u\n")
    put(tmp_path, "/home/alice/.ssh/keys", one[0])
    put(tmp_path, "/etc/keys/root", two[0])
    put(tmp_path, "/home/alice/x%", three[0])
    look = a_look(tmp_path)

    items = found_by(read, tmp_path, look)

    assert said(items)[0] == ("authorized_keys_command", "/bin/k", "/bin/k %u")
    assert [item.name for item in items[1:]] == [two[1], one[1], three[1]]
    assert look.unread == {".ssh/%k": "has tokens that are not resolved"}


def test_without_a_configuration_sshds_own_default_counts(tmp_path: Path) -> None:
    assert read_config(a_look(tmp_path)).paths == DEFAULT_PATHS


def test_one_file_for_everyone_is_told_once_and_for_nobody(tmp_path: Path) -> None:
    text, fingerprint = a_key()
    a_host(tmp_path, "", "AuthorizedKeysFile /etc/ssh/keys\n")
    put(tmp_path, "/etc/ssh/keys", text)

    (item,) = found_by(read, tmp_path)

    assert item.name == fingerprint
    assert not isinstance(item.user, User)


def test_a_flood_of_keys_is_cut_and_said(tmp_path: Path) -> None:
    text, _ = a_key()
    look = a_look(a_host(tmp_path, f"{text}\n" * (KEYS_A_FILE_MAX + 1)))

    assert len(found_by(read, tmp_path, look)) == KEYS_A_FILE_MAX
    assert look.unread


def test_one_huge_line_is_no_key(tmp_path: Path) -> None:
    look = a_look(a_host(tmp_path, "x" * 400_000))

    assert found_by(read, tmp_path, look) == []
    assert look.odd == 1


@given(
    raw=st.binary(max_size=300)
    | st.from_regex(rb'(command="[^"\n]{0,9}",)?ssh-rsa [A-Za-z0-9+/=]{0,40} x?')
)
def test_any_line_is_a_key_or_none(raw: bytes) -> None:
    key = parse_key(raw)

    assert key is None or len(key.sha256) == 32
