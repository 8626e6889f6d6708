// Opus in Ogg, both ways: what the microphone gives into pages, and pages that arrive in any pieces into
// packets.
//
// Source: RFC 3533, sec. 6, and RFC 7845; written from them, beside audio/ogg.py, which does the same in the
// server. Not covered: several streams, seeking.

import { concat, utf8 } from "./bytes.js";

const HEADER_BYTES = 27;
const [CONTINUED, FIRST] = [1, 2];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  return crc >>> 0;
});

function checksum(bytes) {
  let crc = 0;
  for (const byte of bytes) crc = ((crc << 8) ^ CRC_TABLE[(crc >>> 24) ^ byte]) >>> 0;
  return crc;
}

/** Pages of one stream, one packet in each. */
export class OggWriter {
  constructor() {
    this._serial = crypto.getRandomValues(new Uint32Array(1))[0];
    this._sequence = 0;
    this._granule = 0; // samples at 48 kHz
  }

  /** The two pages that begin the stream. */
  begin() {
    const head = new DataView(new ArrayBuffer(19));
    "OpusHead".split("").forEach((letter, i) => head.setUint8(i, letter.charCodeAt(0)));
    head.setUint8(8, 1); // version
    head.setUint8(9, 1); // channels
    head.setUint16(10, 312, true); // samples at 48 kHz that the encoder is late
    head.setUint32(12, 48_000, true);
    const vendor = utf8("earmark");
    const tags = concat(utf8("OpusTags"), Uint8Array.of(vendor.length, 0, 0, 0), vendor, new Uint8Array(4));
    return concat(this._page(new Uint8Array(head.buffer), FIRST), this._page(tags, 0));
  }

  /** The page of one packet of `numSamples` at 48 kHz. */
  write(packet, numSamples) {
    this._granule += numSamples;
    return this._page(packet, 0);
  }

  _page(packet, flags) {
    const lacing = [...Array(Math.floor(packet.length / 255)).fill(255), packet.length % 255];
    const page = concat(utf8("OggS"), new Uint8Array(HEADER_BYTES - 4), Uint8Array.from(lacing), packet);
    const view = new DataView(page.buffer);
    view.setUint8(5, flags);
    view.setBigInt64(6, BigInt(this._granule), true);
    view.setUint32(14, this._serial, true);
    view.setUint32(18, this._sequence++, true);
    view.setUint8(26, lacing.length);
    view.setUint32(22, checksum(page), true);
    return page;
  }
}

/** The packets of a stream, headers left out. A page whose checksum does not hold is passed over. */
export class OggReader {
  constructor() {
    this._buffer = new Uint8Array(0);
    this._packet = [];
  }

  push(bytes) {
    this._buffer = concat(this._buffer, bytes);
    const packets = [];
    for (;;) {
      const start = findCapture(this._buffer);
      this._buffer = this._buffer.subarray(start);
      const end = pageEnd(this._buffer);
      if (end === null) return packets.filter((packet) => !isHeader(packet));
      const page = this._buffer.slice(0, end);
      if (isWhole(page)) {
        packets.push(...this._packetsOf(page));
        this._buffer = this._buffer.subarray(end);
      } else {
        this._buffer = this._buffer.subarray(1);
      }
    }
  }

  _packetsOf(page) {
    if (!(page[5] & CONTINUED)) this._packet = [];
    const packets = [];
    let at = HEADER_BYTES + page[26];
    for (const length of page.subarray(HEADER_BYTES, HEADER_BYTES + page[26])) {
      this._packet.push(page.subarray(at, at + length));
      at += length;
      if (length === 255) continue;
      packets.push(concat(...this._packet));
      this._packet = [];
    }
    return packets;
  }
}

function findCapture(buffer) {
  for (let at = 0; at < buffer.length; at++) {
    if (buffer[at] === 79 && "OggS".startsWith(String.fromCharCode(...buffer.subarray(at, at + 4))))
      return at;
  }
  return buffer.length;
}

function pageEnd(buffer) {
  if (buffer.length < HEADER_BYTES || buffer.length < HEADER_BYTES + buffer[26]) return null;
  const lacing = buffer.subarray(HEADER_BYTES, HEADER_BYTES + buffer[26]);
  const end = lacing.reduce((sum, length) => sum + length, HEADER_BYTES + buffer[26]);
  return end <= buffer.length ? end : null;
}

function isWhole(page) {
  const view = new DataView(page.buffer);
  const said = view.getUint32(22, true);
  const blank = page.slice();
  blank.fill(0, 22, 26);
  return view.getUint8(4) === 0 && checksum(blank) === said;
}

const isHeader = (packet) => ["OpusHead", "OpusTags"].includes(String.fromCharCode(...packet.subarray(0, 8)));
