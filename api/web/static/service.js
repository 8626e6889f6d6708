// The REST service as the pages use it. Every failure is a `Problem` with words for a person.

import { hasWords, t } from "./dom.js";

export const NUM_PEAKS = 240;

export class Problem extends Error {
  constructor(message, code = "", status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** What this server allows and can do: `/web/service.json`. */
export async function serviceFacts() {
  return (await request("/web/service.json")).json();
}

/**
 * The response of a successful request. Throws Problem. `key` is an API key, sent with this request alone.
 */
export async function request(path, options = {}, key = "") {
  const headers = { ...options.headers, ...bearer(key) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(t("problem.network"));
  }
  if (!response.ok) throw problemOf(response.status, await response.text());
  return response;
}

/**
 * Judge a file or `{url}`: the text of the signed result. `onProgress` is told how much was sent, 0 to 1; a
 * fetch by the server has no progress. XMLHttpRequest, since fetch does not tell how much of an upload is
 * through.
 */
export function judge(input, { key = "", onProgress = () => {}, signal } = {}) {
  const isFile = input instanceof Blob;
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    call.open("POST", `/v1/detections?waveform=${NUM_PEAKS}`);
    call.setRequestHeader("Content-Type", isFile ? "audio/*" : "application/json");
    for (const [name, value] of Object.entries(bearer(key))) call.setRequestHeader(name, value);
    call.upload.onprogress = (event) => onProgress(event.total ? event.loaded / event.total : 1);
    call.upload.onload = () => onProgress(1);
    call.onload = () =>
      call.status === 200 ? resolve(call.responseText) : reject(problemOf(call.status, call.responseText));
    call.onerror = () => reject(new Problem(t("problem.network")));
    call.onabort = () => reject(new DOMException("", "AbortError"));
    signal?.addEventListener("abort", () => call.abort());
    call.send(isFile ? input : JSON.stringify(input));
  });
}

const bearer = (key) => (key ? { Authorization: `Bearer ${key}` } : {});

/** RFC 9457 in the words of the page, with the server's own sentence after them. */
function problemOf(status, text) {
  let said;
  try {
    said = JSON.parse(text);
  } catch {
    return new Problem(t("problem.status", { status }), "", status);
  }
  const title = hasWords(`problem.${said.code}`) ? t(`problem.${said.code}`) : `${said.title}.`;
  return new Problem(`${title} ${t("problem.detail", { detail: said.detail })}`, said.code, status);
}
