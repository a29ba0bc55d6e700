// The first page: a form that starts a team, and the teams of this server.

import { byId, h, keep, number, plural, setText } from "./dom.js";
import * as server from "./server.js";
import { tab } from "./store.js";

const DRAFT = "hogwild-draft";
const EVERY = 3000; // ms between two looks at the list
const FIELDS = ["task", "model", "workers", "budget", "parts", "answer-form", "temperature", "seed"];

/** The form and the list. `onStarted(id)` is called with a new team. */
export class Home {
  #timer = 0;
  #models = [];

  constructor(onStarted) {
    this.onStarted = onStarted;
    const form = byId("start");
    form.addEventListener("submit", (event) => this.#submit(event));
    form.addEventListener("input", () => saveDraft(form));
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    byId("model").addEventListener("change", () => this.#alias());
    loadDraft(form);
  }

  /** Show the page, and look for models and teams now and then. */
  async enter() {
    byId("home").hidden = false;
    clearInterval(this.#timer);
    this.#timer = setInterval(() => document.hidden || this.#list(), EVERY);
    await Promise.all([this.#choices(), this.#list()]);
  }

  /** Hide the page. */
  leave() {
    byId("home").hidden = true;
    clearInterval(this.#timer);
  }

  async #choices() {
    const select = byId("model");
    try {
      this.#models = await server.models();
    } catch (error) {
      setText(byId("start-error"), error.status === 404 ? "There is no server behind this page: it can only open traces." : error.message);
      byId("start-button").disabled = error.status === 404;
      return;
    }
    const chosen = select.value || stored().model;
    setText(byId("start-error"), "");
    select.replaceChildren(...this.#models.map((name) => h("option", { value: name }, name)));
    if (this.#models.includes(chosen)) select.value = chosen;
    else this.#alias();
  }

  /** An alias like hogwild-4/NAME says how many workers there are to be. */
  #alias() {
    const found = /^hogwild-(\d+)\//.exec(byId("model").value);
    if (found) byId("workers").value = found[1];
  }

  async #list() {
    let teams;
    try {
      teams = await server.teams();
    } catch {
      return; // the next look may find it
    }
    byId("teams-empty").hidden = teams.length > 0;
    const cards = keep(byId("teams"), teams.map((team) => team.id), (id) =>
      h("li", {}, h("a", { href: `#team=${encodeURIComponent(id)}` }, h("b"), h("span", { class: "chip" }), h("small", { class: "quiet" }))),
    );
    teams.forEach((team, at) => {
      const [task, state, rest] = cards[at].firstChild.children;
      setText(task, team.task);
      setText(state, team.state);
      state.dataset.phase = team.state;
      const count = Array.isArray(team.workers) ? team.workers.length : team.workers;
      const facts = [team.model, plural(count, "worker"), `${number(team.passes)} of ${plural(team.budget, "pass", "passes")}`];
      setText(rest, facts.join(" · ") + (team.answer ? ` · answer: ${team.answer.slice(0, 80)}` : ""));
    });
  }

  async #submit(event) {
    event.preventDefault();
    const problem = wrong();
    setText(byId("start-error"), problem);
    if (problem) return;
    byId("start-button").disabled = true;
    try {
      const { id } = await server.start(request());
      tab.set(DRAFT, null);
      this.onStarted(id);
    } catch (error) {
      setText(byId("start-error"), error.message);
    } finally {
      byId("start-button").disabled = false;
    }
  }
}

/** What is wrong with the form, in a sentence, with the focus where it is; or "". */
function wrong() {
  for (const input of byId("start").querySelectorAll("textarea, input, select")) {
    if (input.checkValidity()) continue;
    input.closest("details")?.setAttribute("open", "");
    input.focus();
    const label = input.labels[0]?.firstChild.textContent.trim() ?? input.name;
    return input.id === "task" ? "Say what the team should do." : `${label}: ${input.validationMessage}`;
  }
  if (byId("task").value.trim()) return "";
  byId("task").focus();
  return "Say what the team should do.";
}

function request() {
  const values = new FormData(byId("start"));
  const asked = { task: values.get("task"), model: values.get("model"), layout: values.get("layout") };
  Object.assign(asked, { workers: Number(values.get("workers")), budget: Number(values.get("budget")), answer: values.get("answer") });
  const parts = values.get("parts").split("\n").map((part) => part.trim()).filter(Boolean);
  if (parts.length) asked.parts = parts;
  for (const name of ["temperature", "seed"]) if (values.get(name) !== "") asked[name] = Number(values.get(name));
  return asked;
}

const stored = () => JSON.parse(tab.get(DRAFT) ?? "{}");

function saveDraft(form) {
  const draft = Object.fromEntries(FIELDS.map((id) => [id, byId(id).value]));
  tab.set(DRAFT, JSON.stringify({ ...draft, layout: new FormData(form).get("layout") }));
}

function loadDraft(form) {
  const draft = stored();
  for (const id of FIELDS) if (draft[id] && id !== "model") byId(id).value = draft[id];
  if (draft.layout) form.elements.layout.value = draft.layout;
  if (draft.parts) byId("more").open = true;
}
