// All events of one run, and the state after any number of them.

import { apply, initial } from "./state.js";

const EVERY = 256; // events between two states that are kept

/** A run: events come in by `push`, states come out by `at`. */
export class Run {
  events = [];
  head = initial;
  #kept = [initial];

  /** Take the next event. */
  push(said) {
    const event = { pass: this.head.passes, time: this.head.time, ...said }; // what the server adds has no clock
    this.events.push(event);
    this.head = apply(this.head, event);
    if (this.events.length % EVERY === 0) this.#kept.push(this.head);
  }

  /** The state after the first `count` events. */
  at(count) {
    if (count >= this.events.length) return this.head;
    const kept = Math.floor(count / EVERY);
    return this.events.slice(kept * EVERY, count).reduce(apply, this.#kept[kept]);
  }

  /** How many events have happened by `time` seconds. */
  until(time) {
    let [low, high] = [0, this.events.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.events[middle].time ?? 0) <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The run as a trace file: an event a line. */
  text() {
    const lines = this.events.filter((event) => !["failed", "cancelled"].includes(event.kind));
    return lines.map((event) => `${JSON.stringify(event)}\n`).join("");
  }
}

/** The run that a trace file holds. A last line that was cut off is left out. Throws an Error that names the line. */
export function parseTrace(text) {
  const run = new Run();
  const lines = text.split("\n");
  const cut = lines.length - 1; // its line end is missing
  lines.forEach((line, index) => {
    if (!line.trim()) return;
    let event;
    try {
      event = JSON.parse(line);
    } catch {
      if (index === cut && run.events.length) return;
      throw new Error(`Line ${index + 1} is no JSON: this is not a trace of hogwild.`);
    }
    check(event, index, run.events.length === 0);
    run.push(event);
  });
  if (!run.events.length) throw new Error("The file holds no event.");
  return run;
}

function check(event, index, first) {
  if (typeof event?.kind !== "string" || typeof event.time !== "number") {
    throw new Error(`Line ${index + 1} is no event: this is not a trace of hogwild.`);
  }
  if (first && event.kind !== "started") throw new Error("The first event is not `started`: the file lacks its beginning.");
  if (first && event.format !== 1) throw new Error(`The trace is of format ${event.format}; this page reads 1.`);
}

/** Where steps stand among the events, for a time line: {lanes: [{name, index, steps: [{step, from, to}]}], marks}. */
export class Track {
  lanes = [];
  marks = []; // {at, kind, label}
  edges = []; // event counts at which a step has ended or something was said
  #count = 0;

  /** Take the next event. */
  push(event) {
    const at = ++this.#count;
    if (event.kind === "started") event.workers.forEach((name) => this.#lane(name));
    if (event.worker) this.#step(this.#lane(event.worker), event, at);
    const label = MARKS[event.kind]?.(event);
    if (label) this.marks.push({ at, kind: event.kind, label });
    if (label || event.kind === "step_finished") this.edges.push(at);
  }

  #lane(name) {
    let lane = this.lanes.find((one) => one.name === name);
    if (!lane) this.lanes.push((lane = { name, index: this.lanes.length, steps: [] }));
    return lane;
  }

  #step(lane, event, at) {
    const last = lane.steps.at(-1);
    if (event.kind === "step_started") lane.steps.push({ step: event.step, from: at, to: at });
    else if (["token", "step_finished"].includes(event.kind) && last) last.to = at;
  }
}

const MARKS = {
  said: (event) => `${event.name}: ${event.text}`,
  worker_joined: (event) => `${event.worker} joined`,
  worker_left: (event) => (event.reason === "asked" ? `${event.worker} left` : ""),
  answer_found: (event) => `answer: ${event.answer}`,
  budget_reached: (event) => `stopped: ${event.reason}`,
};
