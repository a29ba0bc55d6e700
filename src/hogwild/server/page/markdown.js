// Markdown with formulas, from text that nobody vouches for. What a model writes as HTML is shown as it is written;
// images are links; what comes out of marked goes through DOMPurify all the same, with a short list of what may pass.

import { Marked } from "./vendor/marked/marked.js";
import "./vendor/dompurify/purify.js"; // sets globalThis.DOMPurify

const TAGS = "p br hr em strong del code pre ul ol li blockquote h3 h4 h5 h6 table thead tbody tr th td a span div".split(" ");
const ALLOWED = {
  ALLOWED_TAGS: TAGS,
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:|mailto:)/i,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const LONGEST = 200_000; // characters; more than that is shown as plain text

const encode = (text) => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);

const formula = (name, level, begin, pattern) => ({
  name,
  level,
  start: (text) => {
    const at = text.search(begin);
    return at < 0 ? undefined : at;
  },
  tokenizer(text) {
    const found = pattern.exec(text);
    return found ? { type: name, raw: found[0], tex: found.slice(1).find((group) => group !== undefined) } : undefined;
  },
  renderer: ({ raw, tex }) => `<span class="${/^(\$\$|\\\[)/.test(raw) ? "math-display" : "math"}">${encode(tex)}</span>`,
});

const marked = new Marked({
  gfm: true,
  breaks: false,
});
marked.use({
  extensions: [
    formula("mathBlock", "block", /\$\$|\\\[/, /^(?:\$\$([^]+?)\$\$|\\\[([^]+?)\\\])\s*(?:\n|$)/),
    // A dollar begins a formula only if no space follows, and ends it only if no digit does: $5 and $6 are prices.
    formula("mathInline", "inline", /\$|\\\(|\\\[|\\boxed\{/, /^(?:\$\$([^$]+?)\$\$|\$(?![\s$])((?:\\.|[^\\$\n])+?)(?<!\s)\$(?!\d)|\\\(([^]+?)\\\)|\\\[([^]+?)\\\]|(\\boxed\{(?:[^{}\n]|\{[^{}\n]*\})*\}))/),
  ],
  renderer: {
    html: ({ text }) => encode(text),
    image: ({ href, text }) => `<a href="${encode(href)}">${encode(text || href)}</a>`,
    heading({ tokens, depth }) {
      const tag = `h${Math.min(depth + 2, 6)}`; // below the headings of the page
      return `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

/** Replace what `element` holds by `text` as Markdown. Formulas are set when KaTeX has come, at the first that is there. */
export function show(element, text) {
  element.replaceChildren(render(text));
  const found = element.querySelectorAll(".math, .math-display");
  if (found.length) typeset([...found]);
}

function render(text) {
  if (text.length > LONGEST) return document.createTextNode(text);
  const fragment = globalThis.DOMPurify.sanitize(marked.parse(text), ALLOWED);
  for (const one of fragment.querySelectorAll("[class]")) {
    const known = ["math", "math-display"].includes(one.className) && one.localName === "span";
    if (!known) one.removeAttribute("class");
  }
  for (const link of fragment.querySelectorAll("a")) {
    if (!link.getAttribute("href")) link.replaceWith(...link.childNodes);
    else Object.assign(link, { target: "_blank", rel: "noopener noreferrer nofollow" });
  }
  for (const wide of fragment.querySelectorAll("pre, table")) {
    const frame = document.createElement("div"); // scrolls by itself, with the keyboard too
    frame.className = "wide";
    frame.tabIndex = 0;
    frame.setAttribute("role", "region");
    frame.setAttribute("aria-label", wide.localName === "pre" ? "code" : "table");
    wide.replaceWith(frame);
    frame.append(wide);
  }
  return fragment;
}

let katex; // a promise of it, once it is wanted

function load() {
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet";
  sheet.href = new URL("vendor/katex/katex.css", import.meta.url).href;
  document.head.append(sheet);
  return import("./vendor/katex/katex.js").then(() => globalThis.katex);
}

async function typeset(elements) {
  const { render } = await (katex ??= load());
  for (const element of elements) {
    const tex = element.textContent;
    const displayMode = element.classList.contains("math-display");
    // trust: no links, classes or images from TeX; maxExpand, maxSize: no formula that fills memory or the screen.
    render(tex, element, { displayMode, throwOnError: false, trust: false, strict: "ignore", maxExpand: 200, maxSize: 20 });
  }
}
