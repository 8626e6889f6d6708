// Elements, words and numbers for all pages. Text is always set as text: no string ever becomes HTML, which
// the page's Content-Security-Policy also forbids (trusted types).

import strings from "./strings.js";

export const locale = document.documentElement.lang;

const SVG = "http://www.w3.org/2000/svg";
const plurals = new Intl.PluralRules(locale);

/** The words for `key`, with `{name}` replaced; `key.one` and `key.other` where `n` decides. */
export function t(key, values = {}) {
  const chosen = strings[key] ?? strings[`${key}.${plurals.select(Number(values.n))}`];
  if (chosen === undefined) throw new Error(`there are no words for ${key}`);
  return chosen.replace(/\{(\w+)\}/g, (_, name) => (name === "n" ? count(values.n) : values[name]));
}

/** Whether there are words for `key`. */
export const hasWords = (key) => key in strings;

export const byId = (id) => document.getElementById(id);

/** A new element. `attributes`: `class`, `onclick` and other listeners, anything else as an attribute. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name, css = "icon") {
  return svg("svg", { class: css, "aria-hidden": "true" }, svg("use", { href: `/web/icons.svg#${name}` }));
}

/** Rows of a definition list; a row whose value is null is left out. */
export function facts(rows) {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined);
  return shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
}

/** One line of a list of checks: `passed` is true, false, or null for what was not looked at. */
export function checkLine(passed, text) {
  const [name, tone] = passed === null ? ["dash", "plain"] : passed ? ["check", "good"] : ["cross", "bad"];
  const said = t(passed === null ? "check.skipped" : passed ? "check.passed" : "check.failed");
  const words = el("span", {}, el("span", { class: "visually-hidden" }, `${said}: `), text);
  return el("li", { class: `tone-${tone}` }, icon(name), words);
}

export function count(value) {
  return new Intl.NumberFormat(locale).format(value);
}

/** Seconds as minutes: 83.5 is 1:23.5, with `digits` after the point. */
export function clock(seconds, digits = 1) {
  const unit = 10 ** digits;
  const whole = Math.round(seconds * unit);
  const rest = ((whole % (60 * unit)) / unit).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return `${Math.floor(whole / (60 * unit))}:${rest}`;
}

/** A length as people say it: 12.3 s, 1:05 min. */
export function duration(seconds) {
  return seconds < 60 ? t("seconds", { s: seconds.toFixed(1) }) : t("minutes", { time: clock(seconds, 0) });
}

export function moment(rfc3339) {
  const options = { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" };
  return `${new Intl.DateTimeFormat(locale, options).format(new Date(rfc3339))} UTC`;
}

export function megabytes(bytes) {
  const shown = new Intl.NumberFormat(locale, { maximumFractionDigits: bytes < 1e6 ? 2 : 0 });
  return `${shown.format(bytes / 1e6)} MB`;
}

/** Offer a file for saving. */
export function save(name, blob) {
  const url = URL.createObjectURL(blob);
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
