// The microphone as blocks of samples, for recording and for talking.
//
//   const microphone = await Microphone.open(onBlock, { clean: true }); // Float32Array [BLOCK] at RATE_HZ
//   await microphone.close();

import { t } from "./dom.js";
import { Problem } from "./service.js";

export const RATE_HZ = 48_000; // what Opus counts in, and what browsers record at
export const BLOCK = 1920; // 40 ms

export class Microphone {
  /** `clean` asks the browser to take out echo and noise: for talking, not for evidence. Throws Problem. */
  static async open(onBlock, { clean }) {
    if (!navigator.mediaDevices?.getUserMedia) throw new Problem(t("mic.insecure"));
    const wishes = {
      channelCount: 1,
      echoCancellation: clean,
      noiseSuppression: clean,
      autoGainControl: clean,
    };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: wishes });
    } catch (error) {
      throw new Problem(t(error.name === "NotFoundError" ? "mic.absent" : "mic.refused"));
    }
    const context = new AudioContext({ sampleRate: RATE_HZ });
    await context.audioWorklet.addModule("/web/capture_worklet.js");
    const node = new AudioWorkletNode(context, "capture", {
      numberOfOutputs: 0,
      processorOptions: { block: BLOCK },
    });
    node.port.onmessage = (event) => onBlock(event.data);
    context.createMediaStreamSource(stream).connect(node);
    return new Microphone(context, stream);
  }

  constructor(context, stream) {
    this.context = context;
    this._stream = stream;
  }

  /** While muted, blocks are silence. */
  set muted(muted) {
    for (const track of this._stream.getTracks()) track.enabled = !muted;
  }

  async close() {
    for (const track of this._stream.getTracks()) track.stop();
    if (this.context.state !== "closed") await this.context.close();
  }
}

/** How loud a block looks on a meter, 0 to 1: -60 dB to 0 dB. */
export function level(block) {
  const power = block.reduce((sum, sample) => sum + sample * sample, 0) / Math.max(block.length, 1);
  return Math.min(Math.max(1 + Math.log10(power + 1e-12) / 6, 0), 1);
}

/** Blocks as a WAV file, 16 bits. */
export function wavFile(blocks) {
  const numSamples = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * numSamples));
  const text = (at, word) => [...word].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * numSamples, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, RATE_HZ, true);
  view.setUint32(28, 2 * RATE_HZ, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * numSamples, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, Math.round(Math.min(Math.max(sample, -1), 1) * 32_767), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
