// Signed notes, checkpoints and keys, checked by this browser: C2SP signed-note and tlog-checkpoint, Ed25519.
//
// Written from the specifications, apart from the server's own code: a second reader of the same formats.

import { equal, fromBase64, fromUtf8, hex, sha256, utf8 } from "./bytes.js";

const DASH = "\u2014 ";
const ED25519 = 1;
const MAX_NOTE_BYTES = 100_000;
const MAX_SIGNATURES = 100;

/**
 * A public key as it is published: `<name>+<key id in hex>+base64(type || key)`. Throws when it is damaged.
 */
export async function parseKey(text) {
  const match = /^([^\s+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text.trim());
  if (!match) throw new Error("a public key looks like name+0123abcd+base64");
  const [, name, id, encoded] = match;
  const blob = fromBase64(encoded);
  if (blob.length !== 33 || blob[0] !== ED25519) throw new Error("this is not an Ed25519 key of a log");
  const keyId = (await sha256(utf8(`${name}\n`), blob)).slice(0, 4);
  if (hex(keyId) !== id) throw new Error("this public key is damaged: its id does not fit");
  return { name, keyId, publicKey: blob.slice(1), text: text.trim() };
}

/** One signature line: `— <name> base64(key id || signature)`. */
export function parseSignature(line) {
  const parts = line.startsWith(DASH) ? line.slice(DASH.length).split(" ") : [];
  if (parts.length !== 2 || !parts[0] || parts[0].includes("+"))
    throw new Error("a signature line is not `— name base64`");
  const blob = fromBase64(parts[1]);
  if (blob.length <= 4) throw new Error("a signature is cut short");
  return { name: parts[0], keyId: blob.slice(0, 4), signature: blob.slice(4) };
}

export const isOf = (signature, key) => signature.name === key.name && equal(signature.keyId, key.keyId);

export async function verifies(key, text, signature) {
  const imported = await crypto.subtle.importKey("raw", key.publicKey, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", imported, signature, text);
}

/** Text and signatures of a note's bytes, not yet checked. */
export function parseNote(bytes) {
  if (bytes.length > MAX_NOTE_BYTES) throw new Error("a note of this size is no checkpoint");
  const decoded = fromUtf8(bytes);
  if (/[\u0000-\u0009\u000b-\u001f]/.test(decoded)) throw new Error("a note has no control characters");
  const at = decoded.lastIndexOf("\n\n");
  const lines = decoded.slice(at + 2);
  if (at < 0 || !lines.endsWith("\n"))
    throw new Error("a note is a text, an empty line and signatures, each line ended");
  const signatures = lines.slice(0, -1).split("\n").map(parseSignature);
  if (signatures.length > MAX_SIGNATURES) throw new Error("a note with too many signatures");
  return { text: decoded.slice(0, at + 1), signatures };
}

/** Whether `key` signed the note. Throws when a line claims to be its signature and is not. */
export async function signedBy(note, key) {
  const lines = note.signatures.filter((one) => isOf(one, key));
  for (const line of lines) {
    if (!(await verifies(key, utf8(note.text), line.signature))) {
      throw new Error(`the signature of ${key.name} is not of this text`);
    }
  }
  return lines.length > 0;
}

/** Origin, size and root of a checkpoint's text. */
export function parseCheckpoint(text) {
  const lines = text.split("\n");
  if (lines.length < 4 || lines.at(-1) !== "" || lines.slice(0, -1).includes("")) {
    throw new Error("a checkpoint has an origin, a size and a root, a line each");
  }
  const root = fromBase64(lines[2]);
  if (root.length !== 32) throw new Error("a checkpoint's root has 32 bytes");
  return { origin: lines[0], size: decimal(lines[1]), root };
}

/** A number as logs write it. Larger ones than JavaScript counts exactly are refused. */
export function decimal(text) {
  const value = Number(text);
  if (!/^(0|[1-9][0-9]{0,15})$/.test(text) || !Number.isSafeInteger(value))
    throw new Error("this is no number of a log");
  return value;
}

/** The checkpoint of a signed note, once `key` has signed it. Throws with the reason. */
export async function openCheckpoint(bytes, key) {
  const note = parseNote(bytes);
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint.origin !== key.name)
    throw new Error(`it is from the log ${checkpoint.origin}, not ${key.name}`);
  if (!(await signedBy(note, key))) throw new Error(`${key.name} did not sign it with this key`);
  return checkpoint;
}

/**
 * Check the signature of a result: over its canonical form without the signature itself. Throws with the
 * reason.
 */
export async function checkResultSignature(result, body, key) {
  if (typeof result.signature !== "string") throw new Error("this result is not signed");
  const signature = parseSignature(result.signature);
  if (!isOf(signature, key)) throw new Error(`it is signed by ${signature.name} with another key`);
  if (!(await verifies(key, utf8(body), signature.signature)))
    throw new Error("it was changed after it was signed");
}
