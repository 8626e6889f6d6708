// The page `/`: one of three states is shown. Intake: a file, a recording or a URL. Working: sent and judged.
// Result: what was found. What is chosen again replaces what was there.

import { byId, duration, el, megabytes, t } from "./dom.js";
import { take } from "./handover.js";
import { recheck, setUpRecheck, textOf } from "./recheck.js";
import { setUpRecorder } from "./recorder.js";
import { showResult } from "./result.js";
import { judge, serviceFacts } from "./service.js";

const STATES = {
  intake: ["intake", "recheck", "how"],
  working: ["working"],
  result: ["result", "recheck"],
};
const ALL = ["intake", "working", "result", "recheck", "how"];

let limits = null;
let shown = { close() {} };
let call = new AbortController();

function show(state) {
  for (const id of ALL) byId(id).hidden = !STATES[state].includes(id);
}

function showIntake(problem = "") {
  shown.close();
  byId("intake-problem").textContent = problem;
  show("intake");
}

/** Judge a file (a Blob) or `{url}`, and show what came of it. */
async function verify(input, name, key = "") {
  const isFile = input instanceof Blob;
  if (isFile && limits && input.size > limits.max_body_bytes) {
    const [size, most] = [megabytes(input.size), megabytes(limits.max_body_bytes)];
    showIntake(t("verify.too_large", { name, size, most }));
    return;
  }
  shown.close();
  call.abort();
  call = new AbortController();
  byId("working-name").textContent = name;
  byId("stage").textContent = t(isFile ? "stage.sending" : "stage.fetching");
  show("working");
  byId("working-title").focus({ preventScroll: true });
  scrollTo(0, 0);
  try {
    const text = await judge(input, {
      key,
      signal: call.signal,
      onProgress: isFile ? showProgress : () => {},
    });
    present(text, { name, sound: isFile ? input : null, judgeAgain: (again) => verify(input, name, again) });
  } catch (error) {
    if (error.name !== "AbortError") showIntake(`${name}: ${error.message}`);
  }
}

function showProgress(share) {
  const bar = byId("progress");
  if (share < 1) {
    bar.value = share;
    return;
  }
  bar.removeAttribute("value"); // how long judging takes is not known
  byId("stage").textContent = t("stage.judging");
}

function present(text, options) {
  const again = el(
    "button",
    { type: "button", class: "button primary", id: "again", onclick: () => showIntake() },
    t("result.again"),
  );
  shown = showResult(text, { ...options, actions: [again] });
  byId("result").replaceChildren(shown.shown);
  show("result");
  scrollTo(0, 0);
  byId("verdict").focus({ preventScroll: true });
}

/** A result is re-checked, everything else is judged: who drops a file need not know which box is for it. */
async function accept(file) {
  if (file.name.endsWith(".json")) {
    showIntake();
    await recheck(await textOf(file), showChecked);
  } else {
    await verify(file, file.name);
  }
}

const showChecked = (text) => present(text, { name: t("recheck.name") });

function setUpDrop() {
  const zone = byId("drop");
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) accept(file);
  });
}

function setUpIntake() {
  const file = byId("file");
  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    if (file.files.length) accept(file.files[0]);
    file.value = "";
  });
  byId("url-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const url = byId("url").value.trim();
    verify({ url }, url);
  });
  byId("cancel").addEventListener("click", () => {
    call.abort();
    showIntake();
  });
}

async function start() {
  setUpDrop();
  setUpIntake();
  setUpRecheck(showChecked);
  const carried = take();
  if (carried) verify(carried, t("verify.carried"));
  limits = await serviceFacts();
  byId("limits").textContent = t("verify.limits", {
    size: megabytes(limits.max_body_bytes),
    duration: duration(limits.max_duration_s),
  });
  byId("version").textContent = limits.version;
  byId("url-form").hidden = !limits.fetch_urls;
  setUpRecorder({
    maxS: Math.min(60, limits.max_duration_s),
    onRecorded: (blob) => verify(blob, t("verify.recorded")),
    onProblem: (error) => showIntake(error.message),
  });
}

start().catch((error) => showIntake(error.message));
