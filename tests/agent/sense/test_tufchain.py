"""The laws of verifying a chain offline: python-tuf's primitives, our order."""

import hashlib
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sense.tufchain import verify_chain
from agent.sense.tufframes import Chain
from proto.content.errors import ContentRefused, RefuseReason
from tests.agent.sense.tufkit import KEYS, OTHER_KEYS, Repo

GOOD = Repo()
OLD = Repo()
NEW = Repo(versions={"timestamp": 2, "snapshot": 2, "delegated": 2})


def reason_of(chain: Chain, bootstrap: bytes = GOOD.root) -> RefuseReason:
    with pytest.raises(ContentRefused) as refused:
        verify_chain(chain, bootstrap)
    return refused.value.reason


def test_a_whole_chain_says_what_it_signs() -> None:
    facts = verify_chain(GOOD.chain(), GOOD.root)

    assert facts.sha256 == hashlib.sha256(GOOD.bundle).digest()
    assert facts.length == len(GOOD.bundle)
    assert (facts.role, facts.role_version) == ("indicators", 1)


def test_the_first_signature_to_end_decides_when_a_chain_expires() -> None:
    facts = verify_chain(Repo(days={"snapshot": 3}).chain(), GOOD.root)

    assert abs(facts.expires / 10**9 - time.time() - 3 * 86_400) < 60


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", "delegated"])
def test_an_expired_chain_still_verifies(role: str) -> None:
    repo = Repo(days={role: -400})

    assert verify_chain(repo.chain(), repo.root).expires < time.time_ns()


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "delegated"])
def test_a_link_signed_by_another_key_breaks_the_chain(role: str) -> None:
    repo = Repo(signers={role: OTHER_KEYS[role]})

    assert reason_of(repo.chain(), repo.root) is RefuseReason.SIGNATURE


def test_a_role_cannot_sign_for_another() -> None:
    repo = Repo(signers={"targets": KEYS["delegated"]})

    assert reason_of(repo.chain(), repo.root) is RefuseReason.SIGNATURE


def test_a_repository_of_other_keys_is_not_ours() -> None:
    assert reason_of(Repo(keys=OTHER_KEYS).chain()) is RefuseReason.SIGNATURE


@pytest.mark.parametrize("field", ["timestamp", "snapshot", "targets", "delegated"])
def test_links_of_two_releases_do_not_mix(field: str) -> None:
    mixed = NEW.chain(**{field: getattr(OLD, field)})
    if field == "targets":
        assert verify_chain(mixed, GOOD.root).targets == 1  # the same in both
        return

    assert reason_of(mixed) in {RefuseReason.DIGEST, RefuseReason.ROLLBACK}


@pytest.mark.parametrize("role", ["snapshot", "targets", "delegated"])
def test_a_version_other_than_announced_breaks_the_chain(role: str) -> None:
    repo = Repo(announced={role: 9})

    assert reason_of(repo.chain(), repo.root) is RefuseReason.ROLLBACK


def test_only_a_role_for_indicators_may_sign_them() -> None:
    for repo in (
        Repo(role="rules", paths=("*/*",)),
        Repo(role="indicators", paths=("rules/*",)),
    ):
        assert reason_of(repo.chain(), repo.root) is RefuseReason.ROLE


def test_the_offline_role_may_sign_indicators_too() -> None:
    repo = Repo(targets_sign=True)

    assert verify_chain(repo.chain(), repo.root).role == "targets"


def test_a_chain_cannot_say_that_another_role_signed() -> None:
    assert reason_of(GOOD.chain(role="targets")) is RefuseReason.ROLE
    repo = Repo(targets_sign=True)
    assert reason_of(repo.chain(role="indicators"), repo.root) is RefuseReason.ROLE


def test_a_bundle_named_without_sha256_is_refused() -> None:
    repo = Repo(hashes=("sha512",))

    assert reason_of(repo.chain(), repo.root) is RefuseReason.MALFORMED


def test_roots_are_followed_one_by_one() -> None:
    second = Repo(versions={"root": 2})
    third = Repo(versions={"root": 3})

    assert verify_chain(GOOD.chain(roots=(second.root, third.root)), GOOD.root).root == 3
    assert verify_chain(GOOD.chain(roots=(second.root, third.root)), second.root).root == 3
    assert reason_of(GOOD.chain(roots=(third.root,))) is RefuseReason.ROLLBACK


def test_a_new_root_needs_the_old_key_and_its_own() -> None:
    stranger = Repo(versions={"root": 2}, signers={"root": OTHER_KEYS["root"]})
    rotated = Repo(
        versions={"root": 2},
        keys=dict(KEYS) | {"root": OTHER_KEYS["root"]},
        signers={"root": KEYS["root"]},
    )

    assert reason_of(GOOD.chain(roots=(stranger.root,))) is RefuseReason.SIGNATURE
    assert reason_of(GOOD.chain(roots=(rotated.root,))) is RefuseReason.SIGNATURE


@settings(max_examples=40)
@given(
    field=st.sampled_from(["timestamp", "snapshot", "targets", "delegated"]),
    place=st.integers(0, 10_000),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_breaks_the_chain_or_changes_nothing(
    field: str, place: int, bit: int
) -> None:
    data = bytearray(getattr(GOOD, field))
    data[place % len(data)] ^= 1 << bit

    try:
        facts = verify_chain(GOOD.chain(**{field: bytes(data)}), GOOD.root)
    except ContentRefused:
        return
    assert facts == verify_chain(GOOD.chain(), GOOD.root)


@given(data=st.binary(max_size=100) | st.sampled_from([b"[" * 50_000, b'{"signed": {}}', b"null"]))
def test_any_bytes_are_a_chain_or_refused(data: bytes) -> None:
    spoil: list[Callable[[], Chain]] = [
        lambda: GOOD.chain(timestamp=data),
        lambda: GOOD.chain(roots=(data,)),
        lambda: GOOD.chain(delegated=data),
    ]
    for make in spoil:
        with pytest.raises(ContentRefused):
            verify_chain(make(), GOOD.root)
    with pytest.raises(ContentRefused):
        verify_chain(GOOD.chain(), data)
