from agent.sense.recorder import Recorder, RecorderSettings
from proto import codec
from proto.model import File, Observation, ObservationKind
from tests.proto.builders import a_finding, a_process, an_observation


def decoded(records: list[bytes]) -> list[Observation]:
    found = [codec.decode_record(record)[0] for record in records]
    return [item for item in found if isinstance(item, Observation)]


def test_the_surroundings_are_what_shares_the_process_the_trigger_first() -> None:
    recorder = Recorder(RecorderSettings())
    same = an_observation(File(path="/tmp/a"), process=a_process(pid=7, start=1))
    other = an_observation(File(path="/tmp/b"), process=a_process(pid=8, start=1))
    recorder.note(same)
    recorder.note(other)
    trigger = an_observation(a_process(pid=7, start=1))
    finding = a_finding()

    context = decoded(recorder.context(finding, trigger))

    assert [item.subject for item in context] == [trigger.subject, same.subject]
    assert {item.finding_key for item in context} == {finding.key}


def test_memory_and_context_are_bounded() -> None:
    recorder = Recorder(RecorderSettings(observations_max=10, context_bytes_max=2_000))
    for _ in range(50):
        recorder.note(an_observation(File(path="/same"), process=a_process(argv=("x" * 500,))))

    records = recorder.context(a_finding(), an_observation(File(path="/same")))

    assert len(recorder) == 10
    assert 0 < sum(map(len, records)) <= 2_000


def test_what_was_there_all_along_is_no_surroundings() -> None:
    recorder = Recorder(RecorderSettings())
    file = File("/etc/passwd")
    for kind in ObservationKind:
        recorder.note(an_observation(file, kind=kind))

    assert len(recorder) == len(ObservationKind) - 4
    seen = an_observation(file, kind=ObservationKind.FILE_CHANGED)
    kinds = {one.kind for one in decoded(recorder.context(a_finding(), seen))}
    assert ObservationKind.FILE_CHANGED in kinds
    assert ObservationKind.FILE_SEEN not in kinds
