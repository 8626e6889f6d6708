// How the log grew: entries over time, from the times that the entries themselves have. A large log is
// sampled: the first entry of MAX_BUNDLES bundles, evenly spaced, and the last bundle whole.

import { el, moment, svg, t } from "./dom.js";
import { fromUtf8 } from "./bytes.js";
import { bundle } from "./tiles.js";

const WIDTH_ENTRIES = 256;
const MAX_BUNDLES = 12;
const MAX_POINTS = 400;
const WIDTH = 600;
const HEIGHT = 160;

/** Draw the plot for a tree of `size` entries, at least one, into `place`. */
export async function showGrowth(place, size) {
  const points = await samples(size);
  const first = points[0].at;
  const now = Math.max(Date.now(), points.at(-1).at);
  const x = (point) => (((point.at - first) / Math.max(now - first, 1)) * WIDTH).toFixed(1);
  const y = (numEntries) => (HEIGHT - (numEntries / size) * (HEIGHT - 6)).toFixed(1);
  const steps = points.map((point) => `H${x(point)}V${y(point.index + 1)}`).join("");
  const label = t("growth.label", { n: size, from: moment(first), to: moment(now) });
  place.replaceChildren(
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label },
      svg("path", { class: "area", d: `M0 ${HEIGHT}${steps}H${WIDTH}V${HEIGHT}z` }),
      svg("path", { class: "line", d: `M0 ${HEIGHT}${steps}H${WIDTH}` }),
    ),
    el("div", { class: "ends" }, el("span", {}, moment(first)), el("span", {}, t("growth.now", { n: size }))),
  );
}

async function samples(size) {
  const numBundles = Math.ceil(size / WIDTH_ENTRIES);
  const step = Math.max(numBundles / MAX_BUNDLES, 1);
  const numbers = new Set([numBundles - 1]);
  for (let number = 0; number < numBundles; number += step) numbers.add(Math.floor(number));
  const ordered = [...numbers].sort((a, b) => a - b);
  const bundles = await Promise.all(
    ordered.map(async (number) => ({ number, leaves: await bundle(number, size) })),
  );
  const whole = ordered.length === numBundles;
  const points = bundles.flatMap(({ number, leaves }) =>
    (whole || number === numBundles - 1 ? leaves : leaves.slice(0, 1)).map((leaf, i) => ({
      index: number * WIDTH_ENTRIES + i,
      at: Date.parse(JSON.parse(fromUtf8(leaf)).at),
    })),
  );
  // Two servers may stamp entries in another order than the log has them; the plot goes forward in time.
  let newest = -Infinity;
  for (const point of points) point.at = newest = Math.max(newest, point.at);
  const every = Math.ceil(points.length / MAX_POINTS);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}
