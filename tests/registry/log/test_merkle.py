"""The tree against RFC 6962's own vectors, and every proof of small trees, right and wrong."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.log.merkle import (
    EMPTY_ROOT,
    Node,
    complete_root,
    consistency_proof,
    inclusion_proof,
    is_consistent,
    leaf_hash,
    root,
    root_from_inclusion,
)
from tests.registry.log.independent import tree

# The leaves and roots that the reference implementations of RFC 6962 are tested with.
LEAVES = [
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
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def nodes(leaves: list[bytes]) -> Node:
    hashes = [leaf_hash(leaf) for leaf in leaves]
    return lambda level, index: complete_root(hashes[index << level : (index + 1) << level])


def test_the_roots_are_those_of_the_reference_vectors() -> None:
    assert EMPTY_ROOT == hashlib.sha256(b"").digest() == root(nodes([]), 0)
    found = [root(nodes(LEAVES), size).hex() for size in range(1, 9)]
    assert found == ROOTS
    assert [tree(LEAVES[:size]).hex() for size in range(1, 9)] == ROOTS


def test_a_hand_written_proof_is_the_one_of_the_reference_vectors() -> None:
    path = [one.hex() for one in inclusion_proof(nodes(LEAVES), 5, 8)]
    assert path == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_every_proof_of_every_tree_up_to_40_leaves_verifies() -> None:
    leaves = [bytes([number]) for number in range(40)]
    node = nodes(leaves)
    roots = [root(node, size) for size in range(41)]
    for size in range(1, 41):
        for index in range(size):
            proof = inclusion_proof(node, index, size)
            assert root_from_inclusion(index, size, leaf_hash(leaves[index]), proof) == roots[size]
        for old_size in range(size + 1):
            proof = consistency_proof(node, old_size, size)
            assert is_consistent(old_size, size, roots[old_size], roots[size], proof), (old_size, size)


@settings(deadline=None)  # the time limit is for an idle machine
@given(st.integers(1, 60), st.data())
def test_a_proof_with_one_bit_changed_proves_nothing(size: int, data: st.DataObject) -> None:
    node = nodes([bytes([number]) for number in range(size)])
    index = data.draw(st.integers(0, size - 1))
    proof, leaf = inclusion_proof(node, index, size), leaf_hash(bytes([index]))
    changed = data.draw(st.integers(0, len(proof)))
    flipped = [*proof, leaf]
    place = data.draw(st.integers(0, 255))
    bits = int.from_bytes(flipped[changed], "big") ^ 1 << place
    flipped[changed] = bits.to_bytes(32, "big")
    assert root_from_inclusion(index, size, flipped[-1], flipped[:-1]) != root(node, size)


@settings(deadline=None)  # the time limit is for an idle machine
@given(st.integers(1, 60), st.integers(0, 60), st.data())
def test_a_tree_with_another_past_is_never_consistent(size: int, old_size: int, data: st.DataObject) -> None:
    """The log that rewrites one old leaf: no proof of its own may convince."""
    if not 0 < old_size <= size:
        return
    rewritten = data.draw(st.integers(0, old_size - 1))
    old = nodes([bytes([number]) for number in range(size)])
    new = nodes([bytes([number]) if number != rewritten else b"other" for number in range(size)])
    for node in (old, new):
        proof = consistency_proof(node, old_size, size)
        assert not is_consistent(old_size, size, root(old, old_size), root(new, size), proof)


@pytest.mark.parametrize("length", [0, 1, 2, 4, 9])
def test_a_proof_of_the_wrong_length_is_refused(length: int) -> None:
    """Eight leaves need three hashes; the loop must neither read beyond nor stop early."""
    assert root_from_inclusion(3, 8, bytes(32), [bytes(32)] * length) is None
    assert root_from_inclusion(8, 8, bytes(32), [bytes(32)] * 3) is None
    assert not is_consistent(4, 8, bytes(32), bytes(32), [bytes(32)] * (length + 2))
