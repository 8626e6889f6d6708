// The Merkle tree of RFC 6962, by WebCrypto: what a proof leads to, and whether one tree extends another.
//
//   leaf = SHA-256(0x00 || data)    node = SHA-256(0x01 || left || right)
//
// `node(level, index)` gives the root of the complete subtree of 2**level leaves from index * 2**level on.
// Sizes are plain numbers, exact up to 2**53, so there are no bit operations, which end at 2**31.

import { equal, sha256 } from "./bytes.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export const leafHash = (data) => sha256(LEAF, data);
export const nodeHash = (left, right) => sha256(NODE, left, right);

const half = (number) => Math.floor(number / 2);
const isOdd = (number) => number % 2 === 1;
const isPowerOfTwo = (number) => Number.isInteger(Math.log2(number));

/** The root over 2**k hashes of equal complete subtrees. */
export async function completeRoot(hashes) {
  let level = hashes;
  while (level.length > 1) {
    level = await Promise.all(
      Array.from({ length: level.length / 2 }, (_, i) => nodeHash(level[2 * i], level[2 * i + 1])),
    );
  }
  return level[0];
}

/** The root that an inclusion proof leads to, null when its length does not fit. RFC 9162, 2.1.3.2. */
export async function rootFromInclusion(index, size, leaf, proof) {
  if (!(index >= 0 && index < size)) return null;
  let [fn, sn, computed] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (sn === 0) return null;
    if (isOdd(fn) || fn === sn) {
      computed = await nodeHash(sibling, computed);
      while (!isOdd(fn) && fn > 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      computed = await nodeHash(computed, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 ? computed : null;
}

/** Whether a proof shows that the tree of `size` begins with that of `oldSize`. RFC 9162, 2.1.4.2. */
export async function isConsistent(oldSize, size, oldRoot, root, proof) {
  if (oldSize > size || oldSize < 1) return false;
  if (oldSize === size) return proof.length === 0 && equal(oldRoot, root);
  const hashes = isPowerOfTwo(oldSize) ? [oldRoot, ...proof] : [...proof];
  if (!hashes.length) return false;
  let [fn, sn] = [oldSize - 1, size - 1];
  while (isOdd(fn)) [fn, sn] = [half(fn), half(sn)];
  let oldComputed = hashes[0];
  let computed = hashes[0];
  for (const sibling of hashes.slice(1)) {
    if (sn === 0) return false;
    if (isOdd(fn) || fn === sn) {
      oldComputed = await nodeHash(sibling, oldComputed);
      computed = await nodeHash(sibling, computed);
      while (!isOdd(fn) && fn > 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      computed = await nodeHash(computed, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equal(oldComputed, oldRoot) && equal(computed, root);
}

/** The siblings from leaf `index` up to the root, lowest first. RFC 6962, 2.1.1. */
export async function inclusionProof(node, index, size, start = 0) {
  if (size === 1) return [];
  const left = largestPowerBelow(size);
  if (index < start + left) {
    return [
      ...(await inclusionProof(node, index, left, start)),
      await rangeRoot(node, start + left, size - left),
    ];
  }
  return [
    ...(await inclusionProof(node, index, size - left, start + left)),
    await rangeRoot(node, start, left),
  ];
}

/** What shows that the tree of `size` begins with that of `oldSize`, 0 < oldSize <= size. RFC 6962, 2.1.2. */
export async function consistencyProof(node, oldSize, size, start = 0, whole = true) {
  if (oldSize === size) return whole ? [] : [await rangeRoot(node, start, size)];
  const left = largestPowerBelow(size);
  if (oldSize <= left) {
    return [
      ...(await consistencyProof(node, oldSize, left, start, whole)),
      await rangeRoot(node, start + left, size - left),
    ];
  }
  const rest = await consistencyProof(node, oldSize - left, size - left, start + left, false);
  return [...rest, await rangeRoot(node, start, left)];
}

async function rangeRoot(node, start, size) {
  if (isPowerOfTwo(size)) return node(Math.log2(size), start / size);
  const left = largestPowerBelow(size);
  return nodeHash(await rangeRoot(node, start, left), await rangeRoot(node, start + left, size - left));
}

const largestPowerBelow = (size) => 2 ** Math.ceil(Math.log2(size) - 1);
