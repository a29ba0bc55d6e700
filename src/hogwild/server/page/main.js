// The page: what the address says is shown.
//   #            the form and the list of teams
//   #team=ID     a team of this server
//   #trace       the trace that was opened from a file, kept in this tab
//   #trace=PATH  a trace that this very server has

import { byId, h, setText } from "./dom.js";
import { Home } from "./home.js";
import { parseTrace } from "./run.js";
import { apiKey, onKeyWanted, setApiKey } from "./server.js";
import { browser, tab } from "./store.js";
import { TeamPage } from "./team.js";

const TRACE = "hogwild-trace";
const team = new TeamPage();
const home = new Home((id) => (location.hash = `team=${encodeURIComponent(id)}`));
let opened = null; // the run of a file that was opened, if the tab's store cannot take it

async function route() {
  const [kind, value] = location.hash.slice(1).split("=", 2).map(decoded);
  home.leave();
  team.leave();
  problem("");
  document.title = "Hogwild";
  if (kind === "team" && value) team.watch(value);
  else if (kind === "trace") await trace(value);
  else await home.enter();
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // somebody has typed it
  }
}

async function trace(path) {
  try {
    team.replay(path ? await fetched(path) : (opened ?? parseTrace(kept())));
  } catch (error) {
    problem(error.message);
    await home.enter();
  }
}

function kept() {
  const text = tab.get(TRACE);
  if (text === null) throw new Error("No trace is open in this tab: choose its file again.");
  return text;
}

async function fetched(path) {
  const address = new URL(path, location.href);
  if (address.origin !== location.origin) throw new Error("A trace is opened from this server, or from a file.");
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) throw new Error(`The trace ${path} is not there.`);
  return parseTrace(await response.text());
}

async function openFile(file) {
  let run;
  const text = await file.text();
  try {
    run = parseTrace(text);
  } catch (error) {
    return problem(`${file.name}: ${error.message}`);
  }
  opened = run;
  tab.set(TRACE, text); // if it is too large for that, a reload asks for the file again
  if (location.hash === "#trace") return route();
  location.hash = "trace";
}

function problem(text) {
  setText(byId("page-error"), text);
  byId("page-error").hidden = !text;
}

function setUpTraces() {
  const input = byId("trace-file");
  byId("open-trace").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) openFile(input.files[0]);
    input.value = "";
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) openFile(event.dataTransfer.files[0]);
  });
}

function setUpKey() {
  const dialog = byId("key-dialog");
  let declined = false; // whoever has said no is not asked again at every look at the list
  const ask = () => {
    if (!dialog.open) dialog.showModal();
  };
  onKeyWanted(() => {
    byId("key-button").hidden = false;
    if (!declined) ask();
  });
  byId("key-button").addEventListener("click", ask);
  byId("key-button").hidden = !apiKey();
  // A password field that submits by Enter must not choose Cancel, which is the first button.
  byId("key").addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    byId("key-ok").click();
  });
  dialog.addEventListener("close", () => {
    declined = dialog.returnValue !== "ok";
    if (!declined) {
      setApiKey(byId("key").value.trim());
      route();
    }
    byId("key").value = "";
    dialog.returnValue = "";
  });
}

const THEMES = ["system", "light", "dark"];

function setUpTheme() {
  const root = document.documentElement;
  const set = (theme) => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    browser.set("hogwild-theme", theme);
    const [sign, name] = { system: ["◐", "Auto"], light: ["☀", "Light"], dark: ["☾", "Dark"] }[theme];
    const rest = h("span", { class: "hidden" }, " theme");
    byId("theme-button").replaceChildren(h("span", { "aria-hidden": "true" }, sign), ` ${name}`, rest);
  };
  set(root.dataset.theme ?? "system");
  byId("theme-button").addEventListener("click", () => {
    const now = THEMES.indexOf(root.dataset.theme ?? "system");
    set(THEMES[(now + 1) % THEMES.length]);
  });
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says what is shown
  byId("main").focus();
});
setUpTraces();
setUpKey();
setUpTheme();
addEventListener("hashchange", () => {
  route();
  (byId("team").hidden ? byId("main") : byId("team-task")).focus({ preventScroll: true });
  scrollTo(0, 0);
});
route();
