from agent.sense.match.sigmaevent import SigmaEvent


def test_an_event_knows_all_of_its_fields_unless_told_otherwise() -> None:
    assert SigmaEvent((), {"Image": None}).unknown == frozenset()
