// The page `/talk`: a conversation, and beside it what provenance does with every second of it.

import { Conversation } from "./chat.js";
import { byId, checkLine, clock, count, duration, el, save, t } from "./dom.js";
import { give } from "./handover.js";
import { level, RATE_HZ } from "./microphone.js";
import { openCheckpoint } from "./note.js";
import { checkReceipt, parseReceipt } from "./receipt.js";
import { setUpSay } from "./say.js";
import { request, serviceFacts } from "./service.js";
import { fetchCheckpoint, serverKey } from "./tiles.js";

const RECEIPT_TRIES = 8;
const RECEIPT_EVERY_MS = 1000;

let talk = null; // the conversation that goes on, or the last
let issued = null; // its ids
let receiptBytes = null;
let sessionS = 0;
let countdown = 0;

const say = (words) => byId("state").replaceChildren(words);

function showButtons(isTalking) {
  byId("start").hidden = isTalking;
  byId("stop").hidden = byId("mute").hidden = !isTalking;
}

function reset() {
  issued = receiptBytes = null;
  byId("problem").textContent = byId("left").textContent = "";
  byId("marked").textContent = t("seconds", { s: "0.0" });
  for (const id of ["content-id", "generation-id", "log-entry"]) byId(id).textContent = "–";
  byId("transcript").replaceChildren(el("p"));
  byId("live-checks").replaceChildren();
  byId("ended").hidden = true;
  byId("save-receipt").disabled = true;
  byId("mute").setAttribute("aria-pressed", "false");
}

async function start() {
  reset();
  byId("start").disabled = true;
  say(t("talk.opening"));
  talk = new Conversation();
  listen(talk);
  try {
    await talk.start();
    showButtons(true);
    byId("stop").focus();
    say(t("talk.connecting"));
  } catch (error) {
    say(t("talk.idle"));
    byId("problem").textContent = error.message;
  }
  byId("start").disabled = false;
}

function listen(conversation) {
  const on = (name, act) => conversation.addEventListener(name, (event) => act(event.detail));
  on("queued", ({ position }) => say(t("talk.queued", { n: position })));
  on("seated", () => {
    say(t("talk.seated"));
    const ends = Date.now() + 1000 * sessionS;
    const tick = () =>
      byId("left").replaceChildren(t("talk.left", { time: clock(Math.max(ends - Date.now(), 0) / 1000, 0) }));
    tick();
    countdown = setInterval(tick, 1000);
  });
  on("issued", showIssued);
  on("text", ({ piece }) => {
    const transcript = byId("transcript");
    transcript.firstChild.append(piece);
    transcript.scrollTop = transcript.scrollHeight;
  });
  on("spoke", ({ block }) => {
    byId("level-you").value = level(block);
  });
  on("heard", ({ block }) => {
    byId("level-model").value = level(block);
    byId("marked").textContent = t("seconds", { s: (conversation.heardSamples / RATE_HZ).toFixed(1) });
  });
  on("ended", ({ reason }) => ended(conversation, reason));
}

async function showIssued(names) {
  issued = names;
  byId("content-id").replaceChildren(el("span", { class: "mono" }, names.content_id));
  byId("generation-id").replaceChildren(
    el("a", { href: `/log#${names.generation_id}`, target: "_blank", rel: "noopener" }, names.generation_id),
  );
  await showProof();
}

/** The newest entry about this generation, proved here; returns it, or null when it cannot be had now. */
async function showProof() {
  try {
    const bytes = new Uint8Array(
      await (await request(`/v1/log/proof/${issued.generation_id}`)).arrayBuffer(),
    );
    const receipt = parseReceipt(bytes);
    const { valid, checkpoint } = await checkReceipt(receipt, await serverKey());
    const isAbout = receipt.entry.generation_id === issued.generation_id;
    byId("log-entry").textContent = t("talk.entry", {
      index: count(receipt.index),
      event: t(`event.${receipt.entry.event}`),
    });
    byId("live-checks").replaceChildren(
      checkLine(valid && isAbout, t("talk.proved", { size: count(checkpoint?.size ?? 0) })),
    );
    receiptBytes = bytes;
    return receipt;
  } catch (error) {
    byId("live-checks").replaceChildren(checkLine(false, error.message));
    return null;
  }
}

async function ended(conversation, reason) {
  clearInterval(countdown);
  showButtons(false);
  say(t("talk.ended"));
  byId("left").textContent = "";
  byId("problem").textContent = reason;
  byId("level-you").value = byId("level-model").value = 0;
  if (!issued || !conversation.heardSamples) return;
  byId("ended").hidden = false;
  byId("receipt-text").textContent = t("talk.receipt_wait");
  byId("check").focus();
  const record = await finished();
  if (record && (await showProof())) {
    byId("receipt-text").textContent = t("talk.receipt_text", { duration: duration(record.duration_s) });
    byId("save-receipt").disabled = false;
  } else {
    byId("receipt-text").textContent = t("talk.receipt_late");
  }
}

/**
 * The generation once it is closed and its last entry is in the signed tree, which is a moment after it has
 * its index; null when that takes too long.
 */
async function finished() {
  for (let tries = 0; tries < RECEIPT_TRIES; tries++) {
    const record = await (await request(`/v1/generations/${issued.generation_id}`)).json();
    const { size } = await openCheckpoint(await fetchCheckpoint(), await serverKey());
    if (record.state !== "open" && record.log_index !== null && record.log_index < size) return record;
    await new Promise((resolve) => setTimeout(resolve, RECEIPT_EVERY_MS));
  }
  return null;
}

async function checkRecording() {
  if (await give(talk.recording())) location.href = "/";
  else byId("problem").textContent = t("talk.no_room");
}

async function setUp() {
  byId("start").addEventListener("click", start);
  byId("stop").addEventListener("click", () => talk.stop());
  byId("mute").addEventListener("click", () => {
    const muted = byId("mute").getAttribute("aria-pressed") !== "true";
    byId("mute").setAttribute("aria-pressed", String(muted));
    talk.muted = muted;
  });
  byId("check").addEventListener("click", checkRecording);
  byId("save-receipt").addEventListener("click", () =>
    save(`${issued.generation_id}.tlog-proof`, new Blob([receiptBytes])),
  );
  byId("save-audio").addEventListener("click", () => save(`${issued.generation_id}.ogg`, talk.recording()));
  const known = await serviceFacts();
  byId("version").textContent = known.version;
  if (known.says_texts) setUpSay();
  if (!known.chat) {
    byId("absent").hidden = false;
    return;
  }
  sessionS = known.chat.session_s;
  byId("start").disabled = false;
}

setUp().catch((error) => byId("problem").replaceChildren(error.message));
