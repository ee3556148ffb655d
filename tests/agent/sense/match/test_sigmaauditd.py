from hypothesis import given
from hypothesis import strategies as st

from agent.sense.match.sigmaauditd import derived, fields_of


def test_values_are_quoted_hexadecimal_or_plain() -> None:
    line = (
        'type=PATH msg=audit(1700000000.1:7): name=2F746D702F61206278 nametype=CREATE exe="/bin/x"'
    )

    assert fields_of(line) == {
        "type": "PATH",
        "msg": "audit(1700000000.1:7):",
        "name": "/tmp/a bx",
        "nametype": "CREATE",
        "exe": "/bin/x",
    }


def test_a_number_in_hexadecimal_stays_one() -> None:
    assert fields_of("type=SYSCALL arch=c000003e a0=7ffd syscall=59")["arch"] == "c000003e"
    assert fields_of("type=SYSCALL pid=4242")["pid"] == "4242"


def test_a_new_file_is_a_file_event_and_one_that_goes_is_not() -> None:
    made = derived({"type": "PATH", "name": "/etc/x", "nametype": "CREATE"})

    assert made == ({"TargetFilename": "/etc/x"}, ("file_event",))
    assert derived({"type": "PATH", "name": "/etc/x", "nametype": "DELETE"})[1] == ("file_delete",)
    assert derived({"type": "PATH", "name": "/etc/x", "nametype": "NORMAL"})[1] == ()
    assert derived({"type": "SYSCALL", "exe": "/bin/x"}) == ({"Image": "/bin/x"}, ())


@given(st.text())
def test_any_line_has_fields_or_none(line: str) -> None:
    derived(fields_of(line))
