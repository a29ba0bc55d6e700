// The shared history: finished steps in the order of completion, messages, and notices between them.

import { byId, h, keep, number, plural, setText } from "./dom.js";
import { show } from "./markdown.js";

/** The list of what has happened, for the states of one run. */
export class History {
  #entries = [];

  /** Forget what belongs to another run. */
  clear() {
    this.#entries = [];
    byId("history").replaceChildren();
  }

  /** Show a state. */
  render(state) {
    const list = byId("history");
    if (state.history === this.#entries) return;
    this.#entries = state.history;
    const steps = state.history.filter((entry) => entry.kind === "step").length;
    setText(byId("history-count"), steps ? plural(steps, "finished step") : "");
    byId("history-empty").hidden = state.history.length > 0;
    list.hidden = state.history.length === 0;
    const items = keep(list, state.history.map(keyOf), (key) => item(state, state.history[Number(key.split(" ")[0])]));
    items.forEach((element, at) => element.classList.toggle("gone", Boolean(state.history[at].gone)));
  }
}

// While one scrubs, the same place may hold another entry only in another run; the kind is there for safety.
const keyOf = (entry, at) => `${at} ${entry.kind}`;

function item(state, entry) {
  if (entry.kind === "notice") return h("li", { class: "notice-line" }, entry.text);
  const writer = state.workers.find((worker) => worker.name === entry.name);
  const what = entry.kind === "step" ? `step ${number(entry.step)}` : "said";
  const when = h("span", { class: "quiet" }, `${what} · pass ${number(entry.pass)}`);
  const text = h("div", { class: "prose" });
  if (entry.kind === "step") show(text, entry.text);
  else text.textContent = entry.text;
  const element = h("li", { class: entry.kind }, h("p", { class: "who" }, h("b", {}, entry.name), " ", when), text);
  if (writer) element.dataset.worker = writer.index;
  return element;
}
