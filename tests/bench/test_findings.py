from bench.findings import findings
from proto import codec

HOST = bytes(16)


def test_the_same_seed_gives_the_same_findings() -> None:
    assert list(findings(20, HOST)) == list(findings(20, HOST))
    assert list(findings(20, HOST)) != list(findings(20, HOST, seed=8))


def test_all_differ_and_are_allowed_on_the_wire() -> None:
    encoded = {codec.encode_record(finding) for finding in findings(50, HOST)}

    assert len(encoded) == 50
    assert all(200 < len(record) < 1000 for record in encoded)
