// What a screen reader is told: steps, messages and ends, gathered for a moment; never single words.

import { byId } from "./dom.js";

const GATHER = 2500; // ms
const MOST = 4; // sentences at once; more are counted

let waiting = [];
let timer = 0;

/** Tell `sentence` soon, politely. */
export function announce(sentence) {
  waiting.push(sentence);
  timer ||= setTimeout(tell, GATHER);
}

/** Forget what has not been told. */
export function hush() {
  waiting = [];
}

function tell() {
  timer = 0;
  const told = waiting.length > MOST ? [`${waiting.length - 1} more things happened.`, waiting.at(-1)] : waiting;
  byId("announcer").textContent = told.join(" ");
  waiting = [];
}

/** What is worth telling of an event, or "". */
export function sentence(event) {
  switch (event.kind) {
    case "step_finished":
      return `${event.worker} finished step ${event.step}.`;
    case "said":
      return `${event.name} said: ${event.text}.`;
    case "worker_joined":
      return `${event.worker} joined.`;
    case "worker_left":
      return `${event.worker} left.`;
    case "tool_called":
      return `${event.worker} waits for the tool ${event.name}.`;
    case "answer_found":
      return `${event.worker} found an answer: ${event.answer}.`;
    case "finished":
      return `The team has finished. The answer: ${event.text.slice(0, 300)}`;
    case "failed":
      return "The run failed.";
    case "cancelled":
      return "The run was cancelled.";
    default:
      return "";
  }
}
