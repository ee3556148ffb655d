import pytest

from agent.sense.match.sigmaevent import FieldValue
from agent.sense.match.sigmanames import ECS, SERVICES, SYSMON, WINDOWS, ecs_categories, number


@pytest.mark.parametrize(
    ("category", "types", "found"),
    [
        ("process", ["start"], ("process_creation",)),
        ("process", [], ("process_creation",)),
        ("process", ["end"], ("process_termination",)),
        ("process", ["change"], ()),
        ("file", ["creation"], ("file_event",)),
        ("file", ["deletion"], ("file_delete",)),
        ("registry", ["change"], ("registry_event", "registry_set")),
        ("network", [], ("network_connection",)),
        ("other", [], ()),
    ],
)
def test_a_category_of_ecs_is_one_of_rules(
    category: str, types: list[str], found: tuple[str, ...]
) -> None:
    assert ecs_categories(category, types) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [(1, 1), ("4688", 4688), (None, 0), ("x", 0), ("9" * 50, 0), ([1], 0), ("\u0661", 0)],
)
def test_an_event_has_a_number_or_0(value: FieldValue, found: int) -> None:
    assert number(value) == found


def test_the_tables_are_in_the_spelling_they_are_asked_in() -> None:
    assert all(name == name.lower() for name in SERVICES)
    assert {service for service, _ in WINDOWS} <= set(SERVICES.values())
    assert ECS["Image"] == "process.executable"
    assert SYSMON[1] == ("process_creation",)
