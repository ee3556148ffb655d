"""The laws of feed errors."""

from collector.errors import CollectorError
from collector.feeds import errors
from runtime.errors import Fault


def test_what_an_operator_has_to_mend_says_so() -> None:
    for kind in (errors.FeedUnusable, errors.WarningListUnusable, errors.OfflineKeyNeeded):
        assert kind("it is wrong").fault is Fault.OPERATOR
        assert issubclass(kind, CollectorError)


def test_a_repository_that_was_never_begun_is_a_matter_of_configuration() -> None:
    assert errors.NotInitialised("none").exit_code == 4


def test_a_name_that_is_not_published_is_the_peers_mistake() -> None:
    assert errors.NoSuchContent("none").fault is Fault.PEER
