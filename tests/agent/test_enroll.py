import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from msgspec import structs

from agent import binding
from agent.enroll import Ask, enroll, host_name, read_token, rebind, set_aside
from agent.errors import IdentityMoved, NotEnrolled, Unreachable
from agent.identity import SIGNING_KEY, load_identity
from agent.layout import Owners
from agent.sense.wiring import read_trust
from agent.settings import PathSettings
from agent.ship.credentials import load_credentials, load_trust
from certs.errors import TokenRefused, TrustRefused
from certs.identity import agent_id_of, spiffe_uri
from certs.keyring import load_signing_key
from certs.p256 import P256Key
from certs.tokens import JoinToken
from runtime.clock import SystemClock
from runtime.files import AlreadyRunning, FileLock
from tests.agent.machine import ME
from tests.certs.builders import DOMAIN, TENANT
from tests.fakes.enrollment import FakeFront

INTAKE = "collector.example:6610"
APART = Owners(61001, 61002, 61003)


async def join(
    front: FakeFront, folder: Path, token: JoinToken | None = None, owned: Owners = ME
) -> object:
    ask = Ask(enrollment=front.address, intake=INTAKE)
    return await enroll(token or front.token(), ask, at(folder), owned, SystemClock())


def at(folder: Path) -> PathSettings:
    return PathSettings(state=str(folder / "state"), run=str(folder / "run"))


def files(folder: Path) -> dict[str, int]:
    """Every file of the state and its mode."""
    root = folder / "state"
    return {
        str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode)
        for path in root.rglob("*")
        if path.is_file()
    }


async def test_a_token_becomes_an_identity_that_both_halves_can_use(tmp_path: Path) -> None:
    async with FakeFront() as front:
        found = await join(front, tmp_path)

    paths = at(tmp_path)
    key = load_signing_key(Path(paths.sense) / SIGNING_KEY)
    agent = agent_id_of(key.public.raw)
    for directory in (Path(paths.sense), Path(paths.ship)):
        identity = load_identity(directory)
        assert identity == found
        assert (identity.tenant, identity.agent) == (str(TENANT), str(agent))
        assert (identity.domain, identity.intake) == (DOMAIN, INTAKE)
        assert identity.enrollment == front.address
    assert load_trust(Path(paths.ship)) == read_trust(Path(paths.sense)) == front.trust
    assert front.taken == [agent.bytes]


async def test_the_certificate_is_of_the_key_that_ship_keeps(tmp_path: Path) -> None:
    async with FakeFront() as front:
        await join(front, tmp_path)

    found = load_credentials(Path(at(tmp_path).ship))
    leaf = x509.load_pem_x509_certificates(found.identity.chain_pem)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    peer = load_identity(Path(at(tmp_path).ship)).peer
    key = P256Key.from_pem(found.identity.key.to_pem())
    assert leaf.public_key() == key.public.native
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [spiffe_uri(peer, DOMAIN)]
    assert found.received_at < found.renew_at(0.5) < found.not_after


async def test_each_half_has_its_own_key_and_the_secret_is_nowhere(tmp_path: Path) -> None:
    async with FakeFront() as front:
        await join(front, tmp_path)

    assert files(tmp_path) == {
        "sense/signing.pem": 0o600,
        "sense/trust.json": 0o644,
        "sense/identity.json": 0o644,
        "sense/binding.json": 0o600,
        "ship/tls.json": 0o600,
        "ship/trust.json": 0o644,
        "ship/identity.json": 0o644,
        "ship/binding.json": 0o600,
    }
    for name in files(tmp_path):
        data = (tmp_path / "state" / name).read_bytes()
        assert front.secret not in data
        assert front.secret.hex().encode() not in data


async def test_a_host_that_is_enrolled_is_not_enrolled_again(tmp_path: Path) -> None:
    async with FakeFront() as front:
        await join(front, tmp_path)
        before = load_identity(Path(at(tmp_path).sense))

        with pytest.raises(NotEnrolled, match=f"enrolled already, as {before.agent}") as caught:
            await join(front, tmp_path)

    assert caught.value.exit_code == 6
    assert len(front.taken) == 1
    assert load_identity(Path(at(tmp_path).sense)) == before


async def test_an_identity_set_aside_keeps_what_was_sealed_and_no_key(tmp_path: Path) -> None:
    paths = at(tmp_path)
    assert set_aside(paths, SystemClock()) is None
    async with FakeFront() as front:
        first = await join(front, tmp_path)
        (Path(paths.outbox) / "segment").write_bytes(b"sealed")

        aside = set_aside(paths, SystemClock())
        second = await join(front, tmp_path)

    assert aside is not None
    assert first != second
    assert (aside / "outbox/segment").read_bytes() == b"sealed"
    assert load_identity(aside / "sense") == first
    assert not [path for path in aside.rglob("*") if path.name in {"signing.pem", "tls.json"}]
    assert stat.S_IMODE(aside.stat().st_mode) == 0o700


async def test_a_running_agent_is_neither_set_aside_nor_bound_anew(tmp_path: Path) -> None:
    paths = at(tmp_path)
    async with FakeFront() as front:
        await join(front, tmp_path)
    before = files(tmp_path)
    lock = FileLock(Path(paths.sense) / "lock")
    lock.acquire()

    with pytest.raises(AlreadyRunning):
        set_aside(paths, SystemClock())
    with pytest.raises(AlreadyRunning):
        rebind(paths, ME)

    lock.release()
    assert files(tmp_path).keys() - {"sense/lock"} == before.keys()


async def test_an_identity_bound_anew_is_of_this_machine(tmp_path: Path) -> None:
    paths = structs.replace(at(tmp_path), host_root=str(tmp_path / "host"))
    (tmp_path / "host/etc").mkdir(parents=True)
    (tmp_path / "host/etc/machine-id").write_text("one\n")
    async with FakeFront() as front:
        ask = Ask(enrollment=front.address, intake=INTAKE)
        identity = await enroll(front.token(), ask, paths, ME, SystemClock())
    (tmp_path / "host/etc/machine-id").write_text("two\n")
    with pytest.raises(IdentityMoved):
        binding.check(Path(paths.sense), identity.agent, paths.host_root)

    rebind(paths, ME)

    for directory in (paths.sense, paths.ship):
        assert binding.check(Path(directory), identity.agent, paths.host_root) == ""


async def test_another_trust_file_than_the_token_pins_is_refused_before_the_token_is_told(
    tmp_path: Path,
) -> None:
    async with FakeFront() as front:
        front.trust = front.a_trust(domain="elsewhere.example")

        with pytest.raises(TrustRefused):
            await join(front, tmp_path)

    assert front.taken == []
    assert set(files(tmp_path)) == {"sense/signing.pem"}


async def test_a_collector_under_another_root_never_hears_of_the_token(tmp_path: Path) -> None:
    async with FakeFront() as real, FakeFront() as false:
        ask = Ask(enrollment=false.address, intake=INTAKE)

        with pytest.raises(Unreachable) as caught:
            await enroll(real.token(), ask, at(tmp_path), ME, SystemClock())

    assert caught.value.exit_code == 5
    assert (real.taken, false.taken) == ([], [])


async def test_a_token_the_collector_does_not_know_is_refused(tmp_path: Path) -> None:
    async with FakeFront() as front:
        unknown = msgspec.structs.replace(front.token(), secret=bytes(32))

        with pytest.raises(Unreachable, match="permission_denied: the token is not known"):
            await join(front, tmp_path, unknown)

    with pytest.raises(NotEnrolled):
        load_identity(Path(at(tmp_path).sense))


async def test_a_certificate_for_another_agent_is_refused(tmp_path: Path) -> None:
    async with FakeFront() as front:
        front.says_agent = bytes(16)

        with pytest.raises(NotEnrolled, match="another id"):
            await join(front, tmp_path)

    assert set(files(tmp_path)) == {"sense/signing.pem"}


@pytest.mark.parametrize(
    "owned", [pytest.param(APART, marks=pytest.mark.root, id="split"), pytest.param(ME, id="one")]
)
async def test_an_attempt_that_failed_can_be_repeated_and_keeps_its_key(
    tmp_path: Path, owned: Owners
) -> None:
    async with FakeFront() as front:
        unknown = msgspec.structs.replace(front.token(), secret=bytes(32))
        with pytest.raises(Unreachable):
            await join(front, tmp_path, unknown, owned)
        key = (tmp_path / "state/sense" / SIGNING_KEY).read_bytes()

        await join(front, tmp_path, owned=owned)

    assert (tmp_path / "state/sense" / SIGNING_KEY).read_bytes() == key
    assert (tmp_path / "state/sense" / SIGNING_KEY).stat().st_uid == owned.sense_uid


@pytest.mark.root
async def test_root_leaves_every_file_to_the_half_that_needs_it(tmp_path: Path) -> None:
    async with FakeFront() as front:
        await join(front, tmp_path, owned=APART)

    for half, uid in (("sense", APART.sense_uid), ("ship", APART.ship_uid)):
        found = {path.stat().st_uid for path in (tmp_path / "state" / half).iterdir()}
        assert found == {uid}


async def test_nobody_behind_the_address_is_exit_5(tmp_path: Path) -> None:
    async with FakeFront() as front:
        token = front.token()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    ask = Ask(enrollment=f"localhost:{port}", intake=INTAKE)

    with pytest.raises(Unreachable, match="enrolment did not begin"):
        await enroll(token, ask, at(tmp_path), ME, SystemClock())


def test_a_token_is_read_from_a_file_or_from_standard_input(tmp_path: Path) -> None:
    text = FakeFront().token().encode()
    file = tmp_path / "token"
    file.write_text(f"  {text}\n")

    assert read_token([str(file)], "ignored").encode() == text
    assert read_token([], f"{text}\n").encode() == text


def test_a_token_file_without_an_end_is_read_to_a_bound() -> None:
    with pytest.raises(TokenRefused):
        read_token(["/dev/zero"], "")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"vedette-join-1.", b"x" * 100_000])
def test_what_is_no_token_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "token"
    file.write_bytes(data)

    with pytest.raises(TokenRefused):
        read_token([str(file)], "")


def test_a_host_always_has_a_name_of_bounded_length() -> None:
    assert 0 < len(host_name()) <= 255
    assert host_name() == os.uname().nodename[:255]
