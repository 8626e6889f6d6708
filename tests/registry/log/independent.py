"""A verifier of receipts and logs that shares nothing with ours: hashlib, base64 and `openssl`.

    python tests/registry/log/independent.py receipt PUBLIC_KEY < RECEIPT
    python tests/registry/log/independent.py log PUBLIC_KEY FOLDER_OR_URL

Written from RFC 6962, C2SP signed-note, tlog-checkpoint, tlog-tiles and tlog-proof; it imports no package of
this repository and no library, and signatures are checked by the openssl command. The proof is followed by
recursion as in RFC 6962 section 2.1.1, where ours loops as RFC 9162 does. Of a log, the entries must give
the signed root and, byte for byte, every hash tile that is served. Exit code 0 and one line of JSON when all
holds, else 1 and the reason.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable

ED25519_DER = bytes.fromhex("302a300506032b6570032100")  # RFC 8410: what openssl wants before the 32 bytes


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def check_signature(public_key: bytes, message: bytes, signature: bytes) -> bool:
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "key").write_bytes(ED25519_DER + public_key)
        (folder / "message").write_bytes(message)
        (folder / "signature").write_bytes(signature)
        words = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin"]
        words += ["-in", "message", "-sigfile", "signature"]
        return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 0


def open_checkpoint(note: bytes, verifier_key: str) -> tuple[int, bytes]:
    """Size and root, when the key signed them."""
    name, key_id, blob = verifier_key.strip().split("+", 2)
    public_key = base64.b64decode(blob)
    assert public_key[0] == 1, "not an Ed25519 key"
    assert sha(name.encode(), b"\n", public_key)[:4].hex() == key_id, "key id"
    text, lines = note.rsplit(b"\n\n", 1)
    message = text + b"\n"
    origin, size, root = message.decode().split("\n")[:3]
    assert origin == name, "origin"
    for line in lines.decode().splitlines():
        dash, signer, encoded = line.split(" ")
        raw = base64.b64decode(encoded)
        if dash == "\u2014" and signer == name and raw[:4].hex() == key_id:
            assert check_signature(public_key[1:], message, raw[4:]), "signature"
            return int(size), base64.b64decode(root)
    raise AssertionError("no signature of that key")


def climb(index: int, size: int, leaf: bytes, path: list[bytes]) -> bytes:
    """RFC 6962, section 2.1.1, backwards: the last hash is the sibling just below the root."""
    if size == 1:
        assert not path, "path too long"
        return leaf
    assert path, "path too short"
    left = 1
    while left * 2 < size:
        left *= 2
    if index < left:
        return sha(b"\x01", climb(index, left, leaf, path[:-1]), path[-1])
    return sha(b"\x01", path[-1], climb(index - left, size - left, leaf, path[:-1]))


def tree(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1: MTH."""
    if len(leaves) == 1:
        return sha(b"\x00", leaves[0])
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    return sha(b"\x01", tree(leaves[:left]), tree(leaves[left:])) if leaves else sha()


def verify_receipt(receipt: bytes, verifier_key: str) -> dict:
    head, note = receipt.split(b"\n\n", 1)
    first, extra, index_line, *hashes = head.decode().split("\n")
    assert first == "c2sp.org/tlog-proof@v1", "first line"
    leaf = json.loads(base64.b64decode(extra.removeprefix("extra "), validate=True))["leaf"].encode()
    index = int(index_line.removeprefix("index "))
    size, root = open_checkpoint(note, verifier_key)
    assert index < size, "index"
    path = [base64.b64decode(one, validate=True) for one in hashes]
    assert climb(index, size, sha(b"\x00", leaf), path) == root, "root"
    return {"index": index, "size": size, "entry": json.loads(leaf)}


def verify_log(place: str, verifier_key: str) -> dict:
    def get(path: str) -> bytes:
        if "://" in place:
            with urllib.request.urlopen(f"{place}/{path}", timeout=30) as answer:
                return answer.read()
        return (pathlib.Path(place) / path).read_bytes()

    size, root = open_checkpoint(get("checkpoint"), verifier_key)
    leaves: list[bytes] = []
    for path, width in tile_paths("entries", size):
        data = get(path)
        while data:
            length = int.from_bytes(data[:2], "big")
            leaves.append(data[2 : 2 + length])
            data = data[2 + length :]
        assert len(leaves) % 256 == width % 256, f"number of entries in {path}"
    assert len(leaves) == size, "number of entries"
    assert tree(leaves) == root, "root"
    return {"size": size, "root": root.hex(), "tiles": check_hash_tiles(leaves, get)}


def tile_paths(level: str, count: int) -> list[tuple[str, int]]:
    """The files that hold so many entries or hashes, and how many each holds."""
    paths = []
    for number in range(-(-count // 256)):
        digits = f"{number:03}" if number < 1000 else f"x{number // 1000:03}/{number % 1000:03}"
        width = min(256, count - number * 256)
        paths.append((f"tile/{level}/{digits}" + ("" if width == 256 else f".p/{width}"), width))
    return paths


def check_hash_tiles(leaves: list[bytes], get: Callable[[str], bytes]) -> int:
    """C2SP tlog-tiles: level L has the roots of each 256**L leaves that are there whole. Returns how many
    tiles there are."""
    hashes, level, num_tiles = [sha(b"\x00", leaf) for leaf in leaves], 0, 0
    while hashes:
        for number, (path, width) in enumerate(tile_paths(str(level), len(hashes))):
            expected = b"".join(hashes[number * 256 : number * 256 + width])
            assert get(path) == expected, f"{path} is not what the entries give"
            num_tiles += 1
        whole = range(0, len(hashes) // 256 * 256, 256)
        hashes = [over_hashes(hashes[first : first + 256]) for first in whole]
        level += 1
    return num_tiles


def over_hashes(hashes: list[bytes]) -> bytes:
    """The root over hashes of subtrees of one size, a power of two of them."""
    if len(hashes) == 1:
        return hashes[0]
    middle = len(hashes) // 2
    return sha(b"\x01", over_hashes(hashes[:middle]), over_hashes(hashes[middle:]))


def main() -> None:
    what, verifier_key, *rest = sys.argv[1:]
    try:
        if what == "receipt":
            print(json.dumps(verify_receipt(sys.stdin.buffer.read(), verifier_key)))
        else:
            print(json.dumps(verify_log(rest[0], verifier_key)))
    except (AssertionError, ValueError, KeyError, IndexError, OSError, RecursionError) as error:
        print(f"refused: {error!r}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
