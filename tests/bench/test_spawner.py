import json

import pytest

from bench.spawner import main, spawn


def test_so_many_are_started_at_an_even_pace() -> None:
    done = spawn("/bin/true", 100, 20)

    assert done["count"] == 20
    assert done["seconds"] >= 0.19


def test_the_result_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    main(["/bin/true", "1000", "2"])

    assert json.loads(capsys.readouterr().out)["count"] == 2
