from agent.sense.match.sigmaevent import FieldValue, SigmaEvent
from agent.sense.match.sigmaintel import values_of
from proto.content.kinds import IndicatorKind


def asked(fields: dict[str, FieldValue]) -> set[tuple[IndicatorKind | None, str, int | None]]:
    return {(kind, value, port) for _, kind, value, port in values_of(SigmaEvent((), fields))}


def test_digests_names_files_and_addresses_are_looked_up() -> None:
    assert asked({"Hashes": "MD5=aa, SHA256=bb,IMPHASH=cc"}) == {
        (IndicatorKind.MD5, "aa", None),
        (IndicatorKind.SHA256, "bb", None),
    }
    assert asked({"DestinationIp": "192.0.2.1", "DestinationPort": "443"}) == {
        (None, "192.0.2.1", 443)
    }
    assert asked({"QueryName": ["a.example"], "DestinationHostname": None}) == {
        (IndicatorKind.DOMAIN, "a.example", None)
    }
    assert asked({"Image": "C:\\x\\evil.exe"}) == {
        (IndicatorKind.FILE_PATH, "C:\\x\\evil.exe", None),
        (IndicatorKind.FILE_NAME, "evil.exe", None),
    }


def test_a_digest_is_asked_once() -> None:
    assert asked({"sha256": "bb", "Hashes": "SHA256=BB"}) == {(IndicatorKind.SHA256, "bb", None)}


def test_whatever_a_field_holds_can_be_asked() -> None:
    asked({"Hashes": [1, None, "=", "SHA1"], "Image": "/", "DestinationIp": 5, "SourcePort": [1]})
