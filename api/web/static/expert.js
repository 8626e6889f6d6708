// The drawer for experts: numbers, detector versions, how often they were measured to err, and the raw JSON.
//
// Error rates are not of this page: they are what the log says of the release that judged
// (`detector.log_index`), read from the public log and proved against its signed tree here.

import { el, facts, t } from "./dom.js";
import { provenEntry } from "./tiles.js";

/** `judgeAgain(key)` asks again with an API key, null where that cannot be. */
export function expertDrawer(result, text, judgeAgain) {
  const rates = el("div", { role: "status" }, el("p", { class: "muted" }, t("expert.rates_wait")));
  const parts = [
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": t("expert.numbers") },
      numbers(result),
    ),
    el("h3", {}, t("expert.rates")),
    rates,
    el("h3", {}, t("expert.input")),
    el(
      "dl",
      { class: "facts" },
      ...facts([
        ["SHA-256", el("span", { class: "mono" }, result.input.sha256)],
        [t("expert.deleted"), result.retention.audio_deleted_at],
        [t("expert.result_id"), result.id],
        [t("expert.signature"), el("span", { class: "mono" }, result.signature)],
      ]),
    ),
    judgeAgain && result.precision === "coarse" && keyForm(judgeAgain),
    el("h3", {}, t("expert.raw")),
    el(
      "pre",
      { tabindex: "0", "aria-label": t("expert.raw") },
      JSON.stringify(withoutWaveform(result), null, 1),
    ),
  ];
  const drawer = el(
    "details",
    { class: "card", id: "expert" },
    el("summary", {}, t("expert.heading")),
    ...parts.filter(Boolean),
  );
  drawer.addEventListener("toggle", () => showRates(result, rates), { once: true });
  return drawer;
}

function numbers(result) {
  const head = ["technique", "detector", "score", "threshold", "p", "release"].map((name) =>
    el("th", { scope: "col" }, t(`expert.${name}`)),
  );
  const rows = result.evidence.map((row) => {
    const { name, version, weights_sha256, log_index } = row.detector;
    const detector = `${name} ${version}${weights_sha256 ? `, ${weights_sha256.slice(0, 12)}` : ""}`;
    const cells = [
      t(`technique.${row.technique}`),
      detector,
      number(row.score),
      number(row.threshold),
      number(row.false_alarm_probability),
      log_index ?? "–",
    ];
    return el("tr", {}, ...cells.map((cell) => el("td", {}, String(cell))));
  });
  return el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...rows));
}

const number = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));

/** 600 numbers hide everything else; the saved result has them. */
const withoutWaveform = (result) => ({
  ...result,
  waveform: result.waveform && t("expert.peaks", { n: result.waveform.length }),
});

async function showRates(result, place) {
  const index = result.evidence.find((row) => row.detector.log_index !== null)?.detector.log_index;
  if (index === undefined) return place.replaceChildren(el("p", {}, t("expert.rates_none")));
  try {
    const { entry, size } = await provenEntry(index);
    const rows = entry.detectors.flatMap((one) => rateRows(one));
    place.replaceChildren(
      el("p", {}, t("expert.rates_proved", { index, size })),
      el("dl", { class: "facts" }, ...facts(rows)),
    );
  } catch (error) {
    place.replaceChildren(el("p", { class: "problem" }, t("expert.rates_failed", { why: error.message })));
  }
}

function rateRows(detector) {
  const name = t(`technique.${detector.technique}`);
  const rows = [[name, t("expert.accepts", { p: detector.max_false_alarm_probability })]];
  const measured = detector.measured_false_alarms;
  if (measured) {
    const shares = Object.entries(measured.share_below_p ?? {}).map(
      ([p, share]) => `p ≤ ${p}: ${Number((share * 100).toPrecision(2))} %`,
    );
    rows.push([t("expert.measured", { n: measured.num_negatives }), shares.join(" · ") || "–"]);
  }
  return [...rows, ...countRows(detector.measured)];
}

/** Releases that were logged before anything was counted have no counts. */
function countRows(measured) {
  const rows = (measured?.false_alarms ?? []).map((one) => [
    t("expert.false_alarms", { of: one.of, n: one.num_negatives }),
    Object.entries(one.num_at_most_p)
      .map(([p, count]) => `p ≤ ${p}: ${count}`)
      .join(" · "),
  ]);
  const found = (measured?.found ?? []).map((one) => `${one.edit} ${one.num_found}/${one.num_clips}`);
  return found.length ? [...rows, [t("expert.found"), found.join(" · ")]] : rows;
}

function keyForm(judgeAgain) {
  const key = el("input", { type: "password", id: "exact-key", autocomplete: "off", required: true });
  const form = el(
    "form",
    { class: "row" },
    el("label", { for: "exact-key" }, t("expert.key")),
    key,
    el("button", { class: "button" }, t("expert.again")),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    judgeAgain(key.value);
  });
  return el("div", {}, el("p", { class: "muted" }, t("expert.key_text")), form);
}
