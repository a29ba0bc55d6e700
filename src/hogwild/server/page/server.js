// The server's HTTP interface. Addresses are relative, so that the page works behind any path of a proxy.

import { tab } from "./store.js";
import { Refused } from "./stream.js";

const KEY = "hogwild-api-key";

/** The API key of this tab, or "". It stays in the tab's session, and goes nowhere but into the header. */
export const apiKey = () => tab.get(KEY) ?? "";

/** Keep or forget the key. */
export const setApiKey = (key) => tab.set(KEY, key || null);

const listeners = new Set();

/** Call `listener` whenever the server asks for a key, or does not take the one it was given. */
export const onKeyWanted = (listener) => listeners.add(listener);

/** A request with the key; the Response, whatever its status. */
export async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  if (apiKey()) headers.set("Authorization", `Bearer ${apiKey()}`);
  const response = await fetch(path, { ...options, headers, credentials: "same-origin" });
  if (response.status === 401) listeners.forEach((listener) => listener());
  return response;
}

async function json(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  let response;
  try {
    response = await send(path, options);
  } catch {
    throw new Refused(0, "The server cannot be reached.");
  }
  const said = await response.json().catch(() => null);
  if (!response.ok) {
    const message = said?.error?.message ?? `The server answered ${response.status}.`;
    const wait = response.headers.get("Retry-After");
    throw new Refused(response.status, wait ? `${message} Try again in ${wait} s.` : message);
  }
  return said;
}

const at = (id, rest = "") => `v1/teams/${encodeURIComponent(id)}${rest}`;

/** The names of models to choose from. */
export const models = async () => (await json("GET", "v1/models")).data.map((model) => model.id);

/** All teams of this server that this key may see. */
export const teams = async () => (await json("GET", "v1/teams")).data;

/** Start a team; its id and state. */
export const start = (request) => json("POST", "v1/teams", request);

/** Put a message into the history of a running team. */
export const say = (id, text) => json("POST", at(id, "/say"), { text });

/** Stop a team: it answers now, from what is there. */
export const stop = (id) => json("POST", at(id, "/stop"));

/** Cancel a team: nothing more is written, and its memory is given back. */
export const cancel = (id) => json("DELETE", at(id));

/** Let a worker join: {name, prompt?, opening?}. */
export const join = (id, worker) => json("POST", at(id, "/workers"), worker);

/** Let a worker leave. */
export const leave = (id, name) => json("DELETE", at(id, `/workers/${encodeURIComponent(name)}`));

/** Give the result of a tool call that a worker waits for. */
export const answerTool = (id, call, result) => json("POST", at(id, `/tools/${encodeURIComponent(call)}`), { result });

/** A connection to the events of a team, for `follow`. */
export const events = (id) => (headers, signal) =>
  send(at(id, "/events"), { headers: { ...headers, Accept: "text/event-stream" }, signal, cache: "no-store" });
