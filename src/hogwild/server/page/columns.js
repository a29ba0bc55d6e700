// One column per worker, with the step that it writes now. On a narrow screen the columns become tabs.

import { attr, byId, h, keep, number, plural, setText } from "./dom.js";
import { body, isOver } from "./state.js";

const narrow = matchMedia("(max-width: 44rem)");
const STATUS = { waiting: "waits", writing: "writes", checking: "checks itself", left: "has left" };

/** Columns of the workers of one run. `onRemove(name)` and `onResult(call, result)` are what a person asks for. */
export class Columns {
  #chosen = "";
  #state = null;
  #live = false;

  constructor({ onRemove, onResult }) {
    this.onRemove = onRemove;
    this.onResult = onResult;
    byId("tabs").addEventListener("keydown", (event) => this.#turn(event));
    narrow.addEventListener("change", () => this.#state && this.render(this.#state, this.#live));
  }

  /** Forget what belongs to another run. */
  clear() {
    this.#chosen = "";
    byId("columns").replaceChildren();
    byId("tabs").replaceChildren();
  }

  /** Show a state; `live` is whether workers can be removed. */
  render(state, live) {
    [this.#state, this.#live] = [state, live];
    const over = isOver(state);
    const workers = state.workers.filter((worker) => worker.text.trim() || (!over && worker.status !== "left"));
    const names = workers.map((worker) => worker.name);
    if (!names.includes(this.#chosen)) this.#chosen = names[0] ?? "";
    attr(byId("columns"), "data-count", Math.min(workers.length, 4));
    const columns = keep(byId("columns"), names, (name) => this.#column(name));
    setText(byId("workers-title"), over ? "Left unfinished" : "Being written now");
    byId("working").hidden = !workers.length;
    columns.forEach((column, at) => fill(column, workers[at], live, over));
    columns.forEach((column, at) => this.#calls(column, workers[at], live));
    this.#tabs(columns, workers);
  }

  #column(name) {
    const remove = h("button", { type: "button", class: "remove", "aria-label": `Remove ${name}`, click: () => this.onRemove(name) }, "Remove");
    const head = h("header", {}, h("h3", {}, name), h("span", { class: "status quiet" }), remove);
    const text = h("div", { class: "text follow", tabindex: "0", role: "group", "aria-label": `What ${name} writes now` });
    return h("section", { class: "column" }, head, text, h("div", { class: "calls" }));
  }

  #tabs(columns, workers) {
    const tabbed = narrow.matches && workers.length > 1;
    byId("tabs").hidden = !tabbed;
    const tabs = keep(byId("tabs"), workers.map((worker) => worker.name), (name) =>
      h("button", { type: "button", role: "tab", click: () => this.#choose(name) }, name),
    );
    columns.forEach((column, at) => {
      const [worker, tab] = [workers[at], tabs[at]];
      const chosen = worker.name === this.#chosen;
      attr(column, "id", `column-${worker.index}`);
      attr(tab, "id", `tab-${worker.index}`);
      attr(tab, "data-worker", worker.index);
      attr(tab, "aria-selected", chosen);
      attr(tab, "aria-controls", column.id);
      attr(tab, "tabindex", chosen ? 0 : -1);
      column.hidden = tabbed && !chosen;
      attr(column, "role", tabbed ? "tabpanel" : null);
      attr(column, "aria-labelledby", tabbed ? tab.id : `name-${worker.index}`);
    });
  }

  #calls(column, worker, live) {
    const calls = live ? worker.calls : [];
    keep(column.lastChild, calls.map((one) => one.call), (call) => {
      const one = calls.find((other) => other.call === call);
      const field = h("input", { "aria-label": `Result of ${one.name}`, placeholder: "its result", autocomplete: "off" });
      const submit = (event) => {
        event.preventDefault();
        this.onResult(call, field.value);
      };
      return h("form", { submit }, h("code", {}, `${one.name}(${one.arguments})`), field, h("button", {}, "Give"));
    });
  }

  #choose(name, focus = false) {
    this.#chosen = name;
    this.render(this.#state, this.#live);
    if (focus) [...byId("tabs").children].find((tab) => tab.dataset.key === name)?.focus();
  }

  #turn(event) {
    const names = [...byId("tabs").children].map((tab) => tab.dataset.key);
    const at = names.indexOf(this.#chosen);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#choose(names[(to + names.length) % names.length], true);
  }
}

function fill(column, worker, live, over) {
  attr(column, "data-worker", worker.index);
  const [head, text] = column.children;
  const [name, status, remove] = head.children;
  attr(name, "id", `name-${worker.index}`);
  const waits = worker.calls.length ? "waits for a tool" : STATUS[worker.status];
  const parts = [over ? "" : waits, worker.step ? `step ${number(worker.step)}` : "", plural(worker.tokens, "token")];
  setText(status, parts.filter(Boolean).join(" · "));
  remove.hidden = !live || worker.status === "left";
  setText(text, body(worker.name, worker.step, worker.text));
  text.classList.toggle("writing", !over && worker.status === "writing");
}
