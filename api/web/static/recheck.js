// Re-check a signed result that somebody was sent: by this browser itself, and by the server, side by side.

import { canonical, hex, sha256 } from "./bytes.js";
import { byId, checkLine, el, moment, t } from "./dom.js";
import { checkResultSignature } from "./note.js";
import { request } from "./service.js";
import { serverKey } from "./tiles.js";

const MAX_BYTES = 1_000_000;

/** Wire the box. `onValid(text, result)` shows a result that passed. */
export function setUpRecheck(onValid) {
  const file = byId("recheck-file");
  byId("recheck-choose").addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    if (file.files.length) await recheck(await textOf(file.files[0]), onValid);
    file.value = "";
  });
  byId("recheck-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    await recheck(byId("recheck-text").value, onValid);
  });
}

export const textOf = (file) => (file.size > MAX_BYTES ? "" : file.text());

/** Check the text of a result and say what was found. */
export async function recheck(text, onValid) {
  const place = byId("recheck-result");
  place.replaceChildren(el("p", { class: "muted" }, t("recheck.working")));
  const [own, theirs] = await Promise.all([checkHere(text), checkThere(text)]);
  const valid = own.passed !== false && theirs.passed;
  const heading = el(
    "h3",
    { class: `tone-${valid ? "good" : "bad"}` },
    t(valid ? "recheck.valid" : "recheck.invalid"),
  );
  const lines = el(
    "ul",
    { class: "checks" },
    checkLine(own.passed, own.text),
    checkLine(theirs.passed, theirs.text),
  );
  place.replaceChildren(heading, lines);
  byId("recheck").scrollIntoView({ block: "nearest" });
  if (!valid) return;
  const result = JSON.parse(text);
  const about = t("recheck.about", {
    verdict: t(`verdict.${result.verdict}`),
    at: moment(result.created_at),
  });
  const show = el(
    "button",
    { type: "button", class: "button", onclick: () => onValid(text, result) },
    t("recheck.show"),
  );
  place.append(el("p", {}, about), compareBox(result), el("div", { class: "row" }, show));
}

async function checkHere(text) {
  let result;
  try {
    result = parseOnce(text);
  } catch (error) {
    return { passed: false, text: t("recheck.here_failed", { why: error.message }) };
  }
  try {
    const key = await serverKey();
    const { signature, ...rest } = result;
    await checkResultSignature({ signature }, canonical(rest), key);
    return { passed: true, text: t("recheck.here", { key: key.text }) };
  } catch (error) {
    // A browser without Ed25519 cannot say anything; the server's answer is then all there is.
    const passed = error.name === "NotSupportedError" ? null : false;
    return { passed, text: t("recheck.here_failed", { why: error.message }) };
  }
}

/** Of two members with one name JavaScript takes the last; a result that was signed never has them. */
function parseOnce(text) {
  const result = JSON.parse(text);
  if (result === null || typeof result !== "object" || Array.isArray(result))
    throw new Error("a result is one JSON object");
  if (hasDouble(text)) throw new Error("a member occurs twice");
  return result;
}

/** Whether any object of this JSON names a member twice. */
function hasDouble(text) {
  const open = [];
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (token.endsWith(":")) {
      const name = JSON.parse(token.slice(0, -1));
      if (open.at(-1).has(name)) return true;
      open.at(-1).add(name);
    }
  }
  return false;
}

async function checkThere(text) {
  try {
    const options = { method: "POST", headers: { "Content-Type": "application/json" }, body: text };
    const answer = await (await request("/v1/detections/check", options)).json();
    if (answer.valid) return { passed: true, text: t("recheck.there") };
    return { passed: false, text: t("recheck.there_failed", { why: answer.detail }) };
  } catch (error) {
    return { passed: false, text: t("recheck.there_failed", { why: error.message }) };
  }
}

/** A genuine result is about one file: compare one without sending it. */
function compareBox(result) {
  const said = el("p", { role: "status" });
  const file = el("input", { type: "file", accept: "audio/*", hidden: true });
  file.addEventListener("change", async () => {
    const same = hex(await sha256(new Uint8Array(await file.files[0].arrayBuffer()))) === result.input.sha256;
    said.replaceChildren(
      el("ul", { class: "checks" }, checkLine(same, t(same ? "recheck.same" : "recheck.another"))),
    );
  });
  const button = el(
    "button",
    { type: "button", class: "button", onclick: () => file.click() },
    t("recheck.compare"),
  );
  return el("div", {}, el("p", { class: "muted" }, t("recheck.compare_text")), button, file, said);
}
