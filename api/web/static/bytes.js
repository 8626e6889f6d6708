// Bytes as text and hashes, by WebCrypto alone. Decoders are strict: one text for one sequence of bytes.

export const utf8 = (text) => new TextEncoder().encode(text);

export function fromUtf8(bytes) {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

export async function sha256(...parts) {
  if (!globalThis.crypto?.subtle) throw new Error("this page needs https to compute hashes");
  return new Uint8Array(await crypto.subtle.digest("SHA-256", concat(...parts)));
}

export function concat(...parts) {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

export const equal = (a, b) => a.length === b.length && a.every((byte, i) => byte === b[i]);

export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

export function fromHex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error("this is not hexadecimal");
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

export const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

/** Strict base64: throws for anything that is not the one form of its bytes. */
export function fromBase64(text) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new Error("this is not base64");
  }
  if (base64(bytes) !== text) throw new Error("this is not the one base64 form of these bytes");
  return bytes;
}

/** RFC 8785, which is what ECMAScript's own printing of numbers and text is defined to give. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  // The default order of sort() is that of UTF-16 code units, as the RFC asks.
  const members = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}
