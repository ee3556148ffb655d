"""``ledger ls`` and ``ledger proof``."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import UUID

from collector.commands.common import (
    BadUsage,
    NothingYet,
    add_json,
    add_tenant,
    identifier,
    print_rows,
    projection,
    say,
    settings_of,
    tenant_of,
)
from collector.errors import NotLogged
from collector.index.queries import place_of
from collector.ledger.files import TenantFiles
from collector.ledger.log import LogReader
from collector.ledger.proofs import Proofs
from collector.ledger.reader import LedgerReader
from proto import codec
from proto.uids import show
from runtime.files import write_atomic

COLUMNS = ("position", "agent", "epoch", "seq", "records", "priority", "received_at")
READ_BYTES_MAX = 8 * 1024 * 1024
PAGE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("ls", "proof"), help="list batches, or prove a finding")
    parser.add_argument("uid", nargs="?", type=identifier, help="proof: the finding's uid")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="proof: where to (default: standard output)"
    )
    add_tenant(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List batches, or write the proof of one finding for ``vedette verify``.

    Raises:
        VedetteError: no such tenant, or the collector is not running.
        BadUsage: no finding was named.
        NothingYet: the tenant has sent nothing.
        NotLogged: there is no such finding, or it is not in the log yet.
    """
    settings = settings_of(args)
    tenant = tenant_of(args, settings)
    files = TenantFiles(settings.paths.root)
    if not files.ledger(tenant).exists():
        raise NothingYet("this tenant has no batches yet")
    reader = LedgerReader(files.ledger(tenant))
    if args.action == "ls":
        print_rows(_rows(reader), COLUMNS, as_json=args.json)
        return 0
    if args.uid is None:
        raise BadUsage("name the finding to prove", hint="vedette-collector findings shows uids")
    with projection(args, settings, "index") as db:
        ref = place_of(db, UUID(args.uid).bytes)
    if ref is None:
        raise NotLogged("there is no finding of this uid", hint="see vedette-collector findings")
    proof = Proofs(tenant, reader, LogReader(files.log(tenant))).proof_of(ref)
    if args.output is None:
        sys.stdout.buffer.write(proof)
    else:
        write_atomic(args.output, proof, mode=0o644)
        say(f"prove it anywhere with: vedette verify {args.output} --trust trust.json")
    return 0


def _rows(reader: LedgerReader) -> Iterator[Mapping[str, object]]:
    position = 0
    while page := reader.read(position, PAGE, READ_BYTES_MAX):
        for stored in page:
            header = codec.decode_header(stored.header)
            yield {
                "position": stored.position,
                "agent": show(header.agent),
                "epoch": show(header.epoch),
                "seq": header.seq,
                "records": header.records,
                "priority": header.priority.value,
                "received_at": stored.received,
            }
        position = page[-1].position
