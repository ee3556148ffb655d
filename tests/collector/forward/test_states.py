"""States are a ladder with four ends."""

from collector.forward.states import SETTLED, Phase, State


def test_queued_and_sent_are_never_the_end() -> None:
    assert set(State) - set(SETTLED) == {State.QUEUED, State.SENT}


def test_the_names_are_stable() -> None:
    assert [state.value for state in State] == [
        *("queued", "sent", "accepted", "confirmed", "unconfirmable", "dead")
    ]
    assert [phase.value for phase in Phase] == ["running", "waiting", "parked", "stalled"]
