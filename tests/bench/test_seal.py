from bench import seal
from tests.bench.shape import checked


def test_sealing_is_measured_beside_the_peer_on_the_same_disk() -> None:
    figures = seal.measure(300)

    metrics = checked("seal", figures)
    assert metrics["findings_per_second"] > 0
    assert metrics["seal_only_findings_per_second"] > metrics["findings_per_second"]
    assert 20 < metrics["outbox_bytes_per_finding"] < 1000
    assert set(figures.peers) == {"sqlite_wal_full"}
