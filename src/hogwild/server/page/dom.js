// Elements are made of text nodes and attributes only: nothing that comes from outside is ever parsed as HTML here.

/** The element of the page with this id. */
export const byId = (id) => document.getElementById(id);

/** A new element. `attributes` that are functions listen to the event of their name; children may be strings. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Set an attribute (null: none), and touch nothing if it is so: a browser works out the style of all below anew. */
export function attr(element, name, value) {
  const wanted = value === null ? null : String(value);
  if (element.getAttribute(name) === wanted) return;
  if (wanted === null) element.removeAttribute(name);
  else element.setAttribute(name, wanted);
}

/** Set the text of an element, and touch nothing if it has it. A text that only grew gets what is new. */
export function setText(element, text) {
  const node = element.firstChild ?? element.appendChild(document.createTextNode(""));
  if (node.data === text) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

/** Make the children of `parent` those of `keys`, in order; `make(key)` makes the ones that are not there yet. */
export function keep(parent, keys, make) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  keys.forEach((key, index) => {
    let child = old.get(String(key));
    if (!child) {
      child = make(key);
      child.dataset.key = key;
    }
    old.delete(String(key));
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
  for (const child of old.values()) child.remove();
  return [...parent.children];
}

/**
 * Do `change`; the boxes of class `follow` whose reader was at their lower end stay there, new ones begin there.
 * All are measured first, so that the browser lays the page out once.
 */
export function following(change) {
  const gone = new Set([...document.querySelectorAll(".follow")].filter((box) => !atEnd(box)));
  change();
  const boxes = [...document.querySelectorAll(".follow")].filter((box) => !gone.has(box));
  for (const [box, end] of boxes.map((box) => [box, box.scrollHeight])) box.scrollTop = end;
}

const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 24;

/** 1234.5 as 1,234.5 */
export const number = (value, digits = 0) => FORMATS[digits].format(value);

const FORMATS = [0, 1].map((digits) =>
  new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }),
);

/** 1 pass, 2 passes. */
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** 4.2 s, 3 min 05 s. */
export function duration(seconds) {
  if (seconds < 60) return `${number(seconds, 1)} s`;
  return `${Math.floor(seconds / 60)} min ${String(Math.floor(seconds % 60)).padStart(2, "0")} s`;
}
