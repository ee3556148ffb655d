from collector.errors import Denial
from collector.gateway.counts import GatewayCounts
from collector.ledger.chain import Verdict
from proto.model import RefusedReason


def test_everything_counted_is_told_under_a_flat_name() -> None:
    counts = GatewayCounts()
    counts.batches += 2
    counts.verdicts[Verdict.FORK] += 1
    counts.refused[RefusedReason.SIGNATURE] += 3
    counts.denied[Denial.REVOKED] += 4
    counts.acknowledged(5)
    counts.acknowledged(3)

    numbers = counts.as_numbers()

    assert numbers["batches"] == 2
    assert numbers["verdicts.fork"] == 1
    assert numbers["refused.signature"] == 3
    assert numbers["denied.revoked"] == 4
    assert (numbers["ack_ns"], numbers["ack_ns_max"]) == (8, 5)
