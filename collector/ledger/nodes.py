"""The complete subtrees of a log's tree in a table, each written once and never changed.

A subtree is found by one number: its place in an in-order walk of the tree, which does not move
when the tree grows. A leaf at index i has number 2i; every proof reads O(log n) rows.
"""

import sqlite3
from collections.abc import Iterable

from proto.errors import ProofRejected
from proto.merkle import Nodes


def node_number(level: int, index: int) -> int:
    """Return the number of the subtree over the leaves from ``index * 2**level`` on."""
    return (index << level + 1) + (1 << level) - 1


def write_nodes(db: sqlite3.Connection, finished: Iterable[tuple[int, int, bytes]]) -> None:
    """Store subtrees, as `proto.merkle.CompactTree.append` returns them.

    Raises:
        sqlite3.Error: they cannot be written.
    """
    db.executemany(
        "INSERT INTO nodes (node, hash) VALUES (?, ?)",
        [(node_number(level, index), value) for level, index, value in finished],
    )


def stored_nodes(db: sqlite3.Connection) -> Nodes:
    """Return the subtrees as `proto.merkle` asks for them.

    The function raises ProofRejected where a subtree is missing, sqlite3.Error where the file
    cannot be read.
    """

    def node(level: int, index: int) -> bytes:
        row = db.execute(
            "SELECT hash FROM nodes WHERE node = ?", (node_number(level, index),)
        ).fetchone()
        if row is None:
            raise ProofRejected(f"the log has no subtree {index} of level {level}")
        return bytes(row[0])

    return node
