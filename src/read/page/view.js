// The section of incidents: shows and speaks what has changed, a little later and all at once.

import { number, say } from "./dom.js";
import { List } from "./list.js";

/** Milliseconds for which changes are gathered before they are shown, and before they are spoken. */
const GATHER = 100;
const SPEAK = 3_000;
/** Milliseconds after which "open 5 min" is looked at again. */
const TICK = 30_000;

const section = document.querySelector("#incidents");
const announcer = document.querySelector("#announcer");
const find = (selector) => section.querySelector(selector);

export class View {
  #incidents;
  #list;
  #fresh = new Set();
  #news = [];
  #drawing = null;
  #speaking = null;
  #isPaused = false;
  #waiting = 0;

  /** Shows `incidents` until the signal. */
  constructor(incidents, { key, signal }) {
    this.#incidents = incidents;
    this.#list = new List({ key, signal, take: (incident) => this.learn(incident) });
    for (const selector of [".problem", ".stale", "[data-count]"]) say(find(selector), null);
    find(".empty").hidden = true;
    find("#pause").onclick = () => this.#pause();
    this.#showPause();
    const tick = setInterval(() => this.#list.tick(), TICK);
    signal.addEventListener("abort", () => {
      clearInterval(tick);
      clearTimeout(this.#drawing);
      clearTimeout(this.#speaking);
    });
  }

  /** Takes in a version of an incident. */
  learn(incident) {
    const what = this.#incidents.take(incident);
    if (!what) return;
    this.#fresh.add(incident.id);
    this.#tell(what, `${incident.severity}, ${incident.title}`);
  }

  /** Takes in a retraction. */
  retract(retraction) {
    if (this.#incidents.retract(retraction)) this.#tell("retracted", null);
    // One that is not shown is counted.
    else this.#change();
  }

  /** A page of the list has been taken in. */
  loaded({ stale }) {
    say(find(".problem"), null);
    say(find(".stale"), stale ? "This may be out of date: a part behind the server does not answer." : null);
    if (!this.#isPaused) this.#draw();
  }

  /** The list can't be had. */
  problem(text) {
    say(find(".problem"), text);
  }

  #tell(what, which) {
    this.#news.push({ what, which });
    this.#speaking ??= setTimeout(() => this.#speak(), SPEAK);
    if (this.#isPaused) {
      this.#waiting += 1;
      this.#showPause();
    }
    this.#change();
  }

  #change() {
    if (!this.#isPaused) this.#drawing ??= setTimeout(() => this.#draw(), GATHER);
  }

  #pause() {
    this.#isPaused = !this.#isPaused;
    this.#waiting = 0;
    this.#showPause();
    if (!this.#isPaused) this.#draw();
  }

  #showPause() {
    find("#pause").setAttribute("aria-pressed", String(this.#isPaused));
    find("#pause").textContent = this.#waiting > 0 ? `Pause (${number(this.#waiting)} waiting)` : "Pause";
  }

  #draw() {
    clearTimeout(this.#drawing);
    this.#drawing = null;
    this.#incidents.trim();
    const rows = this.#incidents.newest();
    this.#list.show(rows, this.#fresh);
    this.#fresh.clear();
    const { total } = this.#incidents;
    find(".empty").hidden = total === null || rows.length > 0;
    const open = rows.filter(({ ended_at }) => ended_at === null).length;
    const shown = total > rows.length ? `Newest ${number(rows.length)} of ${number(total)}` : number(rows.length);
    say(find("[data-count]"), rows.length > 0 ? `${shown}, ${number(open)} open` : null);
  }

  /** One announcement for all that has happened meanwhile. */
  #speak() {
    this.#speaking = null;
    const news = this.#news.splice(0);
    const count = (what) => news.filter((one) => one.what === what).length;
    const counts = ["new", "changed", "retracted"].filter(count).map((what) => `${number(count(what))} ${what}`);
    const which = news.length === 1 && news[0].which ? `: ${news[0].which}` : "";
    announcer.textContent = `Incidents: ${counts.join(", ")}${which}`;
  }
}
