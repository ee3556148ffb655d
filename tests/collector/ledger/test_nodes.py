import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ledger import schema
from collector.ledger.nodes import node_number, stored_nodes, write_nodes
from proto.errors import ProofRejected
from proto.merkle import (
    CompactTree,
    TreeHead,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)


def a_log(size: int) -> tuple[sqlite3.Connection, CompactTree]:
    db = sqlite3.connect(":memory:")
    db.executescript(schema.LOG)
    tree = CompactTree()
    for number in range(size):
        write_nodes(db, tree.append(leaf_hash(b"%d" % number)))
    return db, tree


def test_no_two_subtrees_have_one_number_and_leaves_have_even_ones() -> None:
    numbers = [node_number(level, index) for level in range(8) for index in range(1 << 7 - level)]

    assert len(set(numbers)) == len(numbers) == 255
    assert [node_number(0, index) for index in range(4)] == [0, 2, 4, 6]


@given(st.integers(1, 70), st.data())
def test_proofs_from_the_table_hold_for_any_sizes(size: int, data: st.DataObject) -> None:
    db, tree = a_log(size)
    old = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, old - 1))
    nodes = stored_nodes(db)
    head = TreeHead(old, root_at(old, nodes))

    verify_inclusion(leaf_hash(b"%d" % index), index, inclusion_proof(index, old, nodes), head)
    verify_consistency(head, tree.head, consistency_proof(old, size, nodes))


def test_a_proof_reads_few_rows_of_a_large_log() -> None:
    db, _ = a_log(1000)
    asked: list[str] = []
    db.set_trace_callback(asked.append)

    inclusion_proof(123, 1000, stored_nodes(db))

    assert len(asked) < 30


def test_a_missing_subtree_is_said() -> None:
    db, _ = a_log(3)

    with pytest.raises(ProofRejected):
        stored_nodes(db)(0, 9)
