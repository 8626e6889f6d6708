// The `say` box: text in, marked speech out, by `POST /v1/generations`. Shown only where the service has a
// voice.

import { byId, el, t } from "./dom.js";
import { give } from "./handover.js";
import { request } from "./service.js";

export function setUpSay() {
  byId("say").hidden = false;
  byId("say-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const place = byId("said");
    place.replaceChildren(el("p", { class: "muted" }, t("say.working")));
    try {
      place.replaceChildren(...(await said(byId("say-text").value)));
    } catch (error) {
      place.replaceChildren(el("p", { class: "problem" }, error.message));
    }
  });
}

async function said(text) {
  const options = {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "audio/ogg" },
    body: JSON.stringify({ text }),
  };
  const response = await request("/v1/generations", options, byId("say-key").value.trim());
  const speech = await response.blob();
  const generationId = response.headers.get("Earmark-Generation-Id");
  const check = async () => {
    if (await give(speech)) location.href = "/";
    else byId("problem").textContent = t("talk.no_room");
  };
  return [
    el(
      "p",
      {},
      t("say.done", { content_id: response.headers.get("Earmark-Content-Id") }),
      " ",
      el("a", { href: `/log#${generationId}` }, generationId),
    ),
    el("audio", { controls: true, src: URL.createObjectURL(speech) }),
    el(
      "div",
      { class: "row" },
      el("button", { type: "button", class: "button", onclick: check }, t("talk.check")),
    ),
  ];
}
