// The page `/log`: the signed checkpoint, growth, proofs by generation, receipts, and for auditors the list.
// All that is said to hold was checked in this browser: note.js, merkle.js and receipt.js.

import { base64 } from "./bytes.js";
import { setUpAudit } from "./audit.js";
import { byId, checkLine, count, duration, el, facts, moment, save, t } from "./dom.js";
import { showGrowth } from "./growth.js";
import { consistencyProof, isConsistent } from "./merkle.js";
import { openCheckpoint, parseKey } from "./note.js";
import { checkReceipt, isFileOf, parseReceipt } from "./receipt.js";
import { request, serviceFacts } from "./service.js";
import { fetchCheckpoint, serverKey, tileReader } from "./tiles.js";

const SEEN = "earmark.checkpoint";
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

let key = null;

/** The newest checkpoint: its facts, and what this browser could check of it. */
async function showCheckpoint() {
  const bytes = await fetchCheckpoint();
  const checks = byId("checkpoint-checks");
  let checkpoint;
  try {
    checkpoint = await openCheckpoint(bytes, key);
  } catch (error) {
    checks.replaceChildren(checkLine(false, t("log.unsigned", { why: error.message })));
    return null;
  }
  const rows = [
    [t("log.origin"), checkpoint.origin],
    [t("log.size"), count(checkpoint.size)],
    [t("log.root"), el("span", { class: "mono" }, base64(checkpoint.root))],
    [t("log.key"), el("span", { class: "mono" }, key.text)],
  ];
  byId("checkpoint-facts").replaceChildren(...facts(rows));
  checks.replaceChildren(checkLine(true, t("log.signed")), await continuity(checkpoint));
  return checkpoint;
}

/** Whether the log extends the tree that this browser saw last; remembers the new one only when it does. */
async function continuity(checkpoint) {
  const seen = remembered(checkpoint.origin);
  if (seen && seen.key === key.text) {
    const old = { size: seen.size, root: Uint8Array.from(atob(seen.root), (c) => c.charCodeAt(0)) };
    const extended =
      old.size <= checkpoint.size &&
      (await isConsistent(
        old.size,
        checkpoint.size,
        old.root,
        checkpoint.root,
        await consistencyProof(tileReader(checkpoint.size), old.size, checkpoint.size),
      ));
    if (!extended)
      return checkLine(false, t("log.rewritten", { size: count(seen.size), at: moment(seen.at) }));
    remember(checkpoint);
    return checkLine(true, t("log.extends", { size: count(seen.size), at: moment(seen.at) }));
  }
  remember(checkpoint);
  return checkLine(null, t("log.first_visit"));
}

function remembered(origin) {
  try {
    return JSON.parse(localStorage.getItem(`${SEEN}:${origin}`));
  } catch {
    return null; // storage is forbidden, or was written by something else
  }
}

function remember(checkpoint) {
  const seen = {
    size: checkpoint.size,
    root: base64(checkpoint.root),
    key: key.text,
    at: new Date().toISOString(),
  };
  try {
    localStorage.setItem(`${SEEN}:${checkpoint.origin}`, JSON.stringify(seen));
  } catch {
    // Without storage each visit is the first.
  }
}

/** Facts, log entry and proof of one generation. */
async function search(generationId) {
  const place = byId("proof");
  if (!UUID.test(generationId)) {
    place.replaceChildren(el("p", { class: "problem" }, t("log.bad_id")));
    return;
  }
  place.replaceChildren(el("p", { class: "muted" }, t("log.searching")));
  try {
    const record = await (await request(`/v1/generations/${generationId}`)).json();
    const proof = new Uint8Array(await (await request(`/v1/log/proof/${generationId}`)).arrayBuffer());
    const rows = [
      [t("generation.system"), `${record.system} ${record.system_version}`],
      [t("generation.model"), record.model],
      [t("generation.created"), moment(record.created_at)],
      [t("generation.state"), t(`log.state_${record.state}`)],
      [t("generation.duration"), duration(record.duration_s)],
      [t("generation.content_id"), el("span", { class: "mono" }, record.content_id)],
      [t("generation.withdrawn"), record.withdrawn_at && moment(record.withdrawn_at)],
    ];
    place.replaceChildren(el("h3", {}, t("log.found")), el("dl", { class: "facts" }, ...facts(rows)));
    await showReceipt(proof, place, generationId);
  } catch (error) {
    place.replaceChildren(el("p", { class: "problem" }, error.message));
  }
}

/** What a receipt proves; `about` is the generation that it should speak of, null for a file somebody has. */
async function showReceipt(bytes, place, about = null) {
  let receipt;
  try {
    receipt = parseReceipt(bytes);
  } catch (error) {
    place.append(
      el("ul", { class: "checks" }, checkLine(false, t("receipt.malformed", { why: error.message }))),
    );
    return;
  }
  const checked = await checkReceipt(receipt, key);
  const lines = checked.steps.map(({ step, passed, reason }) =>
    checkLine(passed, t(`receipt.${step}`) + (reason ? `: ${reason}` : "")),
  );
  const isAbout = about === null || receipt.entry.generation_id === about;
  if (about !== null) lines.push(checkLine(isAbout, t("receipt.about")));
  const valid = checked.valid && isAbout;
  const size = checked.checkpoint ? count(checked.checkpoint.size) : "?";
  const words = valid ? t("receipt.valid", { index: count(receipt.index), size }) : t("receipt.invalid");
  const name = `${receipt.entry.generation_id ?? receipt.index}.tlog-proof`;
  const saving = el(
    "button",
    { type: "button", class: "button small", onclick: () => save(name, new Blob([bytes])) },
    t("receipt.save"),
  );
  place.append(
    el("h3", { class: `tone-${valid ? "good" : "bad"}`, "data-valid": String(valid) }, words),
    el("ul", { class: "checks" }, ...lines),
    el("div", { class: "row" }, saving, valid && about === null ? fileBox(receipt) : null),
    el(
      "details",
      {},
      el("summary", {}, t("receipt.entry")),
      el("pre", { tabindex: "0", "aria-label": t("receipt.entry") }, JSON.stringify(receipt.entry, null, 1)),
    ),
  );
}

/** Compare a file with the receipt's commitment; the file stays here. */
function fileBox(receipt) {
  const said = el("span", { role: "status" });
  const file = el("input", { type: "file", hidden: true });
  file.addEventListener("change", async () => {
    const same = await isFileOf(receipt, new Uint8Array(await file.files[0].arrayBuffer()));
    said.replaceChildren(
      t(same === null ? "receipt.no_commitment" : same ? "receipt.same_file" : "receipt.other_file"),
    );
  });
  return el(
    "span",
    {},
    el(
      "button",
      { type: "button", class: "button small", onclick: () => file.click() },
      t("receipt.compare"),
    ),
    file,
    " ",
    said,
  );
}

function setUpSearch() {
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    search(byId("generation").value.trim().toLowerCase());
  });
  const file = byId("receipt-file");
  byId("receipt-choose").addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    byId("proof").replaceChildren();
    if (file.files.length)
      await showReceipt(new Uint8Array(await file.files[0].arrayBuffer()), byId("proof"));
    file.value = "";
  });
  addEventListener("hashchange", searchAddress);
}

/** `/log#GENERATION_ID` leads to its proof. */
function searchAddress() {
  const wanted = location.hash.slice(1);
  if (!wanted) return;
  byId("generation").value = wanted;
  search(wanted);
}

function setUpKey() {
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      key = await parseKey(byId("key").value);
      await showCheckpoint();
    } catch (error) {
      byId("checkpoint-checks").replaceChildren(checkLine(false, error.message));
    }
  });
}

async function start() {
  setUpSearch();
  setUpKey();
  setUpAudit((generationId) => {
    byId("generation").value = generationId;
    search(generationId);
    byId("search-title").scrollIntoView();
  });
  serviceFacts().then((known) => byId("version").replaceChildren(known.version));
  key = await serverKey();
  const checkpoint = await showCheckpoint();
  searchAddress();
  if (checkpoint) await showGrowth(byId("growth"), checkpoint.size);
}

start().catch((error) => byId("checkpoint-checks").replaceChildren(checkLine(false, error.message)));
