// The time line: steps of each worker in a lane, a slider over all events, and a player.

import { attr, byId, duration, h, keep, number, setText } from "./dom.js";
import { Run, Track } from "./run.js";

/** A slider over the events of a run. `onMove()` is called when another moment is to be shown. */
export class Timeline {
  run = new Run();
  cursor = null; // events that are shown; null follows the newest
  #track = new Track();
  #tracked = 0;
  #playing = 0; // the animation frame that is asked for
  #clock = null; // {real, time} when playing began

  constructor(onMove) {
    this.onMove = onMove;
    byId("scrub").addEventListener("input", () => this.#to(byId("scrub").valueAsNumber));
    byId("play").addEventListener("click", () => (this.#playing ? this.pause() : this.#play()));
    byId("speed").addEventListener("change", () => this.#playing && this.#restart());
    byId("before").addEventListener("click", () => this.#to(this.#track.edges.findLast((at) => at < this.#shown()) ?? 0));
    byId("after").addEventListener("click", () => this.#to(this.#track.edges.find((at) => at > this.#shown()) ?? Infinity));
    byId("to-end").addEventListener("click", () => this.#to(Infinity));
  }

  /** Begin with another run. */
  open(run) {
    this.pause();
    Object.assign(this, { run, cursor: null });
    this.#track = new Track();
    this.#tracked = 0;
  }

  /** The state that is to be shown. */
  state() {
    return this.cursor === null ? this.run.head : this.run.at(this.cursor);
  }

  /** Stop playing. */
  pause() {
    cancelAnimationFrame(this.#playing);
    this.#playing = 0;
    setText(byId("play"), "Play");
  }

  /** Draw the time line, with the slider at the moment that is shown. */
  render(state) {
    const { events } = this.run;
    while (this.#tracked < events.length) this.#track.push(events[this.#tracked++]);
    const all = Math.max(events.length, 1);
    const lanes = keep(byId("lanes"), [...this.#track.lanes.map((lane) => lane.name), "\n"], () => h("div", { class: "lane" }));
    this.#track.lanes.forEach((lane, at) => drawLane(lanes[at], lane, all));
    drawMarks(lanes.at(-1), this.#track.marks, all);
    attr(byId("lanes"), "data-many", this.#track.lanes.length > 4);
    const slider = byId("scrub");
    slider.max = events.length;
    slider.value = this.#shown();
    const moment = `pass ${number(state.passes)}, ${duration(state.time)}`;
    attr(slider, "aria-valuetext", moment);
    setText(byId("moment"), this.cursor === null ? "" : `pass ${number(state.passes)}`);
    byId("to-end").hidden = this.cursor === null;
  }

  #shown() {
    return this.cursor ?? this.run.events.length;
  }

  #to(count) {
    this.pause();
    this.#set(count);
  }

  #set(count) {
    this.cursor = count >= this.run.events.length ? null : count;
    this.onMove();
  }

  #play() {
    if (this.cursor === null) this.cursor = 0;
    setText(byId("play"), "Pause");
    this.#restart();
    this.#frame();
  }

  #restart() {
    this.#clock = { real: performance.now(), time: this.run.at(this.#shown()).time };
  }

  #frame() {
    this.#playing = requestAnimationFrame((now) => {
      const { real, time } = this.#clock;
      const reached = time + ((now - real) / 1000) * Number(byId("speed").value);
      this.#set(Math.max(this.run.until(reached), this.#shown()));
      if (this.cursor === null) this.pause();
      else this.#frame();
    });
  }
}

function drawLane(element, lane, all) {
  attr(element, "data-worker", lane.index);
  while (element.children.length < lane.steps.length) element.append(h("i"));
  lane.steps.forEach((step, at) => place(element.children[at], step.from - 1, step.to, all, `${lane.name}, step ${step.step}`));
}

function drawMarks(element, marks, all) {
  attr(element, "class", "lane marks");
  while (element.children.length < marks.length) element.append(h("i"));
  marks.forEach((mark, at) => place(element.children[at], mark.at - 1, mark.at, all, mark.label));
}

function place(element, from, to, all, title) {
  const shown = `${from} ${to} ${all}`;
  if (element.shown === shown) return;
  element.shown = shown;
  element.style.left = `${(100 * from) / all}%`;
  element.style.width = `${(100 * (to - from)) / all}%`;
  if (element.title !== title) element.title = title;
}
