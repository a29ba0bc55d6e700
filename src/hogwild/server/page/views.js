// A strip for each worker: its view as blocks in order, on a scale that all share.

import { byId, h, keep, number, setText } from "./dom.js";
import { describe, length, pieces } from "./pieces.js";
import { isOver } from "./state.js";

/** Show the views of a state. */
export function renderViews(state) {
  const workers = state.workers.filter((worker) => worker.status !== "left" && (worker.step || !isOver(state)));
  byId("views-section").hidden = !workers.length;
  const views = workers.map((worker) => pieces(state, worker));
  const longest = Math.max(1, ...views.map(length));
  const rows = keep(byId("views"), workers.map((worker) => worker.name), row);
  rows.forEach((element, at) => {
    const [name, strip, total] = element.children;
    element.dataset.worker = workers[at].index;
    setText(name, workers[at].name);
    setText(total, number(length(views[at])));
    strip.setAttribute("aria-label", describe(workers[at], views[at]));
    draw(strip, views[at], longest);
  });
}

const row = () =>
  h("div", { class: "view" }, h("span", { class: "name" }), h("div", { class: "strip", role: "img" }), h("span", { class: "total quiet" }));

function draw(strip, view, longest) {
  while (strip.children.length > view.length) strip.lastChild.remove();
  while (strip.children.length < view.length) strip.append(h("i"));
  view.forEach((one, at) => {
    const block = strip.children[at];
    const title = `${one.label}: ${number(one.tokens)} tokens`;
    if (block.title !== title) block.title = title;
    block.className = one.kind;
    block.dataset.worker = one.index;
    block.style.width = `${(100 * one.tokens) / longest}%`;
  });
}
