// The list of generations, for those with a key of the scope `audit`. The key lives in this variable and
// nowhere else.

import { byId, count, duration, el, moment, t } from "./dom.js";
import { request } from "./service.js";

const PAGE = 25;

let key = "";
let cursor = null;

/** Wire form and list; `onChosen(generation_id)` when a row is asked about. */
export function setUpAudit(onChosen) {
  byId("audit-form").addEventListener("submit", (event) => {
    event.preventDefault();
    key = byId("audit-key").value.trim();
    cursor = null;
    byId("listed").replaceChildren();
    load(onChosen);
  });
  byId("more").addEventListener("click", () => load(onChosen));
}

async function load(onChosen) {
  const query = new URLSearchParams({ limit: PAGE });
  if (cursor) query.set("cursor", cursor);
  if (byId("state").value) query.set("state", byId("state").value);
  byId("audit-problem").textContent = "";
  try {
    const page = await (await request(`/v1/generations?${query}`, {}, key)).json();
    show(page.generations, onChosen);
    cursor = page.next_cursor;
    byId("more").hidden = cursor === null;
  } catch (error) {
    byId("audit-problem").textContent = error.message;
    byId("more").hidden = true;
  }
}

function show(generations, onChosen) {
  const place = byId("listed");
  place.hidden = false;
  if (!place.firstChild) {
    const heads = ["created", "state", "model", "duration", "log_index", "id"].map((name) =>
      el("th", { scope: "col" }, t(`generation.${name}`)),
    );
    place.append(el("table", {}, el("thead", {}, el("tr", {}, ...heads)), el("tbody")));
  }
  const rows = generations.map((one) => {
    const choose = el(
      "button",
      { type: "button", class: "button small mono", onclick: () => onChosen(one.generation_id) },
      one.generation_id,
    );
    const index = one.log_index === null ? "–" : count(one.log_index);
    const state = t(`log.state_${one.state}`) + (one.withdrawn_at ? `, ${t("generation.withdrawn")}` : "");
    const cells = [
      moment(one.created_at),
      state,
      `${one.system} ${one.model}`,
      duration(one.duration_s),
      index,
      choose,
    ];
    return el("tr", {}, ...cells.map((cell) => el("td", {}, cell)));
  });
  place.querySelector("tbody").append(...rows);
}
