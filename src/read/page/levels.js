// The table of service levels.

import { ask } from "./api.js";
import { clock, element, number, percent, say } from "./dom.js";

/** Milliseconds between two looks, and how soon after an event a look is worth it: the tables follow the log. */
const INTERVAL = 30_000;
const AFTER_EVENT = 2_000;

const section = document.querySelector("#levels");
const find = (selector) => section.querySelector(selector);

/** Asks and shows until `signal`. Returns a function that asks soon: something has changed. A refused key goes to `onKey`. */
export function watchLevels({ key, signal, onKey }) {
  let timer;
  let isSoon = false;
  const look = async () => {
    isSoon = false;
    let wait = INTERVAL;
    try {
      show(await ask("v1/sla?by=department", { key, signal }));
      say(find(".problem"), null);
    } catch (error) {
      if (signal.aborted) return;
      if (error.isOfKey) return onKey(error);
      say(find(".problem"), `${error.message} What is shown is old. Trying again.`);
      wait = Math.max(error.retryAfter, AFTER_EVENT);
    }
    // An event may have asked for the next one meanwhile.
    if (!isSoon) schedule(wait);
  };
  const schedule = (wait) => {
    clearTimeout(timer);
    timer = setTimeout(look, wait);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  look();
  return () => {
    if (isSoon || signal.aborted) return;
    isSoon = true;
    schedule(AFTER_EVENT);
  };
}

function show({ rows, total, as_of, stale }) {
  say(find(".stale"), stale ? "This may be out of date: a part behind the server does not answer." : null);
  say(find("[data-updated]"), `Updated ${clock(new Date())}`);
  find(".empty").hidden = rows.length > 0;
  find(".scroller").hidden = rows.length === 0;
  find("tbody").replaceChildren(...rows.map((row) => line(row.department ?? "(none)", row)));
  find("tfoot").replaceChildren(line("All", total));
  find(".position").hidden = !as_of;
  find(".position code").textContent = as_of ?? "";
}

function line(name, group) {
  return element("tr", {},
    element("th", { scope: "row" }, name),
    element("td", {}, share(group)),
    element("td", { class: group.overdue > 0 ? "overdue" : null }, number(group.overdue)),
    element("td", {}, number(group.closed)),
    element("td", {}, of(group.reported)),
    element("td", {}, of(group.default)));
}

/** The share as a text and a bar. */
function share({ compliance }) {
  if (compliance === null) return "–";
  const bar = element("span", { class: "share", "aria-hidden": "true" });
  bar.style.setProperty("--share-of", compliance);
  return [element("span", { class: "figure" }, percent(compliance)), " ", bar];
}

function of({ compliance, closed }) {
  if (closed === 0) return "–";
  return [percent(compliance), element("span", { class: "of" }, ` of ${number(closed)}`)];
}
