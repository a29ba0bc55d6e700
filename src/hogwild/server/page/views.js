// A strip for each worker: its view as blocks in order, on a scale that all share.

import { attr, byId, h, keep, number, setText } from "./dom.js";
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
    attr(element, "data-worker", workers[at].index);
    setText(name, workers[at].name);
    setText(total, number(length(views[at])));
    attr(strip, "aria-label", describe(workers[at], views[at]));
    draw(strip, views[at], longest);
  });
}

const row = () =>
  h("div", { class: "view" }, h("span", { class: "name" }), h("div", { class: "strip", role: "img" }), h("span", { class: "total quiet" }));

/** Blocks side by side. All finished steps are one element with a striped ground: there may be thousands of them. */
function draw(strip, view, longest) {
  const blocks = group(view);
  while (strip.children.length > blocks.length) strip.lastChild.remove();
  while (strip.children.length < blocks.length) strip.append(h("i", {}, h("b")));
  blocks.forEach((block, at) => {
    const element = strip.children[at];
    const [first] = block.pieces;
    const title = block.pieces.length > 1 ? `${number(block.tokens)} tokens of history` : `${first.label}: ${number(first.tokens)} tokens`;
    const width = `${(100 * block.tokens) / longest}%`;
    const ground = first.kind === "step" || first.kind === "said" ? stripes(block) : "";
    attr(element, "title", title);
    attr(element, "class", first.kind);
    attr(element, "data-worker", first.index);
    if (element.width !== width) element.style.width = element.width = width;
    // The ground is the child's: thousands of colours need not be worked out again when the width changes.
    const inner = element.firstChild;
    if (inner.ground !== ground) inner.style.backgroundImage = inner.ground = ground;
  });
}

/** Neighbours that stand in the history, together. */
function group(view) {
  const blocks = [];
  for (const one of view) {
    const last = blocks.at(-1);
    if (one.entry && last?.pieces[0].entry) {
      last.pieces.push(one);
      last.tokens += one.tokens;
    } else blocks.push({ pieces: [one], tokens: one.tokens });
  }
  return blocks;
}

function stripes({ pieces: all, tokens }) {
  let end = 0;
  const stops = all.map((one) => {
    const begin = end;
    end += one.tokens;
    const colour = one.kind === "said" ? "var(--ink)" : `var(--w${one.index})`;
    const [from, to] = [begin, end].map((place) => ((100 * place) / tokens).toFixed(2));
    return `${colour} ${from}% calc(${to}% - 1px), var(--ground) calc(${to}% - 1px) ${to}%`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
