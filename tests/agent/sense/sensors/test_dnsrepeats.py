from agent.sense.sensors.dnsrepeats import ANSWER_WAIT_NS, QUESTIONS_MAX, Questions, Repeats
from proto.model import Process
from runtime.clock import NS_PER_S
from tests.agent.test_dnsframes import a_sighting

CURL = Process(boot_id=bytes(16), pid=77, start=5, name="curl")
QUERY = a_sighting(is_answer=False, answers=())
ANSWER = a_sighting()


def test_what_was_told_is_not_told_again_for_a_while() -> None:
    repeats = Repeats(60, 100)

    told = [
        repeats.is_new(("a", 1), 0),
        repeats.is_new(("a", 1), 59 * NS_PER_S),
        repeats.is_new(("a", 2), 59 * NS_PER_S),
        repeats.is_new(("a", 1), 60 * NS_PER_S),
        repeats.is_new(("a", 1), 61 * NS_PER_S),
    ]

    assert told == [True, False, True, True, False]
    assert repeats.count == 2


def test_what_is_remembered_is_bounded_and_the_oldest_is_told_again() -> None:
    repeats = Repeats(60, 10)
    for number in range(11):
        repeats.is_new(number, number)

    assert not repeats.is_new(10, 20)
    assert repeats.is_new(0, 20)


def test_an_answer_is_for_who_asked() -> None:
    questions = Questions()
    questions.asked(QUERY, CURL, 0)

    assert questions.asker(ANSWER, NS_PER_S) is CURL
    assert questions.asker(ANSWER._replace(id=8), NS_PER_S) is None
    assert questions.asker(ANSWER._replace(client_port=1), NS_PER_S) is None
    assert questions.asker(ANSWER._replace(name="else.example"), NS_PER_S) is None
    assert questions.asker(ANSWER, ANSWER_WAIT_NS + 1) is None


def test_questions_are_bounded_in_number_and_time() -> None:
    questions = Questions()
    for number in range(QUESTIONS_MAX + 1):
        questions.asked(QUERY._replace(id=number), CURL, 0)

    first, last = ANSWER._replace(id=0), ANSWER._replace(id=QUESTIONS_MAX)
    assert questions.asker(first, 0) is None
    assert questions.asker(last, 0) is CURL
    questions.asked(QUERY._replace(id=9999), CURL, ANSWER_WAIT_NS + 1)
    assert questions.asker(last, 0) is None
