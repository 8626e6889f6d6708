// A receipt (C2SP tlog-proof) checked in the browser, in the order of registry/log/receipt.py, numbered the
// same way:
//
// (1) the form; (2) the log's key signed the checkpoint; (3) the index lies in that tree; (4) leaf and proof
// lead to the signed root; (5) with a file: the leaf's commitment is SHA-256(salt || SHA-256(file)).
//
// Not covered: witnesses, and whether the log revoked the entry later.

import { canonical, equal, fromBase64, fromHex, fromUtf8, hex, sha256, utf8 } from "./bytes.js";
import { leafHash, rootFromInclusion } from "./merkle.js";
import { decimal, openCheckpoint } from "./note.js";

const FIRST_LINE = "c2sp.org/tlog-proof@v1";
const MAX_BYTES = 200_000;
const MAX_HASHES = 63;

/** (1) Throws with the reason for everything that is no receipt. */
export function parseReceipt(bytes) {
  if (bytes.length > MAX_BYTES) throw new Error("a file of this size is no receipt");
  const text = fromUtf8(bytes);
  const at = text.indexOf("\n\n");
  const lines = text.slice(0, Math.max(at, 0)).split("\n");
  if (lines[0] !== FIRST_LINE) throw new Error(`a receipt begins with ${FIRST_LINE}`);
  if (lines.length < 3) throw new Error("a receipt is cut short");
  const [name, number, ...more] = lines[2].split(" ");
  if (name !== "index" || more.length) throw new Error("the third line of a receipt is `index` and a number");
  const proof = lines.slice(3).map(fromBase64);
  if (proof.length > MAX_HASHES || proof.some((one) => one.length !== 32))
    throw new Error("a proof is at most 63 hashes of 32 bytes");
  return { ...parseExtra(lines[1]), index: decimal(number), proof, checkpoint: utf8(text.slice(at + 2)) };
}

function parseExtra(line) {
  if (!line.startsWith("extra ")) throw new Error("the second line of a receipt is `extra` and the entry");
  const extra = parseCanonical(fromUtf8(fromBase64(line.slice("extra ".length))));
  const known = Object.keys(extra).every((member) => member === "leaf" || member === "salt");
  const entry = parseCanonical(extra.leaf);
  if (!known || entry === null || typeof entry !== "object" || Array.isArray(entry)) {
    throw new Error("the entry in a receipt is a JSON object, and beside it stands at most a salt");
  }
  const salt = "salt" in extra ? fromHex(extra.salt) : null;
  if (salt && salt.length !== 32) throw new Error("a salt has 32 bytes");
  return { leaf: utf8(extra.leaf), entry, salt };
}

function parseCanonical(text) {
  const value = JSON.parse(text);
  if (canonical(value) !== text) throw new Error("this JSON is not in canonical form (RFC 8785)");
  return value;
}

/**
 * The steps (2) to (4), each `{step, passed, reason}`; after the first that fails the rest are not looked at.
 */
export async function checkReceipt(receipt, key) {
  let checkpoint = null;
  const steps = [
    [
      "signed",
      async () => {
        checkpoint = await openCheckpoint(receipt.checkpoint, key); // (2)
      },
    ],
    [
      "within",
      () => {
        if (receipt.index >= checkpoint.size)
          throw new Error(`entry ${receipt.index} is beyond the ${checkpoint.size} that are signed`); // (3)
      },
    ],
    [
      "included",
      async () => {
        const found = await rootFromInclusion(
          receipt.index,
          checkpoint.size,
          await leafHash(receipt.leaf),
          receipt.proof,
        );
        if (!found || !equal(found, checkpoint.root))
          throw new Error("leaf and proof do not lead to the signed root"); // (4)
      },
    ],
  ];
  const results = [];
  for (const [step, run] of steps) {
    if (results.some((one) => one.passed === false)) {
      results.push({ step, passed: null });
      continue;
    }
    try {
      await run();
      results.push({ step, passed: true });
    } catch (error) {
      results.push({ step, passed: false, reason: error.message });
    }
  }
  return { steps: results, checkpoint, valid: results.every((one) => one.passed) };
}

/**
 * (5) Whether these bytes are the file that was released: true, false, or null when the receipt cannot tell.
 */
export async function isFileOf(receipt, bytes) {
  const commitment = receipt.entry.file_commit;
  if (!commitment || !receipt.salt) return null;
  return hex(await sha256(receipt.salt, await sha256(bytes))) === commitment;
}
