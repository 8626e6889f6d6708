// Runs on the audio thread: plays blocks as they come, `delay` samples behind; silence while none are there.

class Playback extends AudioWorkletProcessor {
  constructor(options) {
    super();
    this._delay = options.processorOptions.delay;
    this._blocks = [];
    this._held = 0; // samples that wait
    this._at = 0; // in the first block
    this._playing = false;
    this.port.onmessage = (event) => {
      this._blocks.push(event.data);
      this._held += event.data.length;
    };
  }

  process(_, [[output]]) {
    if (!this._playing && this._held < this._delay) return true;
    this._playing = true;
    for (let i = 0; i < output.length; i++) {
      if (!this._blocks.length) {
        this._playing = false; // waits until `delay` is there again, so that it does not stutter
        break;
      }
      output[i] = this._blocks[0][this._at++];
      this._held--;
      if (this._at === this._blocks[0].length) {
        this._blocks.shift();
        this._at = 0;
      }
    }
    return true;
  }
}

registerProcessor("playback", Playback);
