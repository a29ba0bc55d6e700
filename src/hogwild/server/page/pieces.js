// What each worker sees, as blocks in order: a pure function of the state. The rules are those of hogwild/team/layout.py.
// Tokens that workers wrote are counted; what is around them (names, messages, parts) is estimated from its length.

import { estimate, estimateLabel } from "./state.js";

/** The view of `worker` as [{kind, index, label, tokens}], in order; `index` is that of the worker who wrote it, or -1. */
export function pieces(state, worker) {
  const prompt = piece("prompt", -1, "the task", state.prefill.done);
  const own = piece("own", worker.index, "its own step", worker.stepTokens + estimateLabel(worker.prefix));
  const apart = piece("private", worker.index, "its own parts", estimate(worker.parts.join("\n")));
  const others = state.workers.filter((other) => other !== worker && other.status !== "left");
  const rest = [prompt, ...(LAYOUTS[state.layout] ?? LAYOUTS.combined)(state, worker, others), apart, own];
  return rest.filter((one) => one.tokens > 0);
}

/** Tokens in a view. */
export const length = (view) => view.reduce((sum, one) => sum + one.tokens, 0);

/** A view in words, for those who cannot see it. */
export function describe(worker, view) {
  const parts = merge(view).map((one) => `${one.label} ${one.tokens}`);
  return `${worker.name} sees ${length(view)} tokens: ${parts.join(", ")}.`;
}

const LAYOUTS = {
  combined: (state, worker, others) => [...past(state), ...others.map(unfinished)],
  interleaved: (state) => past(state),
  // A worker's finished steps stay in a block of its own until it leaves.
  contiguous: (state, worker, others) => {
    const here = new Set(state.workers.filter((one) => one.status !== "left").map((one) => one.index));
    const stays = (one) => one.kind === "step" && here.has(one.index);
    const by = (writer) => past(state).filter((one) => stays(one) && one.index === writer.index);
    const moved = past(state).filter((one) => !stays(one));
    return [...moved, ...others.flatMap((other) => [...by(other), unfinished(other)]), ...by(worker)];
  },
};

const known = new WeakMap(); // histories never change, and all workers see the same one

function past(state) {
  if (!known.has(state.history)) known.set(state.history, recall(state));
  return known.get(state.history);
}

function recall(state) {
  const seen = state.history.filter((entry) => entry.kind !== "notice" && !entry.gone);
  return seen.map((entry) => {
    const writer = state.workers.findIndex((worker) => worker.name === entry.name);
    const label = entry.kind === "said" ? `message of ${entry.name}` : `finished steps of ${entry.name}`;
    return { ...piece(entry.kind, writer, label, entry.tokens), entry };
  });
}

const unfinished = (other) =>
  piece("other", other.index, `unfinished step of ${other.name}`, other.stepTokens + estimateLabel(other.prefix));

const piece = (kind, index, label, tokens) => ({ kind, index, label, tokens });

function merge(view) {
  const sums = new Map();
  for (const { label, tokens } of view) sums.set(label, (sums.get(label) ?? 0) + tokens);
  return [...sums].map(([label, tokens]) => ({ label, tokens }));
}
