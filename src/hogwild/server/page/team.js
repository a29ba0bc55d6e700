// The page of one run: on the server and live, or from a trace.

import { announce, hush, sentence } from "./announce.js";
import { Columns } from "./columns.js";
import { attr, byId, duration, following, number, plural, setText } from "./dom.js";
import { History } from "./history.js";
import { show } from "./markdown.js";
import { Run } from "./run.js";
import * as server from "./server.js";
import { isOver, rate, written } from "./state.js";
import { follow } from "./stream.js";
import { Timeline } from "./timeline.js";
import { renderViews } from "./views.js";

const NAMES = "Alice Bob Carol Dave Erin Frank Grace Heidi Ivan Judy Kevin Laura Mike Nina Oscar Peggy".split(" ");
const PHASES = { waiting: "waiting", reading: "reading the task", writing: "writing", answering: "answering" };
const ANNOUNCE_AFTER = 1500; // ms: what has happened before is read on the page, not told

/** Shows one run at a time. */
export class TeamPage {
  #id = ""; // of the team on the server; "" for a trace
  #run = new Run();
  #stop = new AbortController();
  #frame = 0;
  #shown = {}; // what the answer was rendered from
  #timeline = new Timeline(() => this.#draw());
  #history = new History();
  #columns = new Columns({
    onRemove: (name) => this.#ask(server.leave(this.#id, name)),
    onResult: (call, result) => this.#ask(server.answerTool(this.#id, call, result)),
  });

  constructor() {
    byId("stop").addEventListener("click", () => this.#ask(server.stop(this.#id)));
    byId("cancel").addEventListener("click", () => this.#ask(server.cancel(this.#id)));
    byId("download").addEventListener("click", () => this.#download());
    byId("add-worker").addEventListener("click", () => this.#addWorker());
    byId("say").addEventListener("submit", (event) => this.#say(event));
  }

  /** Follow a team of the server. */
  watch(id) {
    this.#open(new Run(), id);
    const since = performance.now();
    const { signal } = this.#stop;
    const onEvent = (event) => {
      this.#run.push(event);
      if (performance.now() - since > ANNOUNCE_AFTER || event.kind === "finished") tell(event);
      this.#draw();
    };
    follow({ request: server.events(id), onEvent, onState: connection, signal }).catch((error) => {
      const gone = "This server does not know that team, or no longer: its events are gone.";
      setText(byId("connection"), "");
      setText(byId("team-error"), error.status === 404 ? gone : error.message);
    });
  }

  /** Show a run that is over. */
  replay(run) {
    this.#open(run, "");
    setText(byId("connection"), "saved trace");
  }

  /** Leave the page. */
  leave() {
    byId("team").hidden = true;
    this.#stop.abort();
    this.#timeline.pause();
    hush();
  }

  #open(run, id) {
    this.leave();
    this.#stop = new AbortController();
    [this.#run, this.#id, this.#shown] = [run, id, {}];
    this.#timeline.open(run);
    this.#history.clear();
    this.#columns.clear();
    for (const name of ["team-error", "connection"]) setText(byId(name), "");
    byId("answer-text").replaceChildren();
    byId("team").hidden = false;
    this.#draw();
  }

  #draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      following(() => this.#render(this.#timeline.state()));
    });
  }

  #render(state) {
    const now = this.#run.head;
    const live = this.#id !== "" && !isOver(now);
    const atHead = live && this.#timeline.cursor === null;
    this.#heading(state, now);
    figures(state);
    for (const name of ["stop", "cancel", "add-worker", "say"]) byId(name).hidden = !live;
    attr(byId("team"), "data-live", live);
    attr(byId("team"), "data-over", isOver(state) ? "" : null);
    attr(byId("team"), "data-back", this.#timeline.cursor === null ? null : "");
    this.#answer(state);
    this.#timeline.render(state);
    this.#history.render(state);
    this.#columns.render(state, atHead);
    renderViews(state);
  }

  #heading(state, now) {
    setText(byId("team-task"), now.task || "…");
    document.title = now.task ? `${now.task.slice(0, 60)} – Hogwild` : "Hogwild";
    const names = now.workers.map((worker) => worker.name).join(", ");
    setText(byId("team-meta"), [now.model, now.layout, names].filter(Boolean).join(" · "));
    const { done, total } = state.prefill;
    const reading = state.phase === "reading" && total ? ` (${number(done)} of ${plural(total, "token")})` : "";
    const chip = byId("phase");
    setText(chip, (PHASES[state.phase] ?? state.phase) + reading);
    attr(chip, "data-phase", state.phase);
    if (now.phase === "failed") setText(byId("team-error"), now.error);
  }

  #answer(state) {
    const found = state.found?.answer ?? "";
    const text = state.answer || found;
    byId("answer").hidden = !text;
    const over = isOver(state);
    if (text !== this.#shown.text || over !== this.#shown.over) {
      const box = byId("answer-text");
      const whole = over || (found && !state.answer);
      box.classList.toggle("plain", !whole);
      if (whole) show(box, text);
      else box.textContent = text; // set as Markdown when it is whole
      this.#shown = { text, over };
    }
    const by = state.found ? `found by ${state.found.worker} in step ${state.found.step}` : "put together by the finisher";
    const parsed = state.finished?.answer;
    const short = parsed && parsed !== text ? ` · in short: ${parsed}` : "";
    const alone = state.workers.length === 1 && !state.found;
    setText(byId("answer-note"), over ? (alone ? "" : by) + short : "");
  }

  async #ask(request) {
    setText(byId("team-error"), "");
    try {
      return await request;
    } catch (error) {
      setText(byId("team-error"), error.message);
      return null;
    }
  }

  async #say(event) {
    event.preventDefault();
    const field = byId("say-text");
    const text = field.value.trim();
    if (!text) return;
    const said = await this.#ask(server.say(this.#id, text));
    if (said !== null) field.value = "";
  }

  #addWorker() {
    const dialog = byId("worker-dialog");
    const taken = this.#run.head.workers.map((worker) => worker.name);
    byId("worker-name").value = NAMES.find((name) => !taken.includes(name)) ?? "";
    byId("worker-prompt").value = "";
    dialog.returnValue = "";
    dialog.onclose = () => {
      if (dialog.returnValue !== "ok") return;
      const worker = { name: byId("worker-name").value.trim() };
      if (byId("worker-prompt").value.trim()) worker.prompt = byId("worker-prompt").value.trim();
      this.#ask(server.join(this.#id, worker));
    };
    dialog.showModal();
  }

  #download() {
    const address = URL.createObjectURL(new Blob([this.#run.text()], { type: "application/jsonl" }));
    const link = document.createElement("a");
    Object.assign(link, { href: address, download: `${this.#id || "trace"}.jsonl` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
}

function tell(event) {
  const told = sentence(event);
  if (told) announce(told);
}

function connection(state, seconds) {
  const lost = `Connection lost; next try in ${seconds} s.`;
  setText(byId("connection"), { live: "live", lost, ended: "" }[state]);
}

function figures(state) {
  const left = Math.max(state.budget - state.passes, 0);
  setText(byId("figure-passes"), number(state.passes));
  setText(byId("figure-left"), plural(left, "pass", "passes"));
  setText(byId("figure-rate"), number(rate(state), 1));
  setText(byId("figure-tokens"), number(written(state)));
  setText(byId("figure-time"), duration(state.time));
  byId("meter").value = state.budget ? Math.min(state.passes / state.budget, 1) : 0;
}
