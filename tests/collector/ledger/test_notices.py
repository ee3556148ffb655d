import pytest

from collector.ledger.flags import Flag, FlagKind
from collector.ledger.notices import notice_of_flag, notice_of_hole
from collector.ledger.ports import Hole
from proto import codec
from proto.model import FindingKind, Severity
from tests.collector.sealing import NOW, OTHER_TENANT, TENANT


def a_flag(kind: FlagKind) -> Flag:
    return Flag(
        position=5,
        at=NOW,
        agent=b"a" * 16,
        epoch=b"e" * 16,
        seq=3,
        kind=kind,
        quarantines=True,
    )


@pytest.mark.parametrize("kind", FlagKind)
def test_every_kind_of_break_is_told_as_a_finding_that_can_be_sealed(kind: FlagKind) -> None:
    finding = notice_of_flag(TENANT, a_flag(kind), NOW + 1)

    assert codec.decode_record(codec.encode_record(finding)) == (finding, False)
    assert (finding.kind, finding.severity) == (FindingKind.INTEGRITY, Severity.HIGH)
    assert (finding.event_time, finding.observed_at) == (NOW, NOW + 1)
    assert {one.name for one in finding.arguments} == {"agent", "epoch", "seq"}


def test_a_hole_is_told_with_both_its_ends() -> None:
    hole = Hole(agent=b"a" * 16, epoch=b"e" * 16, wanted=4, top=9, since=NOW)

    finding = notice_of_hole(TENANT, hole, NOW + 1)

    values = {one.name: one.value for one in finding.arguments}
    assert (values["seq"], values["known_up_to"]) == ("4", "9")
    assert codec.decode_record(codec.encode_record(finding)) == (finding, False)


def test_one_thing_has_one_key_and_another_tenants_has_another() -> None:
    flag = a_flag(FlagKind.FORK)

    assert notice_of_flag(TENANT, flag, 1).key == notice_of_flag(TENANT, flag, 2).key
    assert notice_of_flag(TENANT, flag, 1).key != notice_of_flag(OTHER_TENANT, flag, 1).key
