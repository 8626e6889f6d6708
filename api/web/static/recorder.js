// Record from the microphone into a WAV file, at most `maxS` seconds.

import { byId, clock, icon, t } from "./dom.js";
import { BLOCK, level, Microphone, RATE_HZ, wavFile } from "./microphone.js";

/**
 * Wire the button: press to record, press to stop; `onRecorded(blob)` gets the file, `onProblem(error)` why
 * not.
 */
export function setUpRecorder({ maxS, onRecorded, onProblem }) {
  const button = byId("record");
  let microphone = null;
  let blocks = [];

  const show = (isRecording) => {
    byId("recording").hidden = !isRecording;
    button.classList.toggle("active", isRecording);
    button.replaceChildren(
      icon(isRecording ? "stop" : "mic"),
      t(isRecording ? "verify.stop" : "verify.record"),
    );
  };
  const stop = async () => {
    const open = microphone;
    microphone = null;
    show(false);
    await open.close();
    if (blocks.length) onRecorded(wavFile(blocks));
  };
  const take = (block) => {
    if (!microphone) return;
    blocks.push(block);
    const seconds = (blocks.length * BLOCK) / RATE_HZ;
    byId("level").value = level(block);
    byId("recorded").textContent = clock(seconds);
    if (seconds >= maxS) stop();
  };
  button.addEventListener("click", async () => {
    if (microphone) return stop();
    button.disabled = true;
    blocks = [];
    try {
      microphone = await Microphone.open(take, { clean: false });
      show(true);
    } catch (error) {
      onProblem(error);
    } finally {
      button.disabled = false;
    }
  });
}
