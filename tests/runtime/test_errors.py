from typing import ClassVar

import pytest

from runtime.errors import Fault, VedetteError


class LineBusy(VedetteError):
    retryable: ClassVar[bool] = True
    fault: ClassVar[Fault] = Fault.PEER
    exit_code: ClassVar[int] = 5


def test_an_error_says_what_happened_and_then_what_to_do() -> None:
    assert str(VedetteError("the disk is full")) == "the disk is full"
    assert str(VedetteError("the disk is full", hint="free some")) == "the disk is full (free some)"


def test_an_error_answers_by_its_type_whether_to_retry_and_whose_fault_it_is() -> None:
    with pytest.raises(VedetteError) as caught:
        raise LineBusy("busy")

    answer = (caught.value.retryable, caught.value.fault, caught.value.exit_code)
    assert answer == (True, Fault.PEER, 5)


def test_an_error_that_says_nothing_else_is_ours_and_final() -> None:
    assert (VedetteError.retryable, VedetteError.fault) == (False, Fault.OURS)
    assert VedetteError.exit_code == 1
