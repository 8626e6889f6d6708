"""The Merkle tree of RFC 6962: roots and proofs from any source of nodes, and their verification.

    leaf = SHA-256(0x00 || data)    node = SHA-256(0x01 || left || right)

`node(level, index)` is the root of the complete subtree of the 2**level leaves from index * 2**level on; all
else follows from these. Source: RFC 6962, sec. 2.1; the verifiers follow RFC 9162, sec. 2.1.3.2 and 2.1.4.2.
Not here: where nodes are kept (tiles.py), and who signed a root (checkpoint.py).
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeAlias

Node: TypeAlias = Callable[[int, int], bytes]

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root over 2**k hashes that are roots of equal complete subtrees themselves."""
    assert hashes and len(hashes) & (len(hashes) - 1) == 0, "not a power of two"
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def root(node: Node, size: int) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return _range_root(node, 0, size) if size else EMPTY_ROOT


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """The siblings from leaf `index` (below `size`) up to the root, lowest first."""
    assert 0 <= index < size
    return _path(node, index, 0, size)


def consistency_proof(node: Node, old_size: int, size: int) -> list[bytes]:
    """What shows that the tree of `size` leaves begins with that of `old_size`; empty for 0 and `size`."""
    assert 0 <= old_size <= size
    if old_size in (0, size):
        return []
    return _subproof(node, old_size, 0, size, whole=True)


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes | None:
    """The root that a proof leads to, None when its length does not fit. RFC 9162, sec. 2.1.3.2."""
    if not 0 <= index < size:
        return None
    fn, sn, computed = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return None
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            computed = node_hash(computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    return computed if sn == 0 else None


def is_consistent(old_size: int, size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the new tree extends the old one. RFC 9162, sec. 2.1.4.2."""
    if not 0 <= old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    hashes = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    if not hashes:
        return False
    fn, sn = old_size - 1, size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old_computed = new_computed = hashes[0]
    for sibling in hashes[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new_computed = node_hash(new_computed, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and old_computed == old_root and new_computed == new_root


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _range_root(node: Node, start: int, end: int) -> bytes:
    size = end - start
    if size & (size - 1) == 0:
        return node(size.bit_length() - 1, start // size)
    middle = start + _split(size)
    return node_hash(_range_root(node, start, middle), _range_root(node, middle, end))


def _path(node: Node, index: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(node, index, start, middle), _range_root(node, middle, end)]
    return [*_path(node, index, middle, end), _range_root(node, start, middle)]


def _subproof(node: Node, old_end: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    """RFC 6962, sec. 2.1.2: `whole` while the old tree is still the complete left part of this range."""
    if old_end == end:
        return [] if whole else [_range_root(node, start, end)]
    middle = start + _split(end - start)
    if old_end <= middle:
        return [*_subproof(node, old_end, start, middle, whole=whole), _range_root(node, middle, end)]
    return [*_subproof(node, old_end, middle, end, whole=False), _range_root(node, start, middle)]
