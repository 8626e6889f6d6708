// Carry a recording from /talk to / in this tab: kept in the tab's own storage until Verify takes it.

import { base64, fromBase64 } from "./bytes.js";

const NAME = "earmark.handover";

/** Keep it, and whether there was room. */
export async function give(blob) {
  try {
    sessionStorage.setItem(NAME, base64(new Uint8Array(await blob.arrayBuffer())));
    return true;
  } catch {
    return false; // some browsers hold 5 MB, others nothing
  }
}

/** What was kept, which is then forgotten; null when there is nothing. */
export function take() {
  let kept;
  try {
    kept = sessionStorage.getItem(NAME);
    sessionStorage.removeItem(NAME);
  } catch {
    return null;
  }
  return kept && new Blob([fromBase64(kept)], { type: "audio/ogg" });
}
