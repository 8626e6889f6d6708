// The outline of what was judged, with a lane of spans for each technique, and its sound where the page has
// it.
//
// The outline comes from the server (`waveform` of the result), so it is also there for audio that came by
// URL and for results that were sent. SVG, so that colours follow the page's and nothing is drawn again.

import { clock, duration, el, icon, svg, t } from "./dom.js";

const WIDTH = 600;
const HEIGHT = 100;
const NUM_TICKS = 5;

/** A player of one file; `play(from, to)` stops at `to`. */
export class Player extends EventTarget {
  constructor(blob) {
    super();
    this._url = URL.createObjectURL(blob);
    this._audio = new Audio(this._url);
    this._end = Infinity;
    this._audio.onplay = this._audio.onpause = () => this._tell();
    this._audio.onerror = () => this.dispatchEvent(new Event("silent"));
  }

  get at() {
    return this._audio.currentTime;
  }

  get isPlaying() {
    return !this._audio.paused;
  }

  async play(from, to = Infinity) {
    this._end = to;
    this._audio.currentTime = from;
    try {
      await this._audio.play();
    } catch (error) {
      if (error.name !== "AbortError") this.dispatchEvent(new Event("silent"));
    }
  }

  stop() {
    this._audio.pause();
  }

  close() {
    this.stop();
    URL.revokeObjectURL(this._url);
  }

  _tell() {
    this.dispatchEvent(new Event("moved"));
    if (!this.isPlaying) return;
    if (this.at >= this._end) this.stop();
    else requestAnimationFrame(() => this._tell());
  }
}

/** The timeline of a result; `player` is null where the page has no sound. */
export function timeline(result, player) {
  const durationS = result.input.duration_s;
  const playhead = svg("line", { class: "played", y1: 0, y2: HEIGHT, visibility: "hidden" });
  const wave = svg(
    "svg",
    {
      class: "wave",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": t("wave.label", { duration: duration(durationS) }),
    },
    svg("path", { class: "peaks", d: outline(result.waveform ?? []) }),
    playhead,
  );
  if (player) {
    wave.addEventListener("click", (event) => player.play((event.offsetX / wave.clientWidth) * durationS));
    player.addEventListener("moved", () => {
      const x = (player.at / durationS) * WIDTH;
      playhead.setAttribute("x1", x);
      playhead.setAttribute("x2", x);
      playhead.setAttribute("visibility", "visible");
    });
  }
  const ticks = Array.from({ length: NUM_TICKS }, (_, i) =>
    el("span", {}, clock((i * durationS) / (NUM_TICKS - 1))),
  );
  const lanes = result.evidence.filter((row) => row.segments.length).flatMap((row) => lane(row, durationS));
  return el(
    "div",
    { class: "timeline" },
    el("span"),
    wave,
    el("span"),
    el("div", { class: "ticks", "aria-hidden": "true" }, ...ticks),
    ...lanes,
  );
}

function lane(row, durationS) {
  const spans = row.segments.map((span) => {
    const x = (span.start_s / durationS) * WIDTH;
    const width = Math.max(((span.end_s - span.start_s) / durationS) * WIDTH, 1);
    return svg("rect", { class: `span-${row.technique}`, x, width, y: 0, height: HEIGHT });
  });
  const frame = {
    class: "lane",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  };
  return [el("span", {}, t(`lane.${row.technique}`)), svg("svg", frame, ...spans)];
}

/** One bar for each peak, as the path of all of them. */
function outline(peaks) {
  const loudest = Math.max(...peaks, 0.05);
  const step = WIDTH / peaks.length;
  const width = (step * 0.72).toFixed(2);
  const bars = peaks.map((peak, i) => {
    const half = Math.max((peak / loudest) * (HEIGHT / 2 - 2), 0.6);
    const top = (HEIGHT / 2 - half).toFixed(2);
    return `M${(i * step).toFixed(2)} ${top}h${width}v${(2 * half).toFixed(2)}h-${width}z`;
  });
  return bars.join("");
}

/** The same spans as a list for keyboards and screen readers, each with a button that plays it. */
export function spanList(result, player) {
  const items = result.evidence.flatMap((row) => row.segments.map((span) => spanItem(row, span, player)));
  if (items.length <= 6) return el("ul", { class: "spans" }, ...items);
  return el(
    "details",
    {},
    el("summary", {}, t("spans.all", { n: items.length })),
    el("ul", { class: "spans" }, ...items),
  );
}

function spanItem(row, span, player) {
  const times = t("spans.times", { start: clock(span.start_s), end: clock(span.end_s) });
  const named = [];
  if (span.content_id) named.push(t("spans.content", { id: span.content_id }));
  if (span.offset_s !== null && span.generation_id)
    named.push(t("spans.offset", { at: clock(span.offset_s) }));
  const words = [t(`lane.${row.technique}`), ...named].join(", ");
  if (!player) return el("li", {}, el("strong", {}, times), words);
  const press = () => player.play(span.start_s, span.end_s);
  return el(
    "li",
    {},
    el(
      "button",
      { type: "button", class: "button small", "aria-label": t("spans.play", { times }), onclick: press },
      icon("play"),
      times,
    ),
    words,
  );
}
