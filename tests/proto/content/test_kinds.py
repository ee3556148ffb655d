"""The laws of the table of kinds."""

from proto.content.kinds import KINDS, IndicatorKind, Shape


def test_every_kind_has_one_line_in_the_table() -> None:
    assert set(KINDS) == set(IndicatorKind)
    assert all(spec.kind is kind for kind, spec in KINDS.items())


def test_codes_name_exact_kinds_and_never_change() -> None:
    codes = {kind.value: spec.code for kind, spec in KINDS.items() if spec.shape != Shape.ADDRESS}

    assert codes == {
        "sha256": 1,
        "file_name": 2,
        "process_name": 3,
        "md5": 4,
        "sha1": 5,
        "domain": 6,
        "hostname": 7,
        "url": 8,
        "url_prefix": 9,
        "file_path": 10,
        "email": 11,
        "ja3": 12,
        "ja4": 13,
        "mutex": 14,
    }


def test_address_kinds_have_no_table_of_their_own() -> None:
    assert all(spec.code == 0 for spec in KINDS.values() if spec.shape is Shape.ADDRESS)
