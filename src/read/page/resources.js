// Every resource that the server declares: a tab each, its filters, its rows, and each row in detail; live where it streams.

import { ask, open } from "./api.js";
import { showDetail } from "./detail.js";
import { element, number, say, time } from "./dom.js";
import { follow } from "./events.js";

/** Rows that are shown. */
const ROWS = 50;
/** Columns of the table: the others are in the detail. */
const COLUMNS = 7;
/** Milliseconds for which events are gathered before the list is read again. */
const GATHER = 1_000;
/** What says where a row comes from, and no more: in the detail. */
const UNSHOWN = new Set(["id", "version", "operator", "operator_version", "settings_version", "final"]);
/** What has a column. */
const PLAIN = new Set(["boolean", "integer", "number", "string", "enum", "date-time"]);

const section = document.querySelector("#resources");
const find = (selector) => section.querySelector(selector);

/** Shows the tabs, until `signal`. A refused key goes to `onKey`. */
export async function browse({ key, signal, onKey }) {
  let shown = new AbortController();
  const problem = (error) => {
    if (signal.aborted) return;
    if (error.isOfKey) onKey(error);
    else say(find(".problem"), error.message);
  };
  signal.addEventListener("abort", () => shown.abort());
  find("[data-rows]").replaceChildren();
  say(find(".problem"), null);
  try {
    const { resources } = await ask("v1/resources", { key, signal });
    find("nav").replaceChildren(...resources.map((resource) => {
      const tab = element("button", { type: "button", "aria-pressed": "false" }, words(resource.path));
      tab.addEventListener("click", () => {
        shown.abort();
        shown = new AbortController();
        for (const other of find("nav").children) other.setAttribute("aria-pressed", String(other === tab));
        show(resource, { key, signal: AbortSignal.any([signal, shown.signal]), problem });
      });
      return tab;
    }));
  } catch (error) {
    problem(error);
  }
}

/** Shows a resource until `signal`. */
function show(resource, { key, signal, problem }) {
  const form = element("form", { class: "filters" }, resource.filters.filter(({ name }) => !name.endsWith("*")).map(input));
  const count = element("p", { class: "hint", role: "status" });
  const columns = resource.fields.filter(({ name, type }) => PLAIN.has(type) && !UNSHOWN.has(name)).slice(0, COLUMNS);
  const head = element("tr", {}, columns.map(({ name, doc }) => element("th", { scope: "col", title: doc ?? null }, words(name))));
  const body = element("tbody");
  const table = element("table", {}, element("thead", {}, head), body);
  const scroller = element("div", { class: "scroller", role: "region", "aria-label": words(resource.path), tabindex: "0" }, table);
  find("[data-rows]").replaceChildren(form, count, scroller);
  let timer;
  const load = async () => {
    timer = undefined;
    const query = new URLSearchParams({ limit: ROWS });
    for (const [name, value] of new FormData(form)) {
      if (value !== "") query.set(name, form.elements[name].type === "datetime-local" ? new Date(value).toISOString() : value);
    }
    try {
      const page = await ask(`v1/${resource.path}?${query}`, { key, signal });
      const rows = page[resource.member];
      say(count, `${number(rows.length)} of ${number(page.total)}${page.stale ? "; this may be out of date" : ""}`);
      body.replaceChildren(...rows.flatMap((row) => line(resource, columns, row, { key, signal })));
      say(find(".problem"), null);
    } catch (error) {
      if (!signal.aborted) problem(error);
    }
  };
  const soon = () => {
    timer ??= setTimeout(load, GATHER);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", load);
  load();
  if (!resource.stream) return;
  const connect = (lastEventId, signal) => {
    const headers = { Accept: "text/event-stream", ...(lastEventId && { "Last-Event-ID": lastEventId }) };
    return open(`v1/${resource.path}/stream`, { key, signal, headers });
  };
  follow({ signal, connect, onOpen: soon, onEvent: soon, onBreak: () => {} }).catch(problem);
}

/** A filter, to be filled in. */
function input({ name, type, symbols, minimum, maximum, doc }) {
  const options = { enum: symbols, boolean: ["true", "false"] }[type];
  const kind = { integer: "number", "date-time": "datetime-local" }[type] ?? "text";
  const field = options
    ? element("select", { name }, ["", ...options].map((value) => element("option", { value }, value || "any")))
    : element("input", { name, type: kind, min: minimum ?? null, max: maximum ?? null, autocomplete: "off" });
  return element("label", { title: doc }, words(name), " ", field);
}

/** A row, and below it its detail, once it is opened. */
function line(resource, columns, row, { key, signal }) {
  const detail = element("td", { class: "detail", colspan: columns.length });
  const below = element("tr", { hidden: "" }, detail);
  const cells = columns.map(({ name, type }, place) => {
    const shown = cell(row[name], type);
    if (place > 0) return element("td", {}, shown);
    const button = element("button", { type: "button", class: "opens", "aria-expanded": "false" }, shown);
    button.addEventListener("click", () => {
      below.hidden = !below.hidden;
      button.setAttribute("aria-expanded", String(!below.hidden));
      if (!below.hidden) showDetail(detail, row, { resource: resource.path, key, signal, take: () => {} });
    });
    return element("th", { scope: "row" }, button);
  });
  return [element("tr", { id: `${resource.noun}-${row.id}` }, cells), below];
}

function cell(value, type) {
  if (value === null) return "–";
  return type === "date-time" ? time(value) : String(value);
}

const words = (text) => text.replaceAll(/[-_]/g, " ");
