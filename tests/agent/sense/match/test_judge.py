from agent.sense.contentstore import NO_INDICATORS
from agent.sense.match.context import MatchContext
from agent.sense.match.judge import judge
from agent.sense.match.packaged import MODIFIED, UNLIKE
from proto.model import File, FindingKind, ObservationKind
from tests.proto.builders import an_observation

CONTEXT = MatchContext(b"t" * 16, b"h" * 16, NO_INDICATORS, None, 0)


def test_what_one_room_sees_in_an_observation_is_told_beside_the_others() -> None:
    changed = File("/usr/bin/ls", mode=0o100755, package="coreutils", caveats=(UNLIKE,))
    observation = an_observation(changed, kind=ObservationKind.FILE_CHANGED)

    (finding,) = judge(observation, CONTEXT)

    assert (finding.rule, finding.kind) == (MODIFIED, FindingKind.INTEGRITY)
