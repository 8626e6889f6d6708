// Opus by the browser's own codecs (WebCodecs), with Ogg of our own around it: nothing to download.

import { t } from "./dom.js";
import { BLOCK, RATE_HZ } from "./microphone.js";
import { OggReader, OggWriter } from "./ogg.js";
import { Problem } from "./service.js";

const BIT_RATE = 64_000;
const FORMAT = { codec: "opus", sampleRate: RATE_HZ, numberOfChannels: 1 };

/** Throws Problem when this browser has no Opus. */
export async function checkOpus() {
  const known = globalThis.AudioEncoder && globalThis.AudioDecoder;
  if (!known || !(await AudioEncoder.isConfigSupported({ ...FORMAT, bitrate: BIT_RATE })).supported) {
    throw new Problem(t("talk.no_opus"));
  }
}

/** Blocks of BLOCK samples in; `onPages(bytes)` is given Ogg pages, the two of the header first. */
export class Encoder {
  constructor(onPages, onError) {
    this._writer = new OggWriter();
    this._numBlocks = 0;
    this._encoder = new AudioEncoder({
      output: (chunk) => {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        onPages(this._writer.write(packet, Math.round((chunk.duration / 1e6) * 48_000)));
      },
      error: onError,
    });
    const frame = (BLOCK / RATE_HZ) * 1e6;
    this._encoder.configure({ ...FORMAT, bitrate: BIT_RATE, opus: { frameDuration: frame } });
    onPages(this._writer.begin());
  }

  push(block) {
    const timestamp = Math.round(((this._numBlocks++ * BLOCK) / RATE_HZ) * 1e6);
    const data = new AudioData({
      format: "f32",
      sampleRate: RATE_HZ,
      numberOfFrames: block.length,
      numberOfChannels: 1,
      timestamp,
      data: block,
    });
    this._encoder.encode(data);
    data.close();
  }

  /** Wait for what was pushed. */
  flush() {
    return this._encoder.flush();
  }

  close() {
    if (this._encoder.state !== "closed") this._encoder.close();
  }
}

/** Ogg bytes in, cut anywhere; `onSamples(block)` is given what is heard. */
export class Decoder {
  constructor(onSamples, onError) {
    this._reader = new OggReader();
    this._timestamp = 0;
    this._decoder = new AudioDecoder({
      output: (data) => {
        const block = new Float32Array(data.numberOfFrames);
        data.copyTo(block, { planeIndex: 0, format: "f32-planar" });
        data.close();
        onSamples(block);
      },
      error: onError,
    });
    this._decoder.configure(FORMAT);
  }

  push(bytes) {
    for (const data of this._reader.push(bytes)) {
      this._decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: this._timestamp, data }));
      this._timestamp += 40_000;
    }
  }

  /** Wait for what was pushed. */
  flush() {
    return this._decoder.flush();
  }

  close() {
    if (this._decoder.state !== "closed") this._decoder.close();
  }
}
