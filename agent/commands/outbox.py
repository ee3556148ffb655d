"""``outbox ls`` and ``outbox export``: sealed batches, read without touching them."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

from agent.commands.common import add_json, print_rows, say, settings_of
from agent.errors import OutboxFailed, SegmentDamaged
from agent.sense.headers import Committed, Sealed, decode_notes
from agent.sense.segstore import SegmentStore
from proto import codec
from proto.errors import WireError
from proto.uids import show
from runtime.frames import encode_frame

COLUMNS = ("epoch", "seq", "priority", "records", "bytes", "sealed_at", "segment", "body")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.add_argument("action", choices=("ls", "export"), help="list, or write envelopes out")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="export: where to (default: standard output)"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List or export.

    Raises:
        OutboxFailed: the outbox cannot be read by this user.
        SegmentDamaged: export: a batch that should be there is not whole.
        OSError: export: there is a file of that name already, or no space.
    """
    settings = settings_of(args)
    store = SegmentStore(Path(settings.paths.outbox), None)
    sealed = list(_sealed(Path(settings.paths.sense) / "headers.log"))
    if args.action == "ls":
        present = {segment for segment, _ in store.present()} if sealed else set()
        rows = (_row(item, store, is_there=item.segment in present) for item in sealed)
        print_rows(rows, COLUMNS, as_json=args.json)
        return 0
    return _export(sealed, store, args.output)


def _export(sealed: list[Sealed], store: SegmentStore, output: Path | None) -> int:
    """Write length-prefixed envelopes, as `ledger import` takes them."""
    count = 0
    opened = output.open("xb") if output is not None else nullcontext(sys.stdout.buffer)
    with opened as sink:
        for item in sealed:
            try:
                reading = store.reader(item.segment)
            except FileNotFoundError:
                # Receipted and freed; the collector has it.
                continue
            with reading as reader:
                payload = reader.payload_at(item.offset)
            sink.write(encode_frame(payload))
            count += 1
    say(f"{count} of {len(sealed)} batches written; the others were receipted and freed")
    return 0


def _sealed(path: Path) -> Iterator[Sealed]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutboxFailed(
            f"cannot read {path}: {error.strerror}", hint="run as root or as the sense user"
        ) from error
    for *_, note in decode_notes(data):
        if isinstance(note, Committed):
            yield from note.batches


def _row(item: Sealed, store: SegmentStore, *, is_there: bool) -> Mapping[str, object]:
    return {
        "epoch": show(item.epoch),
        "seq": item.seq,
        "priority": item.segment.priority.value,
        "records": item.records,
        "bytes": item.length,
        "sealed_at": _sealed_at(item, store),
        "segment": str(item.segment),
        "body": "kept" if is_there else "freed",
    }


def _sealed_at(item: Sealed, store: SegmentStore) -> int | None:
    """When a batch was sealed; of an old one that was receipted, only its body says it still."""
    header = item.header
    if not header:
        try:
            with store.reader(item.segment) as reader:
                header, _, _ = codec.decode_envelope(reader.payload_at(item.offset))
        except (OSError, SegmentDamaged, WireError):
            return None
    return codec.decode_header(header).wall
