"""The laws of Merkle trees, against a naive oracle and published vectors."""

import base64
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proto import merkle
from proto.errors import Malformed, ProofRejected
from proto.merkle import CompactTree, TreeHead

# The test tree of Certificate Transparency: eight leaves and the root over the first n of them.
ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]

# Restated from the published proof vectors: (index, size, path).
INCLUSION = [
    (0, 1, []),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]

# Fixed by the first release: SHA-256(seed || be64(i)), SHA-256(0x00 || salt || record).
SALT_0 = "a9d6e500293a88bd38cbe213d07ab71f8cb2258552072a01bdf1c40be527f4d0"
SALT_1 = "6061c4386d7a1788ba52e2e8b2ee6fe6137644ec75a70bf7042cfd67a1e57bd3"
SALTED = [
    "824f9b42cb17548bed3c5ee65be5d1dc066a049726120e90f402fd97b230c12c",
    "633fe8f12c68ca8737d849f15a834b53a6796f6a76c285e6fbfab20646e0a8ef",
    "90309e72eb4ac9589a51c2c175a5002190a4a075a8956a87f36599038220e69c",
]
SALTED_ROOT = "978d96fdbed79e729183955556bc3c9a484680dfc76406b09b2be8b3eff496ae"

TEST_DATA = Path(
    os.environ.get("VEDETTE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data"
)
VECTORS = TEST_DATA / "merkle" / "testdata"

sizes = st.integers(1, 70)


def naive_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, word for word, over leaf hashes."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(old: int, leaves: Sequence[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if old <= k:
        return [*naive_subproof(old, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_subproof(old - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def some_leaves(size: int) -> list[bytes]:
    return [merkle.leaf_hash(index.to_bytes(4, "big")) for index in range(size)]


def head_of(leaves: Sequence[bytes]) -> TreeHead:
    return TreeHead(len(leaves), naive_root(leaves))


def vectors(kind: str) -> list[Any]:
    files = sorted((VECTORS / kind).rglob("*.json"))
    if not files:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no vectors under {VECTORS}"))]
    return [pytest.param(path, id=str(path.relative_to(VECTORS / kind))) for path in files]


def load(path: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(path.read_text())
    for name in ("root", "root1", "root2", "leafHash"):
        if name in vector:
            vector[name] = base64.b64decode(vector[name])
    vector["proof"] = [base64.b64decode(text) for text in vector["proof"] or ()]
    return vector


@pytest.mark.parametrize("size", range(9))
def test_the_published_tree_has_the_published_roots(size: int) -> None:
    root = merkle.root_of(LEAVES[:size])

    assert root.hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_the_published_inclusion_proofs_are_made_and_verified(
    index: int, size: int, path: list[str]
) -> None:
    proof = merkle.inclusion_proof(index, size, merkle.nodes_of(LEAVES))

    assert [value.hex() for value in proof] == path
    merkle.verify_inclusion(LEAVES[index], index, proof, TreeHead(size, bytes.fromhex(ROOTS[size])))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_the_published_consistency_proofs_are_made_and_verified(
    old: int, new: int, path: list[str]
) -> None:
    proof = merkle.consistency_proof(old, new, merkle.nodes_of(LEAVES))

    assert [value.hex() for value in proof] == path
    merkle.verify_consistency(
        TreeHead(old, bytes.fromhex(ROOTS[old])), TreeHead(new, bytes.fromhex(ROOTS[new])), proof
    )


@pytest.mark.parametrize("path", vectors("inclusion"))
def test_each_published_inclusion_case_is_judged_as_published(path: Path) -> None:
    case = load(path)
    head = TreeHead(case["treeSize"], case["root"])

    if not case["wantErr"]:
        merkle.verify_inclusion(case["leafHash"], case["leafIdx"], case["proof"], head)
        return
    with pytest.raises(ProofRejected):
        merkle.verify_inclusion(case["leafHash"], case["leafIdx"], case["proof"], head)


@pytest.mark.parametrize("path", vectors("consistency"))
def test_each_published_consistency_case_is_judged_as_published(path: Path) -> None:
    case = load(path)
    old = TreeHead(case["size1"], case["root1"])
    new = TreeHead(case["size2"], case["root2"])

    if not case["wantErr"]:
        merkle.verify_consistency(old, new, case["proof"])
        return
    with pytest.raises(ProofRejected):
        merkle.verify_consistency(old, new, case["proof"])


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_root_is_the_naive_root(entries: list[bytes]) -> None:
    leaves = [merkle.leaf_hash(entry) for entry in entries]

    assert leaves == [sha256(b"\x00" + entry).digest() for entry in entries]
    assert merkle.root_of(leaves) == naive_root(leaves)


@given(st.data())
def test_every_leaf_of_every_prefix_has_the_naive_path_and_it_verifies(data: st.DataObject) -> None:
    leaves = some_leaves(data.draw(sizes))
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))

    proof = merkle.inclusion_proof(index, size, merkle.nodes_of(leaves))

    assert list(proof) == naive_path(index, leaves[:size])
    merkle.verify_inclusion(leaves[index], index, proof, head_of(leaves[:size]))


@given(st.data())
def test_every_prefix_has_the_naive_consistency_proof_and_it_verifies(data: st.DataObject) -> None:
    leaves = some_leaves(data.draw(sizes))
    new = data.draw(st.integers(1, len(leaves)))
    old = data.draw(st.integers(1, new))

    proof = merkle.consistency_proof(old, new, merkle.nodes_of(leaves))

    assert list(proof) == naive_subproof(old, leaves[:new], whole=True)
    merkle.verify_consistency(head_of(leaves[:old]), head_of(leaves[:new]), proof)


@pytest.mark.parametrize("size", range(1, 20))
def test_a_path_proves_no_other_index(size: int) -> None:
    leaves = some_leaves(size)
    nodes = merkle.nodes_of(leaves)

    for index in range(size):
        proof = merkle.inclusion_proof(index, size, nodes)
        for claimed in set(range(-1, size + 2)) - {index}:
            with pytest.raises(ProofRejected):
                merkle.verify_inclusion(leaves[index], claimed, proof, head_of(leaves))


@given(st.data())
def test_one_flipped_bit_in_an_inclusion_proof_is_found(data: st.DataObject) -> None:
    leaves = some_leaves(data.draw(sizes))
    index = data.draw(st.integers(0, len(leaves) - 1))
    head = head_of(leaves)
    proof = merkle.inclusion_proof(index, head.size, merkle.nodes_of(leaves))
    whole = bytearray(b"".join((leaves[index], *proof, head.root)))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))

    whole[bit // 8] ^= 1 << bit % 8
    leaf, *path, root = (bytes(whole[at : at + 32]) for at in range(0, len(whole), 32))

    with pytest.raises(ProofRejected):
        merkle.verify_inclusion(leaf, index, path, TreeHead(head.size, root))


@given(st.data())
def test_one_flipped_bit_in_a_consistency_proof_is_found(data: st.DataObject) -> None:
    leaves = some_leaves(data.draw(st.integers(2, 70)))
    old = head_of(leaves[: data.draw(st.integers(1, len(leaves)))])
    new = head_of(leaves)
    proof = merkle.consistency_proof(old.size, new.size, merkle.nodes_of(leaves))
    whole = bytearray(b"".join((old.root, *proof, new.root)))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))

    whole[bit // 8] ^= 1 << bit % 8
    first, *path, last = (bytes(whole[at : at + 32]) for at in range(0, len(whole), 32))

    with pytest.raises(ProofRejected):
        merkle.verify_consistency(TreeHead(old.size, first), TreeHead(new.size, last), path)


@given(
    st.binary(max_size=40),
    st.integers(-2, 2**64),
    st.lists(st.binary(max_size=40), max_size=70),
    st.integers(-2, 2**64),
    st.binary(max_size=40),
)
def test_any_inclusion_proof_that_was_not_made_is_refused(
    leaf: bytes, index: int, proof: list[bytes], size: int, root: bytes
) -> None:
    if size == 1 and index == 0 and not proof and leaf == root:
        return

    with pytest.raises(ProofRejected):
        merkle.verify_inclusion(leaf, index, proof, TreeHead(size, root))


@given(
    st.integers(-2, 2**64), st.integers(-2, 2**64), st.lists(st.binary(max_size=40), max_size=70)
)
def test_any_consistency_proof_that_was_not_made_is_refused(
    old: int, new: int, proof: list[bytes]
) -> None:
    with pytest.raises(ProofRejected):
        merkle.verify_consistency(TreeHead(old, b"a" * 32), TreeHead(new, b"b" * 32), proof)


def test_a_proof_longer_than_any_tree_is_high_is_refused_before_hashing() -> None:
    with pytest.raises(ProofRejected, match="more than 63"):
        merkle.verify_inclusion(LEAVES[0], 0, [bytes(32)] * 64, TreeHead(2**62, bytes(32)))


def test_a_proof_that_starts_from_an_empty_tree_proves_nothing() -> None:
    empty = TreeHead(0, merkle.EMPTY_ROOT)

    with pytest.raises(ProofRejected):
        merkle.verify_consistency(empty, empty, ())
    with pytest.raises(ProofRejected):
        merkle.verify_consistency(empty, head_of(LEAVES), ())
    with pytest.raises(ProofRejected):
        merkle.consistency_proof(0, 8, merkle.nodes_of(LEAVES))


@pytest.mark.parametrize(("index", "size"), [(-1, 8), (8, 8), (0, 0), (0, -1)])
def test_no_proof_is_made_for_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ProofRejected):
        merkle.inclusion_proof(index, size, merkle.nodes_of(LEAVES))


def test_hashes_cut_elsewhere_do_not_pass_as_the_same_proof() -> None:
    left, right = LEAVES[0], LEAVES[1]
    head = TreeHead(2, merkle.node_hash(left, right))

    merkle.verify_inclusion(left, 0, [right], head)
    with pytest.raises(ProofRejected):
        merkle.verify_inclusion(left + right[:1], 0, [right[1:]], head)


def test_a_node_cannot_pass_as_a_leaf() -> None:
    inner = merkle.node_hash(LEAVES[0], LEAVES[1])

    assert merkle.leaf_hash(LEAVES[0] + LEAVES[1]) != inner


def test_salts_and_salted_leaves_are_what_they_were_when_first_released() -> None:
    seed = bytes(range(32))

    leaves = merkle.batch_leaves(seed, [b"first", b"second", b""])

    assert merkle.salt_of(seed, 0).hex() == SALT_0
    assert merkle.salt_of(seed, 1).hex() == SALT_1
    assert [leaf.hex() for leaf in leaves] == SALTED
    assert merkle.root_of(leaves).hex() == SALTED_ROOT


@given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=50), max_size=20))
def test_a_batch_of_leaves_is_each_record_with_its_own_salt(
    seed: bytes, records: list[bytes]
) -> None:
    leaves = merkle.batch_leaves(seed, records)

    assert leaves == [
        sha256(b"\x00" + sha256(seed + index.to_bytes(8, "big")).digest() + record).digest()
        for index, record in enumerate(records)
    ]
    assert leaves == [
        merkle.salted_leaf(merkle.salt_of(seed, index), record)
        for index, record in enumerate(records)
    ]


def test_equal_records_have_different_leaves() -> None:
    leaves = merkle.batch_leaves(bytes(32), [b"same"] * 10)

    assert len(set(leaves)) == 10


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_or_salt_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(Malformed):
        merkle.batch_leaves(bytes(size), [b"record"])
    with pytest.raises(ProofRejected):
        merkle.salted_leaf(bytes(size), b"record")


@given(st.integers(0, 300))
def test_a_growing_tree_has_at_each_size_the_root_of_its_leaves(size: int) -> None:
    tree = CompactTree()
    leaves = some_leaves(size)

    for leaf in leaves:
        tree.append(leaf)

    assert tree.size == size
    assert tree.head == TreeHead(size, merkle.root_of(leaves))


@given(st.integers(0, 200), st.integers(0, 30))
def test_a_tree_goes_on_from_its_state_as_if_it_had_never_stopped(before: int, after: int) -> None:
    leaves = some_leaves(before + after)
    tree = CompactTree()
    for leaf in leaves[:before]:
        tree.append(leaf)

    resumed = CompactTree.from_state(tree.state)
    for leaf in leaves[before:]:
        resumed.append(leaf)

    assert resumed.head == head_of(leaves)
    assert len(resumed.state) == 8 + 32 * resumed.size.bit_count()


@given(sizes, st.data())
def test_the_nodes_that_appends_finish_are_enough_for_every_proof(
    size: int, data: st.DataObject
) -> None:
    leaves = some_leaves(size)
    tree, store = CompactTree(), dict[tuple[int, int], bytes]()
    for leaf in leaves:
        for level, index, value in tree.append(leaf):
            assert (level, index) not in store
            store[level, index] = value

    def stored(level: int, index: int) -> bytes:
        return store[level, index]

    old = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, old - 1))
    head = TreeHead(old, merkle.root_at(old, stored))

    assert head == head_of(leaves[:old])
    merkle.verify_inclusion(leaves[index], index, merkle.inclusion_proof(index, old, stored), head)
    merkle.verify_consistency(head, tree.head, merkle.consistency_proof(old, size, stored))


def test_an_empty_tree_has_the_root_of_nothing_however_it_is_asked() -> None:
    assert CompactTree().head == TreeHead(0, merkle.EMPTY_ROOT)
    assert merkle.root_of([]) == merkle.EMPTY_ROOT
    assert merkle.root_at(0, merkle.nodes_of([])) == merkle.EMPTY_ROOT


@given(st.binary(max_size=120))
def test_any_bytes_are_a_tree_with_that_state_or_our_error(state: bytes) -> None:
    try:
        tree = CompactTree.from_state(state)
    except Malformed:
        return

    assert tree.state == state


@pytest.mark.parametrize(
    "state", [b"", bytes(7), bytes(9), b"\xff" * 8 + bytes(64 * 32), bytes(7) + b"\x03" + bytes(32)]
)
def test_a_state_that_does_not_fit_its_size_is_refused(state: bytes) -> None:
    with pytest.raises(Malformed):
        CompactTree.from_state(state)


def test_a_leaf_that_is_no_hash_is_not_appended() -> None:
    tree = CompactTree()

    with pytest.raises(ProofRejected):
        tree.append(b"entry")

    assert tree.size == 0
