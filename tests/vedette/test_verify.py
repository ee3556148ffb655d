"""The laws of ``vedette verify``."""

import argparse
import json
from pathlib import Path

import pytest

from proto import codec, model, tlog
from tests.proto.builders import a_finding, an_observation
from tests.vedette.builders import AGENT_KEY, ORIGIN, a_proof_file, a_trust, logged, sealed
from vedette import verify
from vedette.proof import Layer


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    verify.add(parser.add_subparsers(required=True))
    args = parser.parse_args(["verify", *argv])
    code: int = args.run(args)
    return code


def files(folder: Path, proof: bytes | None = None) -> tuple[str, ...]:
    (folder / "trust.json").write_bytes(a_trust().encode())
    (folder / "finding.tlog-proof").write_bytes(a_proof_file() if proof is None else proof)
    return (str(folder / "finding.tlog-proof"), "--trust", str(folder / "trust.json"))


def test_a_whole_proof_is_explained_in_plain_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(*files(tmp_path))

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.startswith("proven: finding ")
    assert ", sealed on host web-1\n" in out
    assert "Known bad file" in out
    assert "2026-09-21T14:13:20.000000000Z" in out
    assert f"key {AGENT_KEY.public.raw.hex()} signed the batch" in out
    assert f"log {ORIGIN} signed for 9 entries" in out
    for layer in set(Layer) - {Layer.FILE, Layer.HEADER}:
        assert f"\n{layer}: " in out


def test_the_same_is_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(*files(tmp_path), "--json")

    out, _ = capsys.readouterr()
    answer = json.loads(out)
    assert code == 0
    assert out.count("\n") == 1
    assert answer["verified"] is True
    assert answer["record"]["title"] == "Known bad file"
    assert answer["record"]["record"] == "finding"
    assert answer["record"]["kind"] == "detection"
    assert answer["record"]["severity"] == "high"
    assert answer["sealed_by"]["host"] == "web-1"
    assert answer["batch"] | {"epoch": "", "header_hash": ""} == {
        "epoch": "",
        "seq": 7,
        "index": 2,
        "records": 4,
        "header_hash": "",
    }
    assert answer["log"]["origin"] == ORIGIN
    assert answer["content"]["rule"]["id"] == "indicator.sha256"


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_a_changed_file_exits_1_and_names_the_layer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: tuple[str, ...]
) -> None:
    changed = a_proof_file().replace(b"index 3\n", b"index 2\n")

    code = run(*files(tmp_path, changed), *flag)

    out, err = capsys.readouterr()
    assert code == 1
    assert err.startswith("not proven: log: the signed batch is not in the log at that place")
    if flag:
        answer = json.loads(out)
        assert (answer["verified"], answer["layer"]) == (False, "log")
    else:
        assert out == ""


def test_a_missing_file_exits_1_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, *rest = files(tmp_path)

    code = run(proof + ".missing", *rest)

    assert code == 1
    assert "finding.tlog-proof.missing: No such file" in capsys.readouterr().err


def test_a_trust_file_that_is_none_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proof, _, _ = files(tmp_path)

    code = run(proof, "--trust", proof)

    assert code == 1
    assert capsys.readouterr().err.startswith("not proven: not a trust file")


def test_a_file_over_the_limit_is_refused_without_reading_it_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = files(tmp_path)
    with Path(argv[0]).open("wb") as sparse:
        sparse.truncate(1 << 40)

    code = run(*argv)

    assert code == 1
    assert "is over" in capsys.readouterr().err


def test_no_trust_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(files(tmp_path)[0])

    assert ended.value.code == 2
    assert "--trust" in capsys.readouterr().err


def test_what_a_host_wrote_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    title = "\x1b[2Jcleared \x9b1m \N{RIGHT-TO-LEFT OVERRIDE}txt.exe\nproven: all"
    record = codec.encode_record(a_finding(title=title))
    argv = files(tmp_path, tlog.encode_proof(logged(sealed(record, host_name="a\x1bb"))))

    for flag in ((), ("--json",)):
        assert run(*argv, *flag) == 0
        out = capsys.readouterr().out
        assert all(character.isprintable() or character == "\n" for character in out)
        assert "\nproven: all" not in out


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("--help")

    assert ended.value.code == 0
    assert "vedette verify finding.tlog-proof --trust trust.json" in capsys.readouterr().out


def test_another_kind_of_record_is_named_for_what_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = codec.encode_record(an_observation())

    code = run(*files(tmp_path, tlog.encode_proof(logged(sealed(record)))))

    assert code == 0
    assert capsys.readouterr().out.startswith("proven: observation ")


def test_what_was_derived_is_not_shown_as_evidence_of_a_host(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    score = model.Score(
        framework="soc2",
        edition="2017",
        as_of=1_790_000_000_000_000_000,
        items=10,
        evidenced=5,
        assured=0.5,
        coverage=0.5,
        upper=1.0,
        hosts=1,
        hosts_reporting=1,
        mapping_digest=bytes(32),
    )
    argv = files(tmp_path, tlog.encode_proof(logged(sealed(codec.encode_record(score)))))

    code = run(*argv)

    out = capsys.readouterr().out
    assert code == 0
    assert out.startswith("proven: score ")
    assert ", derived and sealed by web-1\n" in out
    assert "sealed on host" not in out


def test_an_unreadable_record_is_still_proven_and_said_to_be_unreadable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = files(tmp_path, tlog.encode_proof(logged(sealed(b"\xff\xff"))))

    assert run(*argv) == 0
    assert capsys.readouterr().out.startswith("proven: unreadable record ")
    assert run(*argv, "--json") == 0
    assert json.loads(capsys.readouterr().out)["content"] is None
