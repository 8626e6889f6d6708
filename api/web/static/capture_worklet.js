// Runs on the audio thread: the microphone's samples in blocks of one length.

class Capture extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this._block = new Float32Array(options.processorOptions.block);
    this._filled = 0;
  }

  process([input]) {
    for (const sample of input[0] ?? []) {
      this._block[this._filled++] = sample;
      if (this._filled === this._block.length) {
        this.port.postMessage(this._block.slice());
        this._filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("capture", Capture);
