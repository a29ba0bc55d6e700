// Server-sent events through fetch, so that an API key can be sent, and with a patience that EventSource lacks.

const WAITS = [500, 1000, 2000, 4000, 8000]; // ms before each new try; the last one repeats
const SILENCE = 45_000; // ms without a byte, after which a connection is lost: the server says something every 15 s
const FINAL = new Set(["finished", "failed", "cancelled"]);

/** An answer that trying again does not change. `status` is that of HTTP. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * Follow a stream of events to its last one, over any number of connections, each event once and in order.
 *
 * `request(headers, signal)` opens a connection: a promise of a Response. `onEvent(event)` takes each event,
 * `onState("live" | "lost" | "ended", seconds)` what becomes of the connection. Throws `Refused` for 4xx.
 */
export async function follow({ request, onEvent, onState, signal }) {
  let last = 0;
  for (let tries = 0; !signal.aborted; ) {
    const watch = watchdog(SILENCE);
    try {
      const either = AbortSignal.any([signal, watch.signal]);
      const response = await request(last ? { "Last-Event-ID": String(last) } : {}, either);
      if (!response.ok) await refuse(response);
      onState("live");
      for await (const message of messages(response.body, watch.fed)) {
        if (message.id && message.id <= last) continue; // sent again
        last = message.id || last + 1;
        tries = 0;
        const event = JSON.parse(message.data);
        event.kind ??= message.event;
        onEvent(event);
        if (FINAL.has(event.kind)) return onState("ended");
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status < 500 && error.status !== 429) throw error;
    } finally {
      watch.end();
    }
    if (signal.aborted) return;
    const wait = WAITS[Math.min(tries++, WAITS.length - 1)];
    onState("lost", wait / 1000);
    await pause(wait, signal);
  }
}

/** A signal that comes once nothing was `fed` for `ms`. */
function watchdog(ms) {
  const controller = new AbortController();
  let timer;
  const fed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => controller.abort(), ms);
  };
  fed();
  return { signal: controller.signal, fed, end: () => clearTimeout(timer) };
}

async function refuse(response) {
  const said = await response.json().catch(() => null);
  throw new Refused(response.status, said?.error?.message ?? `The server answered ${response.status}.`);
}

/** The messages of an event stream: {id, event, data}. Comments, which keep the line alive, are `onBytes` only. */
async function* messages(stream, onBytes) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onBytes();
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const message = parse(block);
        if (message.data) yield message;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function parse(block) {
  const message = { id: 0, event: "", data: "" };
  for (const line of block.split("\n")) {
    const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (field === "data") message.data += message.data ? `\n${value}` : value;
    else if (field === "id") message.id = Number(value);
    else if (field === "event") message.event = value;
  }
  return message;
}

/** Wait, but not when the network comes back or nobody wants it any more. */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(end, ms);
    addEventListener("online", end, { once: true });
    signal.addEventListener("abort", end, { once: true });
    function end() {
      clearTimeout(timer);
      removeEventListener("online", end);
      resolve();
    }
  });
}
