// A signed result in words. Works on the JSON object of `POST /v1/detections` alone, as `earmark verify`
// does.

import { count, t } from "./dom.js";

export const VERDICTS = {
  issued_here: { tone: "good", icon: "yes" },
  issued_here_altered: { tone: "warn", icon: "partly" },
  mark_transplanted: { tone: "bad", icon: "alarm" },
  marked_unknown_issuer: { tone: "warn", icon: "unknown" },
  not_detected: { tone: "plain", icon: "nothing" },
  inconclusive: { tone: "plain", icon: "cannot" },
};

const OUTCOMES = {
  found: { tone: "good", icon: "check" },
  not_found: { tone: "plain", icon: "dash" },
  inconclusive: { tone: "plain", icon: "unknown" },
  not_applicable: { tone: "plain", icon: "dash" },
  error: { tone: "bad", icon: "cross" },
};

/** Tone, icon and words of an outcome. A mark that was found on other audio is not good news. */
export function outcome(row, verdict) {
  const look = OUTCOMES[row.outcome] ?? OUTCOMES.error;
  const tone = row.outcome === "found" ? (VERDICTS[verdict]?.tone ?? "plain") : look.tone;
  return { ...look, tone, words: t(`outcome.${row.outcome}`) };
}

/**
 * How sure a row is, as a count where there is a number, else by the word's limit; "" when it says nothing.
 */
export function howSure(row) {
  const p = row.false_alarm_probability;
  if (p !== null) return oneIn(p);
  if (row.outcome !== "found") return "";
  return t(`sure.${row.certainty ?? "low"}`);
}

function oneIn(p) {
  if (p >= 0.5) return t("sure.usual");
  if (p < 1e-300) return t("sure.beyond");
  const times = 1 / p;
  if (times < 1e6) return t("sure.once", { times: count(Number(times.toPrecision(2))) });
  return t("sure.once", { times: `10${superscript(Math.floor(Math.log10(times) + 1e-9))}` });
}

const superscript = (number) => [...String(number)].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
