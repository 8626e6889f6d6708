// Show a signed result: verdict, waveform, evidence, facts, what it does not mean, and the numbers behind it.

import { duration, el, facts, icon, megabytes, moment, save, t } from "./dom.js";
import { expertDrawer } from "./expert.js";
import { Player, spanList, timeline } from "./waveform.js";
import { howSure, outcome, VERDICTS } from "./wording.js";

/**
 * The sections of a result. `text` is the answer as it came; `name` what was judged; `sound` its Blob or
 * null. `actions` are buttons for the top, `judgeAgain(key)` asks again with a key, null where there is
 * nothing to ask.
 */
export function showResult(text, { name, sound = null, actions = [], judgeAgain = null }) {
  const result = JSON.parse(text);
  const player = sound && new Player(sound);
  const sections = [
    verdictBox(result, name),
    el("div", { class: "row" }, saveButton(result, text), ...actions),
    evidenceCard(result),
    timelineCard(result, player),
    result.generation && generationCard(result.generation),
    meaningCard(result),
    expertDrawer(result, text, judgeAgain),
  ];
  const shown = el("div", { class: "result-grid" }, ...sections.filter(Boolean));
  return { shown, close: () => player?.close() };
}

function verdictBox(result, name) {
  const look = VERDICTS[result.verdict];
  const input = result.input;
  const about = t("result.about", {
    name,
    duration: duration(input.duration_s),
    form: input.container === input.codec ? input.codec : `${input.container}, ${input.codec}`,
    size: megabytes(input.bytes),
  });
  const words = el(
    "div",
    {},
    el("h1", { tabindex: "-1", id: "verdict" }, t(`verdict.${result.verdict}`)),
    el("p", { lang: "en" }, result.verdict_reason),
    el("p", { class: "about" }, about),
  );
  return el(
    "div",
    { class: `verdict tone-${look.tone}`, "data-verdict": result.verdict },
    icon(look.icon),
    words,
  );
}

function saveButton(result, text) {
  const file = () =>
    save(`earmark-result-${result.id.slice(0, 8)}.json`, new Blob([text], { type: "application/json" }));
  return el(
    "button",
    { type: "button", class: "button", id: "save-result", onclick: file },
    icon("save"),
    t("result.save"),
  );
}

function timelineCard(result, player) {
  const note = el("p", { class: "muted", role: "status" }, player ? "" : t("wave.no_sound"));
  const controls = el("div", { class: "row" });
  if (player) {
    const toggle = () => (player.isPlaying ? player.stop() : player.play(0));
    const button = el(
      "button",
      { type: "button", class: "button small", onclick: toggle },
      icon("play"),
      t("wave.play"),
    );
    player.addEventListener("moved", () => {
      button.replaceChildren(
        icon(player.isPlaying ? "stop" : "play"),
        t(player.isPlaying ? "wave.stop" : "wave.play"),
      );
    });
    player.addEventListener("silent", () => note.replaceChildren(t("wave.silent")));
    controls.append(button);
  }
  const hasSpans = result.evidence.some((row) => row.segments.length);
  const list = hasSpans ? [el("h3", {}, t("spans.heading")), spanList(result, player)] : [];
  return el(
    "section",
    { class: "card" },
    el("h2", {}, t("wave.heading")),
    timeline(result, player),
    controls,
    note,
    ...list,
  );
}

function evidenceCard(result) {
  const rows = result.evidence.map((row) => {
    const look = outcome(row, result.verdict);
    const sure = howSure(row);
    return el(
      "li",
      { "data-technique": row.technique, "data-outcome": row.outcome },
      el(
        "div",
        { class: "technique" },
        t(`technique.${row.technique}`),
        el("small", {}, t(`technique.${row.technique}.is`)),
      ),
      el("span", { class: `badge tone-${look.tone}` }, icon(look.icon), look.words),
      el(
        "div",
        {},
        sure && el("p", { class: "sure" }, sure),
        row.reason && el("p", { class: "muted break", lang: "en" }, row.reason),
      ),
    );
  });
  return el(
    "section",
    { class: "card" },
    el("h2", {}, t("evidence.heading")),
    el("ul", { class: "evidence" }, ...rows),
  );
}

function generationCard(generation) {
  const link = el(
    "a",
    { href: `/log#${generation.generation_id}`, target: "_blank", rel: "noopener" },
    generation.generation_id,
  );
  const rows = [
    [
      t("generation.system"),
      [generation.system, generation.system_version].filter((part) => part !== "unknown").join(" "),
    ],
    [t("generation.model"), generation.model],
    [t("generation.created"), moment(generation.created_at)],
    [t("generation.content_id"), el("span", { class: "mono" }, generation.content_id)],
    [t("generation.id"), link],
    [t("generation.withdrawn"), generation.withdrawn_at && moment(generation.withdrawn_at)],
  ];
  return el(
    "section",
    { class: "card" },
    el("h2", {}, t("generation.heading")),
    el("dl", { class: "facts" }, ...facts(rows)),
    el("p", { class: "muted" }, t("generation.no_person")),
  );
}

function meaningCard(result) {
  const means = el("p", { class: "note" }, t(`means.${result.verdict}`));
  const limits = result.limits.map((limit) => el("li", {}, limit));
  return el(
    "section",
    { class: "card" },
    el("h2", {}, t("means.heading")),
    means,
    el("ul", { lang: "en" }, ...limits),
  );
}
