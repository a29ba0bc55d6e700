// What a run looks like, as a pure fold over its events: state = events.reduce(apply, initial).
// Watching, resuming after a reload and scrubbing are therefore the same code. States are never changed, so any
// earlier one can be kept and shown again. The Python twin for terminals is hogwild/cli/board.py.

/** The state before the first event. */
export const initial = Object.freeze({
  seen: 0, // events so far
  passes: 0,
  time: 0, // seconds since the run began, of the newest event
  phase: "waiting", // waiting, reading, writing, answering, finished, failed, cancelled
  task: "",
  model: "",
  layout: "combined",
  budget: 0,
  workers: [], // {name, index, step, prefix, text, stepTokens, tokens, status, parts, calls}
  history: [], // {kind: step|said|notice, name, step, text, tokens, pass, time, gone}
  prefill: { done: 0, total: 0 },
  found: null, // the first answer_found
  answer: "", // of the finisher so far, or of the end
  reason: "",
  error: "",
  finished: null,
  writingSince: null,
  writingUntil: 0,
});

/** The state after `event` (an object as in a line of a trace). Kinds that it does not know change the clock only. */
export function apply(state, event) {
  const next = {
    ...state,
    seen: state.seen + 1,
    passes: Math.max(state.passes, event.pass ?? 0),
    time: Math.max(state.time, event.time ?? 0),
  };
  for (const text of notices(event)) add(next, { kind: "notice", text });
  on[event.kind]?.(next, event);
  return next;
}

/** A guess for text whose tokens no event counts: what a person said, names before steps. */
export const estimate = (text) => Math.ceil(text.length / 4);

/** The same for a name and number like `Alice [2]: `, which are short tokens. */
export const estimateLabel = (text) => Math.ceil(text.length / 2);

/** Tokens written so far by all workers. */
export const written = (state) => state.workers.reduce((sum, worker) => sum + worker.tokens, 0);

/** Tokens a second while the workers wrote; 0 before there is anything to count. */
export function rate(state, tokens = written(state)) {
  const seconds = state.finished?.decode_seconds ?? state.writingUntil - (state.writingSince ?? 0);
  return seconds > 0 ? tokens / seconds : 0;
}

/** Whether nothing more can come. */
export const isOver = (state) => ["finished", "failed", "cancelled"].includes(state.phase);

/** A step's text without the label `Alice [2]:` or `Alice (A):` that it may open with, since the page puts its own. */
export function body(name, step, text) {
  const label = new RegExp(`^\\s*\\W{0,2}${escape(name)} *(?:\\[${step}\\]|\\([A-P]\\))\\W{0,2}:?\\W{0,2}(?:\\s+|$)`);
  return text.replace(label, "").replace(/^\n+|\n+$/g, "");
}

const escape = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : noun === "pass" ? "es" : "s"}`;

const STOPS = {
  budget: "The budget is used up.",
  window: "The model’s window is full.",
  cache: "The KV memory is full.",
  stopped: "The team was stopped.",
};
const LEAVES = { asked: "left", done: "is done", window: "left: its window is full" };

/** What an event has to tell beside steps and answers, in sentences; most have nothing. */
export function notices(event) {
  switch (event.kind) {
    case "planned":
      return Object.entries(event.parts).map(([name, parts]) => `${name} does: ${parts.join("; ") || "nothing"}`);
    case "steps_dropped":
      return [`The window was full: the oldest ${plural(event.count, "step")} left the view.`];
    case "check_asked":
      return [`${event.worker} is asked whether step ${event.step} is redundant.`];
    case "worker_joined":
      return [`${event.worker} joined.`];
    case "worker_left":
      return [`${event.worker} ${LEAVES[event.reason] ?? `left: ${event.reason}`}.`];
    case "answer_found":
      return [`${event.worker} found an answer in step ${event.step}: ${event.answer}`];
    case "snapshot":
      return [`The answer after ${plural(event.budget, "pass")} would be: ${event.answer ?? event.text}`];
    case "budget_reached":
      return [STOPS[event.reason] ?? event.reason];
    case "tool_called":
      return [`${event.worker} calls ${event.name}(${event.arguments})`];
    case "tool_returned":
      return [`${event.worker} is given: ${event.result}`];
    default:
      return [];
  }
}

// In the handlers, `state` is the copy that apply() has made: its fields may be set, what they held may not be changed.

const on = {
  started(state, event) {
    const { task, model, layout, budget } = event;
    Object.assign(state, { task, model, layout, budget, phase: "reading" });
    for (const name of event.workers) update(state, name, {});
  },
  planned(state, event) {
    for (const [name, parts] of Object.entries(event.parts)) update(state, name, { parts });
  },
  prefilled(state, event) {
    state.prefill = { done: event.done, total: event.total };
  },
  token(state, event) {
    const worker = find(state, event.worker);
    const status = worker.status === "waiting" ? "writing" : worker.status;
    const { text, stepTokens, tokens } = worker;
    const now = { step: event.step, text: text + event.text, stepTokens: stepTokens + 1, tokens: tokens + 1, status };
    update(state, event.worker, now);
    wrote(state, event.time);
  },
  step_started(state, event) {
    const worker = find(state, event.worker);
    const checked = worker.status === "checking" && worker.step === event.step;
    const status = checked ? "checking" : "writing";
    update(state, event.worker, { step: event.step, prefix: event.text, text: event.text, stepTokens: 0, status });
    wrote(state, event.time);
  },
  check_asked(state, event) {
    update(state, event.worker, { step: event.step, status: "checking" });
  },
  step_finished(state, event) {
    const worker = find(state, event.worker);
    const tokens = worker.stepTokens + estimateLabel(worker.prefix);
    const { worker: name, step, text } = event;
    add(state, { kind: "step", name, step, text: body(name, step, text), tokens, pass: event.pass, time: event.time });
    const status = worker.status === "left" ? "left" : "waiting";
    update(state, name, { text: "", prefix: "", stepTokens: 0, status });
  },
  steps_dropped(state, event) {
    let left = event.count;
    state.history = state.history.map((entry) =>
      left > 0 && entry.kind !== "notice" && !entry.gone ? (left--, { ...entry, gone: true }) : entry,
    );
  },
  said(state, event) {
    const { name, text, pass, time } = event;
    add(state, { kind: "said", name, text, tokens: estimate(name + text), pass, time });
  },
  worker_joined(state, event) {
    update(state, event.worker, { status: "waiting" });
  },
  worker_left(state, event) {
    update(state, event.worker, { status: "left" });
  },
  answer_found(state, event) {
    state.found ??= { worker: event.worker, step: event.step, answer: event.answer };
  },
  budget_reached(state, event) {
    Object.assign(state, { reason: event.reason, phase: "answering" });
  },
  answer_token(state, event) {
    Object.assign(state, { phase: "answering", answer: state.answer + event.text });
  },
  tool_called(state, event) {
    const calls = [...find(state, event.worker).calls, { call: event.call, name: event.name, arguments: event.arguments }];
    update(state, event.worker, { calls });
  },
  tool_returned(state, event) {
    update(state, event.worker, { calls: find(state, event.worker).calls.filter((one) => one.call !== event.call) });
  },
  finished(state, event) {
    Object.assign(state, { phase: "finished", finished: event, answer: event.text, reason: event.reason });
    for (const [name, tokens] of Object.entries(event.tokens)) update(state, name, { tokens });
  },
  failed(state, event) {
    Object.assign(state, { phase: "failed", error: event.message ?? event.error?.message ?? "The run failed." });
  },
  cancelled(state) {
    state.phase = "cancelled";
  },
};

function add(state, entry) {
  state.history = [...state.history, { name: "", step: 0, tokens: 0, pass: state.passes, time: state.time, ...entry }];
}

const find = (state, name) => state.workers.find((worker) => worker.name === name) ?? fresh(name, state.workers.length);

const fresh = (name, index) => ({
  name,
  index, // in order of appearance; chooses the colour
  step: 0,
  prefix: "", // the words that were put into its mouth
  text: "", // of the current step, with the prefix
  stepTokens: 0,
  tokens: 0,
  status: "waiting", // waiting, writing, checking, left
  parts: [],
  calls: [], // of tools, without a result so far
});

function update(state, name, change) {
  const worker = { ...find(state, name), ...change };
  state.workers = Object.assign([...state.workers], { [worker.index]: worker });
}

function wrote(state, time) {
  state.phase = "writing";
  state.writingSince ??= time;
  state.writingUntil = time;
}
