from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from proto.model import FindingKind, RecordRef
from proto.uids import finding_key, incident_uid, record_uid, show

HOST = bytes(range(16))


@given(st.integers(0, 2**63), st.integers(0, 255))
def test_a_record_uid_is_a_version_8_uuid_of_its_place(seq: int, index: int) -> None:
    ref = RecordRef(agent=HOST, epoch=HOST, seq=seq, index=index)

    uid = UUID(bytes=record_uid(HOST, ref))

    assert uid.version == 8
    assert uid.bytes != record_uid(HOST, RecordRef(HOST, HOST, seq, index + 1))
    assert uid.bytes != record_uid(bytes(16), ref)


def test_the_derivation_is_fixed_for_ever() -> None:
    ref = RecordRef(agent=HOST, epoch=bytes(16), seq=7, index=3)

    assert show(record_uid(bytes(16), ref)) == "048e4021-39f3-82a4-8fe6-126ef06d19b0"
    key = finding_key(bytes(16), HOST, FindingKind.DETECTION, "r", "s")
    assert show(key) == "12821dee-13a9-8714-8e30-49aa9ccf13c3"


@given(st.text(max_size=8), st.text(max_size=8))
def test_rule_and_subject_cannot_be_shifted_into_each_other(rule: str, subject: str) -> None:
    moved = finding_key(HOST, HOST, FindingKind.DETECTION, rule + "x", subject)

    assert moved != finding_key(HOST, HOST, FindingKind.DETECTION, rule, "x" + subject)


def test_an_incident_keeps_its_id_over_its_revisions_only() -> None:
    first = incident_uid(HOST, "rule", "host", 1)

    assert UUID(bytes=first).version == 8
    assert incident_uid(HOST, "rule", "host", 1) == first
    others = [(HOST, "rule", "host", 2), (HOST, "rule", "other", 1), (bytes(16), "rule", "host", 1)]
    assert first not in {incident_uid(*other) for other in others}


@given(st.binary(min_size=16, max_size=16))
def test_an_id_is_shown_as_the_uuid_it_is(raw: bytes) -> None:
    assert show(raw) == str(UUID(bytes=raw))
