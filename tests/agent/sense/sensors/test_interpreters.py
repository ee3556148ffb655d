"""An interpreter's arguments name its script, or it has none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sense.sensors.interpreters import script_of


@pytest.mark.parametrize(
    ("program", "words", "script"),
    [
        ("/usr/bin/python3.11", "python3 job.py --flag", "job.py"),
        ("/usr/bin/python3", "python3 -u -W ignore -X dev job.py", "job.py"),
        ("/usr/bin/python3", "python3 -Wignore job.py", "job.py"),
        ("/usr/bin/python3", "python3 -c pass job.py", None),
        ("/usr/bin/python3", "python3 -m http.server", None),
        ("/usr/bin/python3", "python3 -Im json.tool", None),
        ("/usr/bin/python3", "python3", None),
        ("/usr/bin/python3", "python3 -", None),
        ("/bin/sh", "sh /tmp/x.sh", "/tmp/x.sh"),
        ("/bin/bash", "bash -x -o pipefail ./run", "./run"),
        ("/bin/bash", "bash -xc true ./run", None),
        ("/bin/bash", "bash --norc -- -odd", "-odd"),
        ("/bin/dash", "dash +e job", "job"),
        ("/usr/bin/perl", "perl -w -I lib x.pl", "x.pl"),
        ("/usr/bin/perl", "perl -Ielse x.pl", "x.pl"),
        ("/usr/bin/perl", "perl -ne print file", None),
        ("/usr/bin/node", "node --require=a server.js", "server.js"),
        ("/usr/bin/node", "node --eval=1", None),
        ("/usr/bin/ruby", "ruby -r json x.rb", "x.rb"),
        ("/usr/bin/php8.2", "php -d a=b index.php", "index.php"),
        ("/usr/bin/cat", "cat job.py", None),
        ("/usr/bin/push", "push job.py", None),
    ],
)
def test_the_script_is_the_first_word_that_is_no_option(
    program: str, words: str, script: str | None
) -> None:
    assert script_of(program, words.split()) == script


def test_no_arguments_are_no_script() -> None:
    assert script_of("/bin/sh", ()) is None


@given(
    st.sampled_from(["/bin/sh", "/usr/bin/python3", "/usr/bin/perl", "/bin/x"]),
    st.lists(st.text(max_size=6) | st.sampled_from(["-c", "--", "-", "-I"]), max_size=8),
)
def test_any_arguments_name_one_of_themselves_or_nothing(program: str, words: list[str]) -> None:
    script = script_of(program, words)

    assert script is None or script in words[1:]
