// Making elements. Text only ever becomes text nodes: names come from strangers.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
// A name that a stranger gave: its direction of writing stays its own.
const named = (text, limit = 64) => el("bdi", { class: "name" }, seen(text, limit) || "(no name)");

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setContent(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== ""));
}

// The same, only when `key` is another than the last time: what is selected stays selected.
function setWhenChanged(element, key, ...children) {
  if (element.shown === key) return;
  element.shown = key;
  setContent(element, ...children);
}

// Rows of `parent` for `items`; those that stay keep their element, and so the focus in it.
function keyed(parent, items, keyOf, make, update = () => {}) {
  const old = new Map();
  for (const child of parent.children) old.set(child.keyOfRow, child);
  const used = new Set();
  let at = 0;
  for (const item of items) {
    let key = String(keyOf(item));
    while (used.has(key)) key += "'";
    used.add(key);
    let row = old.get(key);
    if (row) old.delete(key);
    else {
      row = make(item);
      row.keyOfRow = key;
    }
    update(row, item);
    if (parent.children[at] !== row) parent.insertBefore(row, parent.children[at] ?? null);
    at += 1;
  }
  for (const gone of old.values()) gone.remove();
}

// A table of texts. columns: [{name, number?}]; rows: lists of strings or elements.
function tableOf(caption, columns, rows) {
  const cell = (content, n) => {
    const kind = columns[n].number ? { class: "number" } : {};
    return n === 0 ? el("th", { scope: "row", ...kind }, content) : el("td", kind, content);
  };
  return el("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, columns.map((column) => el("th", { scope: "col", class: column.number ? "number" : null }, column.name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell))))));
}

// "As a table" below a chart: made when it is opened, and again when `refresh` is called meanwhile.
function tableBehind(make, label = "As a table") {
  const inside = el("div", {});
  const details = el("details", { class: "behind" }, el("summary", {}, label), inside);
  const draw = () => setContent(inside, make());
  details.addEventListener("toggle", () => details.open && draw());
  details.refresh = () => details.open && draw();
  return details;
}

// A section of the page, in the navigation as well.
function section(id, title, ...children) {
  return el("section", { id, "aria-labelledby": `${id}-title`, "data-nav": title },
    el("h2", { id: `${id}-title` }, title), ...children);
}

const figure = (value, label, note = "") =>
  el("div", { class: "figure" }, el("dt", {}, label), el("dd", {}, el("strong", {}, value), note ? el("span", {}, note) : null));

function figures(items) {
  return el("dl", { class: "figures" }, items.filter(Boolean).map(([value, label, note]) => figure(value, label, note)));
}

function copyButton(text, what) {
  const button = el("button", { type: "button", class: "small" }, "Copy");
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      say(`Copied ${what}.`);
      setText(button, "Copied");
    } catch {
      say("The browser does not let this page copy: select the text.");
      setText(button, "Select it by hand");
    }
    setTimeout(() => setText(button, "Copy"), 3000);
  });
  return button;
}

// Said politely to a screen reader, and seen by nobody else.
function say(text) {
  const place = document.getElementById("said");
  if (place) setText(place, text);
}
