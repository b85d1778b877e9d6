// The rows of incidents: each is a button that opens it.

import { element, span, time } from "./dom.js";
import { showDetail } from "./detail.js";

const list = document.querySelector("#incident-list");

/** The list on the page, under one key. */
export class List {
  #key;
  #signal;
  #take;
  /** By id: its elements, its version, what ends the loading of its detail. */
  #rows = new Map();

  /** `take` gets what is learned when a row is opened. */
  constructor({ key, signal, take }) {
    this.#key = key;
    this.#signal = signal;
    this.#take = take;
    list.replaceChildren();
  }

  /** Shows these incidents in this order. `fresh` are the ids of those that have just arrived. */
  show(incidents, fresh) {
    const wanted = new Set(incidents.map(({ id }) => id));
    for (const id of [...this.#rows.keys()]) {
      if (!wanted.has(id)) this.#remove(id);
    }
    let place = list.firstElementChild;
    for (const incident of incidents) {
      const row = this.#rows.get(incident.id) ?? this.#add(incident);
      if (fresh.has(incident.id)) mark(row.item);
      this.#fill(row, incident);
      // A row that stands where it should is not touched: it may have the focus.
      if (row.item === place) place = place.nextElementSibling;
      else list.insertBefore(row.item, place);
    }
  }

  /** How long what is open has been open changes by itself. */
  tick() {
    for (const { state, incident } of this.#rows.values()) fillState(state, incident);
  }

  #add({ id }) {
    const detail = element("div", { class: "detail", id: `detail-${id}`, hidden: "" });
    const [severity, title, traits, when, state] =
      ["severity", "title", "traits", "when", "state"].map((name) => element("span", { class: name }));
    const what = element("span", { class: "what" }, title, " ", traits);
    const button = element("button", { type: "button", "aria-expanded": "false", "aria-controls": detail.id },
      severity, " ", what, " ", when, " ", state);
    const item = element("li", { id: `incident-${id}` }, element("h3", {}, button), detail);
    const row = { item, button, detail, severity, title, traits, when, state, incident: null, loading: null };
    button.addEventListener("click", () => this.#toggle(row));
    this.#rows.set(id, row);
    return row;
  }

  #fill(row, incident) {
    if (row.incident?.version === incident.version) return;
    row.incident = incident;
    row.item.dataset.severity = incident.severity;
    row.item.dataset.version = incident.version;
    row.item.dataset.open = incident.ended_at === null;
    row.severity.textContent = incident.severity;
    row.title.textContent = incident.title;
    row.traits.textContent = traits(incident);
    row.when.replaceChildren(time(incident.started_at));
    fillState(row.state, incident);
    if (!row.detail.hidden) this.#load(row);
  }

  #toggle(row) {
    row.detail.hidden = !row.detail.hidden;
    row.button.setAttribute("aria-expanded", String(!row.detail.hidden));
    if (row.detail.hidden) row.loading?.abort();
    else this.#load(row);
  }

  #load(row) {
    row.loading?.abort();
    row.loading = new AbortController();
    const signal = AbortSignal.any([this.#signal, row.loading.signal]);
    showDetail(row.detail, row.incident, { key: this.#key, signal, take: this.#take });
  }

  #remove(id) {
    const { item, loading } = this.#rows.get(id);
    loading?.abort();
    // Who works by keyboard must not be thrown back to the top of the page.
    if (item.contains(document.activeElement)) {
      const next = item.nextElementSibling ?? item.previousElementSibling;
      (next?.querySelector("button") ?? document.querySelector("#incidents")).focus();
    }
    item.remove();
    this.#rows.delete(id);
  }
}

/** Attributes that say nothing in a row: the rules are said as such, and a session's name is only a name. */
const UNSAID = new Set(["rules", "session"]);

/** Which rules found it, where, and what else is particular to it. */
function traits({ rule, attributes }) {
  const words = (text) => text.replaceAll("_", " ");
  const rules = (attributes.rules ?? rule).split(",").map(words).join(", ");
  const others = Object.entries(attributes).filter(([name]) => !UNSAID.has(name));
  return [rules, ...others.map(([name, value]) => `${words(name)} ${value}`)].join(" · ");
}

function fillState(state, { started_at, ended_at }) {
  const until = ended_at === null ? Date.now() : Date.parse(ended_at);
  const length = span(until - Date.parse(started_at));
  const text = ended_at === null ? `open ${length}` : `ended after ${length}`;
  if (state.textContent !== text) state.textContent = text;
}

/** Draws the eye for a moment. */
function mark(item) {
  item.classList.add("fresh");
  item.addEventListener("animationend", () => item.classList.remove("fresh"), { once: true });
}
