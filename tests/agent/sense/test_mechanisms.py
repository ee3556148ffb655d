"""The names of mechanisms are part of the wire: short, apart, and never given twice."""

import re

from agent.sense import mechanisms

NAMES = {
    name: value
    for name, value in vars(mechanisms).items()
    if name.isupper() and isinstance(value, str)
}


def test_no_two_mechanisms_or_caveats_have_one_name() -> None:
    assert len(set(NAMES.values())) == len(NAMES)


def test_sets_of_mechanisms_hold_mechanisms_alone() -> None:
    assert NAMES.keys()
    for some in (mechanisms.ACCOUNTS, mechanisms.RIGHTS, mechanisms.BROUGHT):
        assert some <= set(NAMES.values())
        assert all(re.fullmatch(r"[a-z_]+", one) for one in some)
