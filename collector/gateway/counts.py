"""What the gateway counts, in plain numbers; whoever shows them names and labels them."""

from collections import Counter

from collector.errors import Denial
from collector.ledger.chain import Verdict
from proto.model import RefusedReason


class GatewayCounts:
    """Counted since the start; used on the event loop alone."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.refused: Counter[RefusedReason] = Counter()
        self.denied: Counter[Denial] = Counter()
        self.batches = 0
        self.records = 0
        self.bytes = 0
        self.receipts = 0
        self.commits = 0
        self.commit_failures = 0
        self.streams_open = 0
        self.ack_ns = 0
        self.ack_ns_max = 0

    def acknowledged(self, ns: int) -> None:
        """Note how long a batch took from its arrival to the answer."""
        self.ack_ns += ns
        self.ack_ns_max = max(self.ack_ns_max, ns)

    def as_numbers(self) -> dict[str, int]:
        """Return everything under flat names, such as ``refused.signature``."""
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        for name in ("verdicts", "refused", "denied"):
            counted: Counter[Verdict | RefusedReason | Denial] = getattr(self, name)
            numbers |= {f"{name}.{key.value}": count for key, count in counted.items()}
        return numbers
