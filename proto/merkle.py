"""Merkle trees: roots, inclusion and consistency proofs, salted leaves, the frontier of a log.

The tree of n > 1 leaves is split at the largest power of two below n; leaves and nodes are hashed
under different prefixes, so neither can pass as the other. All hashes are SHA-256, 32 bytes.

A verifier answers by returning; every doubt is a ``ProofRejected``. A proof about an empty tree
proves nothing and is refused.

Source: RFC 6962 section 2.1, RFC 9162 section 2.1.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence

import msgspec

from proto.errors import Malformed, ProofRejected

HASH_SIZE_BYTES = 32
SEED_SIZE_BYTES = 32
TREE_SIZE_MAX = 2**63 - 1
PATH_LENGTH_MAX = 63

EMPTY_ROOT = hashlib.sha256(b"").digest()

# Copying a hash object that already holds the prefix is cheaper than joining prefix and data.
_leaf_hasher = hashlib.sha256(b"\x00").copy
_node_hasher = hashlib.sha256(b"\x01").copy

# The hash of the complete subtree at (level, index): leaves are level 0, and the subtree covers
# the leaves from index * 2**level on.
Nodes = Callable[[int, int], bytes]


class TreeHead(msgspec.Struct, frozen=True):
    """The size of a tree and the hash over all its leaves."""

    size: int
    root: bytes


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf that holds ``entry``."""
    hasher = _leaf_hasher()
    hasher.update(entry)
    return hasher.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two hashes."""
    hasher = _node_hasher()
    hasher.update(left + right)
    return hasher.digest()


def salt_of(seed: bytes, index: int) -> bytes:
    """Return the salt of the record at ``index``: SHA-256(seed || index as 8 bytes, big-endian).

    One salt can be shown without telling another: the seed is secret outside the body and of fixed
    length, so the hash is a pseudo-random function of the index.

    Args:
        seed: ``SEED_SIZE_BYTES`` random bytes, new for every batch.
        index: position of the record in its batch, from 0.
    """
    return hashlib.sha256(seed + index.to_bytes(8, "big")).digest()


def salted_leaf(salt: bytes, record: bytes) -> bytes:
    """Return the leaf of one record: SHA-256(0x00 || salt || record).

    The salt is of fixed length, so no other pair of salt and record joins to the same bytes; and
    who sees a neighbour's leaf in a proof cannot find its record by guessing.

    Raises:
        ProofRejected: the salt is not ``HASH_SIZE_BYTES`` long.
    """
    if len(salt) != HASH_SIZE_BYTES:
        raise ProofRejected(f"a salt has {len(salt)} bytes, not {HASH_SIZE_BYTES}")
    return leaf_hash(salt + record)


def batch_leaves(seed: bytes, records: Sequence[bytes]) -> list[bytes]:
    """Return the salted leaves of a batch's records, in order.

    Raises:
        Malformed: the seed is not ``SEED_SIZE_BYTES`` long.
    """
    if len(seed) != SEED_SIZE_BYTES:
        raise Malformed(f"a batch seed has {len(seed)} bytes, not {SEED_SIZE_BYTES}")
    seeded = hashlib.sha256(seed).copy
    leaves = []
    for index, record in enumerate(records):
        salt = seeded()
        salt.update(index.to_bytes(8, "big"))
        leaf = _leaf_hasher()
        leaf.update(salt.digest() + record)
        leaves.append(leaf.digest())
    return leaves


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes, in order; SHA-256 of nothing when there are none."""
    level = list(leaves) or [EMPTY_ROOT]
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def _level_above(level: list[bytes]) -> list[bytes]:
    # A hash without a sibling rises as it is, which is the split at the largest power of two.
    pairs = iter(level)
    above = []
    for left, right in zip(pairs, pairs, strict=False):
        hasher = _node_hasher()
        hasher.update(left + right)
        above.append(hasher.digest())
    if len(level) % 2:
        above.append(level[-1])
    return above


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    """Return the nodes over leaf hashes that are all at hand, such as those of one batch."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_level_above(levels[-1]))

    def node(level: int, index: int) -> bytes:
        return levels[level][index]

    return node


def root_at(size: int, nodes: Nodes) -> bytes:
    """Return the root of the first ``size`` leaves of a log.

    Args:
        size: 0 or more, and not above the size of the tree that ``nodes`` covers.
        nodes: complete subtrees of that tree.
    """
    return _range_hash(0, size, nodes) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the path from the leaf at ``index`` to the root of the first ``size`` leaves.

    Raises:
        ProofRejected: there is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise ProofRejected(f"no leaf {index} in a tree of {size}")
    return tuple(_path(index, 0, size, nodes))


def consistency_proof(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return the proof that the tree of ``new`` leaves continues the tree of ``old`` leaves.

    Raises:
        ProofRejected: the old tree is empty or larger than the new one.
    """
    if not 0 < old <= new:
        raise ProofRejected(f"no proof leads from size {old} to size {new}")
    return tuple(_subproof(old, new, nodes))


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _range_hash(start: int, end: int, nodes: Nodes) -> bytes:
    """Hash over leaves [start, end), where start is a multiple of a power of two >= end - start."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return nodes(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range_hash(start, middle, nodes), _range_hash(middle, end, nodes))


def _path(index: int, start: int, end: int, nodes: Nodes) -> Iterator[bytes]:
    if end - start == 1:
        return
    middle = start + _split(end - start)
    if index < middle:
        yield from _path(index, start, middle, nodes)
        yield _range_hash(middle, end, nodes)
    else:
        yield from _path(index, middle, end, nodes)
        yield _range_hash(start, middle, nodes)


def _subproof(old: int, new: int, nodes: Nodes) -> Iterator[bytes]:
    """SUBPROOF of RFC 6962 2.1.2, walked down from the root and given from the bottom up."""
    start, end, above = 0, new, []
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            above.append(_range_hash(middle, end, nodes))
            end = middle
        else:
            above.append(_range_hash(start, middle, nodes))
            start = middle
    if start:
        yield _range_hash(start, end, nodes)
    yield from reversed(above)


def verify_inclusion(leaf: bytes, index: int, proof: Sequence[bytes], head: TreeHead) -> None:
    """Check that the leaf hash stands at ``index`` in the tree.

    Args:
        leaf: the leaf's hash, computed by the caller from what the leaf holds.
        index: position of the leaf, from 0; untrusted.
        proof: hashes from the leaf's sibling up; untrusted.
        head: the tree, from a source the caller trusts.

    Raises:
        ProofRejected: the path does not lead from this leaf at this index to this root.

    Source: RFC 9162 section 2.1.3.2.
    """
    if not 0 <= index < head.size <= TREE_SIZE_MAX:
        raise ProofRejected(f"no leaf {index} in a tree of {head.size}")
    _check_hashes((leaf, *proof))
    node, last, computed = index, head.size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofRejected("the path is longer than the tree is high")
        if node & 1 or node == last:
            computed = node_hash(sibling, computed)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            computed = node_hash(computed, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofRejected("the path ends below the root")
    if computed != head.root:
        raise ProofRejected(f"the path from leaf {index} leads to another root")


def verify_consistency(old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> None:
    """Check that the new tree begins with all leaves of the old one, unchanged.

    Raises:
        ProofRejected: it does not, the old tree is empty, or the proof is not of the right form.

    Source: RFC 9162 section 2.1.4.2.
    """
    if not 0 < old.size <= new.size <= TREE_SIZE_MAX:
        raise ProofRejected(f"no proof leads from size {old.size} to size {new.size}")
    if old.size == new.size:
        if proof or old.root != new.root:
            raise ProofRejected("trees of one size differ, or a proof stands where none belongs")
        return
    whole = old.size & (old.size - 1) == 0
    path = (old.root, *proof) if whole else tuple(proof)
    _check_hashes(path)
    if not proof:
        raise ProofRejected("the proof is empty")
    if _replay(old.size - 1, new.size - 1, path) != (old.root, new.root):
        raise ProofRejected(f"the tree of {new.size} does not continue the tree of {old.size}")


def _replay(node: int, last: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Rebuild the old and the new root: steps 4 to 7 of RFC 9162 section 2.1.4.2.

    Raises:
        ProofRejected: the path is not as long as the new tree is high.
    """
    while node & 1:
        node, last = node >> 1, last >> 1
    old_root = new_root = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofRejected("the proof is longer than the tree is high")
        if node & 1 or node == last:
            old_root = node_hash(sibling, old_root)
            new_root = node_hash(sibling, new_root)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_root = node_hash(new_root, sibling)
        node, last = node >> 1, last >> 1
    if last:
        raise ProofRejected("the proof ends below the root")
    return old_root, new_root


def _check_hashes(hashes: Sequence[bytes]) -> None:
    # Any other length would let two different pairs of hashes join to the same bytes.
    if len(hashes) > PATH_LENGTH_MAX + 1:
        raise ProofRejected(f"the proof has more than {PATH_LENGTH_MAX} hashes")
    if any(len(value) != HASH_SIZE_BYTES for value in hashes):
        raise ProofRejected(f"a hash in the proof is not {HASH_SIZE_BYTES} bytes long")


class CompactTree:
    """A growing tree kept as its frontier: the roots of its complete subtrees, largest first.

    An append costs two hashes on average; the state is at most 63 hashes however large the log.
    """

    def __init__(self) -> None:
        self._size = 0
        self._frontier: list[bytes] = []

    @classmethod
    def from_state(cls, state: bytes) -> "CompactTree":
        """Read back what ``state`` gave.

        Raises:
            Malformed: the bytes are not the state of any tree.
        """
        size = int.from_bytes(state[:8], "big")
        if len(state) != 8 + HASH_SIZE_BYTES * size.bit_count() or size > TREE_SIZE_MAX:
            raise Malformed("the state of a tree does not fit its size")
        tree = cls()
        tree._size = size
        tree._frontier = [
            state[at : at + HASH_SIZE_BYTES] for at in range(8, len(state), HASH_SIZE_BYTES)
        ]
        return tree

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    @property
    def state(self) -> bytes:
        """The size as 8 bytes, then the frontier; ``from_state`` reads it back."""
        return self._size.to_bytes(8, "big") + b"".join(self._frontier)

    @property
    def head(self) -> TreeHead:
        """The size and the root over everything appended."""
        if not self._frontier:
            return TreeHead(0, EMPTY_ROOT)
        root = self._frontier[-1]
        for left in reversed(self._frontier[:-1]):
            root = node_hash(left, root)
        return TreeHead(self._size, root)

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add a leaf hash.

        Returns:
            The complete subtrees that this leaf finished, as (level, index, hash) from the leaf
            up: a store that keeps them can answer ``Nodes`` for every proof, and never rewrites
            one.

        Raises:
            ProofRejected: the leaf is not a hash.
        """
        _check_hashes((leaf,))
        finished = [(0, self._size, leaf)]
        node, index, level = leaf, self._size, 0
        while index & 1:
            node = node_hash(self._frontier.pop(), node)
            index, level = index >> 1, level + 1
            finished.append((level, index, node))
        self._frontier.append(node)
        self._size += 1
        return finished
