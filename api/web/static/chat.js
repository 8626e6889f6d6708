// One conversation over `/api/chat`, by the protocol of the published Moshi clients (api/chat/protocol.py).
//
// An EventTarget: `seated`, `queued` {position}, `issued` {generation_id, content_id}, `text` {piece},
// `heard` {block}, `spoke` {block}, `ended` {reason}. What was received is kept as it came: `recording()`.

import { fromUtf8 } from "./bytes.js";
import { t } from "./dom.js";
import { Microphone, RATE_HZ } from "./microphone.js";
import { checkOpus, Decoder, Encoder } from "./opus.js";

const [HANDSHAKE, AUDIO, TEXT, , METADATA, ERROR] = [0, 1, 2, 3, 4, 5];
const NORMAL = 1000;
const DELAY_S = 0.16; // what a network may be late without being heard

export class Conversation extends EventTarget {
  constructor() {
    super();
    this.heardSamples = 0; // at RATE_HZ: all of it is marked
    this._pages = [];
    this._reason = "";
    this._open = false;
  }

  /** Ask for the microphone, then connect. Throws Problem; then nothing stays open. */
  async start() {
    await checkOpus();
    this._microphone = await Microphone.open((block) => this._spoken(block), { clean: true });
    const context = this._microphone.context;
    await context.audioWorklet.addModule("/web/player_worklet.js");
    this._player = new AudioWorkletNode(context, "playback", {
      numberOfInputs: 0,
      processorOptions: { delay: DELAY_S * RATE_HZ },
    });
    this._player.connect(context.destination);
    const failed = (error) => this.stop(error.message);
    this._decoder = new Decoder((block) => this._heard(block), failed);
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    this._socket = new WebSocket(`${scheme}//${location.host}/api/chat?provenance=true`);
    this._socket.binaryType = "arraybuffer";
    this._socket.onopen = () => {
      this._encoder = new Encoder((pages) => this._send(pages), failed);
      this._open = true;
    };
    this._socket.onmessage = (event) => this._take(new Uint8Array(event.data));
    this._socket.onclose = (event) => this._end(event);
  }

  set muted(muted) {
    this._microphone.muted = muted;
  }

  /** Hang up. `reason` is shown when something went wrong. */
  stop(reason = "") {
    this._reason ||= reason;
    this._socket.close(NORMAL);
  }

  /** What was heard, as the server sent it: Ogg Opus. */
  recording() {
    return new Blob(this._pages, { type: "audio/ogg" });
  }

  _spoken(block) {
    this._tell("spoke", { block });
    if (this._open) this._encoder.push(block);
  }

  _send(pages) {
    if (this._socket.readyState !== WebSocket.OPEN) return;
    const message = new Uint8Array(pages.length + 1);
    message[0] = AUDIO;
    message.set(pages, 1);
    this._socket.send(message);
  }

  _take(message) {
    const payload = message.subarray(1);
    switch (message[0]) {
      case HANDSHAKE:
        this._tell("seated", {});
        break;
      case AUDIO:
        this._pages.push(payload.slice());
        this._decoder.push(payload);
        break;
      case TEXT:
        this._tell("text", { piece: fromUtf8(payload) });
        break;
      case METADATA:
        this._told(JSON.parse(fromUtf8(payload)));
        break;
      case ERROR:
        this._reason = fromUtf8(payload);
        break;
      default: // pings, and what later servers may say
    }
  }

  _told(said) {
    if ("queue_position" in said) this._tell("queued", { position: said.queue_position });
    else this._tell("issued", said);
  }

  _heard(block) {
    this.heardSamples += block.length;
    this._tell("heard", { block });
    this._player.port.postMessage(block);
  }

  async _end(event) {
    this._open = false;
    this._encoder?.close();
    this._decoder.close();
    await this._microphone.close();
    const broke = !event.wasClean && !this._reason ? t("talk.broke") : this._reason;
    this._tell("ended", { reason: broke });
  }

  _tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
