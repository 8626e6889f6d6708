// The log as its public files (C2SP tlog-tiles): hashes and entries by tile, proved against the signed
// checkpoint.

import { equal, fromUtf8 } from "./bytes.js";
import { completeRoot, inclusionProof, leafHash, rootFromInclusion } from "./merkle.js";
import { openCheckpoint, parseKey } from "./note.js";
import { request } from "./service.js";

const WIDTH = 256;
const HEIGHT = 8;

const bytesOf = async (path) => new Uint8Array(await (await request(path)).arrayBuffer());

/** The key that this server names. It proves nothing about the server: a key from elsewhere does. */
export async function serverKey() {
  return parseKey(await (await request("/v1/log/key")).text());
}

export const fetchCheckpoint = () => bytesOf("/v1/log/checkpoint");

/** The path of a tile; `level` is a number or "entries". */
export function tilePath(level, number, width = WIDTH) {
  const groups = [String(number % 1000).padStart(3, "0")];
  for (let rest = Math.floor(number / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  }
  return `/v1/log/tile/${level}/${groups.join("/")}${width === WIDTH ? "" : `.p/${width}`}`;
}

/** Nodes of the tree of `size` leaves, each tile fetched once. */
export function tileReader(size) {
  const tiles = new Map();
  const tile = (level, number) => {
    const width = Math.min(Math.floor(size / 2 ** (HEIGHT * level)) - number * WIDTH, WIDTH);
    const path = tilePath(level, number, width);
    if (!tiles.has(path)) tiles.set(path, bytesOf(path));
    return tiles.get(path);
  };
  return async (level, index) => {
    const tileLevel = Math.floor(level / HEIGHT);
    const count = 2 ** (level % HEIGHT);
    const first = index * count;
    const data = await tile(tileLevel, Math.floor(first / WIDTH));
    const hashes = Array.from({ length: count }, (_, i) =>
      data.subarray(32 * ((first % WIDTH) + i), 32 * ((first % WIDTH) + i + 1)),
    );
    if (hashes.some((one) => one.length !== 32)) throw new Error("a tile of the log is cut short");
    return completeRoot(hashes);
  };
}

/** The leaves of one bundle, as bytes: each after its length in two bytes. */
export async function bundle(number, size) {
  const width = Math.min(size - number * WIDTH, WIDTH);
  const data = await bytesOf(tilePath("entries", number, width));
  const leaves = [];
  for (let at = 0; at + 2 <= data.length;) {
    const length = data[at] * 256 + data[at + 1];
    leaves.push(data.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  if (leaves.length !== width) throw new Error("a bundle of the log does not hold what it should");
  return leaves;
}

/** Entry `index` with the size of the tree that it was proved to be in. Throws when the proof fails. */
export async function provenEntry(index) {
  const checkpoint = await openCheckpoint(await fetchCheckpoint(), await serverKey());
  if (index >= checkpoint.size) throw new Error("the log has not published this entry yet");
  const leaves = await bundle(Math.floor(index / WIDTH), checkpoint.size);
  const leaf = leaves[index % WIDTH];
  const proof = await inclusionProof(tileReader(checkpoint.size), index, checkpoint.size);
  const root = await rootFromInclusion(index, checkpoint.size, await leafHash(leaf), proof);
  if (!root || !equal(root, checkpoint.root)) throw new Error("the log does not prove this entry");
  return { entry: JSON.parse(fromUtf8(leaf)), size: checkpoint.size };
}
