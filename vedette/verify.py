"""``vedette verify``: prove one record offline, and say what was proven and by which key."""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import msgspec

from certs.trust import TRUST_BYTES_MAX, Trust
from proto import envelope, model, tlog, uids
from proto.envelope import PayloadType
from runtime.clock import NS_PER_S
from runtime.errors import Fault, VedetteError
from vedette.proof import Layer, NotProven, Proven, prove

_EXAMPLE = """\
example:
  vedette verify finding.tlog-proof --trust trust.json

exit codes: 0 proven, 1 not proven, 2 usage
"""
_LIMIT = (
    "This shows who sealed the record and that it has not changed since. "
    "It cannot show that the host told the truth."
)


class Unreadable(VedetteError):
    """A file named on the command line cannot be read."""

    fault: ClassVar[Fault] = Fault.OPERATOR


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to a parser; ``args.run(args)`` then returns the exit code."""
    parser = subparsers.add_parser(
        "verify",
        help="prove one record offline, from a proof file and public keys",
        description="Prove one record offline, from a proof file and public keys.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the .tlog-proof file")
    parser.add_argument(
        "--trust", type=Path, required=True, metavar="TRUST", help="the tenant's trust.json"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=verify)


def verify(args: argparse.Namespace) -> int:
    """Run the command: what was proven on stdout, what failed on stderr.

    Args:
        args: ``file``, ``trust`` and ``json``, as ``add`` declares them.

    Returns:
        0 when every layer holds, 1 otherwise.
    """
    try:
        trust = Trust.parse(_read(args.trust, TRUST_BYTES_MAX))
        proven = prove(_read(args.file, tlog.PROOF_SIZE_BYTES_MAX), trust)
    except VedetteError as error:
        return _fail(error, as_json=args.json)
    sys.stdout.write(f"{json.dumps(report(proven))}\n" if args.json else explain(proven))
    return 0


def report(proven: Proven) -> dict[str, object]:
    """Return what was proven as one JSON object."""
    header, proof, checkpoint = proven.header, proven.proof, proven.checkpoint
    return {
        "verified": True,
        "record": {"uid": _uid(proven), **_summary(proven.record)},
        "sealed_by": {
            "tenant": uids.show(header.tenant),
            "agent": uids.show(header.agent),
            "host": header.host_name,
            "key": proven.agent_key.raw.hex(),
            "at": _utc(header.wall),
        },
        "batch": {
            "epoch": uids.show(header.epoch),
            "seq": header.seq,
            "index": proof.index,
            "records": header.records,
            "header_hash": envelope.header_hash(PayloadType.BATCH, proof.header).hex(),
        },
        "log": {
            "origin": checkpoint.origin,
            "index": proven.log_index,
            "size": checkpoint.head.size,
            "root": checkpoint.head.root.hex(),
            "key_ids": [key_id.hex() for key_id in proven.log_key_ids],
        },
        "content": None if proven.record is None else msgspec.to_builtins(proven.record),
    }


def explain(proven: Proven) -> str:
    """Return what was proven, and by which key, in plain words for a terminal."""
    summary = _summary(proven.record)
    derived = isinstance(proven.record, model.Incident | model.Score)
    # Whether that was the collector is for its id to say, below; an incident is no host evidence.
    by = "derived and sealed by" if derived else "sealed on host"
    lines = [
        f"proven: {summary.pop('record')} {_uid(proven)}, {by} {proven.header.host_name}",
        *(f"  {name.replace('_', ' '):<11}  {value}" for name, value in summary.items()),
        *(f"{layer}: {claim}" for layer, claim in _claims(proven).items()),
        _LIMIT,
    ]
    return "".join(f"{_printable(line)}\n" for line in lines)


def _claims(proven: Proven) -> dict[Layer, str]:
    header, checkpoint = proven.header, proven.checkpoint
    agent, tenant, epoch = map(uids.show, (header.agent, header.tenant, header.epoch))
    number = f"number {proven.proof.index + 1} of {header.records} in batch {header.seq}"
    log_keys = ", ".join(key_id.hex() for key_id in proven.log_key_ids)
    entries = f"{checkpoint.head.size} entries"
    return {
        Layer.SIGNATURE: f"key {proven.agent_key.raw.hex()} signed the batch",
        Layer.AGENT: f"that key is agent {agent} of tenant {tenant}",
        Layer.RECORD: f"{number} of epoch {epoch}, sealed {_utc(header.wall)} by the host's clock",
        Layer.CHECKPOINT: f"log {checkpoint.origin} signed for {entries} with its key {log_keys}",
        Layer.LOG: f"the batch is entry {proven.log_index} of them",
    }


def _uid(proven: Proven) -> str:
    header = proven.header
    place = model.RecordRef(header.agent, header.epoch, header.seq, proven.proof.index)
    return uids.show(uids.record_uid(header.tenant, place))


def _summary(record: model.Record | None) -> dict[str, object]:
    if record is None:
        return {"record": "unreadable record"}
    name = record.__struct_config__.tag
    if not isinstance(record, model.Finding):
        return {"record": name}
    return {
        "record": name,
        "kind": record.kind.value,
        "severity": record.severity.value,
        "title": record.title,
        "rule": record.rule.id,
        "source": record.source.sensor,
        "coverage": record.source.coverage,
        "event_time": _utc(record.event_time),
        "observed_at": _utc(record.observed_at),
    }


def _printable(text: str) -> str:
    # What a host wrote must not reach the terminal as control sequences.
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _utc(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _read(path: Path, size_bytes_max: int) -> bytes:
    # One byte over the limit is enough for the parser to say so.
    try:
        with path.open("rb") as file:
            return file.read(size_bytes_max + 1)
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from error


def _fail(error: VedetteError, *, as_json: bool) -> int:
    layer = error.layer.value if isinstance(error, NotProven) else None
    if as_json:
        answer = {"verified": False, "layer": layer, "error": error.message, "hint": error.hint}
        sys.stdout.write(f"{json.dumps(answer)}\n")
    where = f"{layer}: " if layer else ""
    sys.stderr.write(f"not proven: {_printable(where + str(error))}\n")
    return 1
