// An opened row, of incidents or of any resource: what it says, what happened around it, and why: its versions and the records behind it, read back from
// the log.

import { ask } from "./api.js";
import { element, number, time } from "./dom.js";
import { showTimeline } from "./timeline.js";

/** What the row says already, or what only the evidence can say better. */
const LEFT_OUT = new Set(["evidence_topic", "evidence_partition", "evidence_offsets", "as_of", "stale"]);
/** A time, as the API spells it. */
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;

/** Loads a row and its evidence, and shows them in `place`; `take` gets the row, which may be a newer version. */
export async function showDetail(place, shown, { resource = "incidents", key, signal, take }) {
  place.setAttribute("aria-busy", "true");
  if (!place.hasChildNodes()) place.append(element("p", { class: "hint" }, "Reading the log …"));
  const path = `v1/${resource}/${encodeURIComponent(shown.id)}`;
  const isOfSession = resource === "incidents" && shown.family === "interactions";
  const parts = await Promise.all([
    attempt(ask(path, { key, signal }), (answer) => {
      take(answer);
      return [...staleness(answer), facts(answer, resource === "incidents" ? ["title"] : [])];
    }),
    isOfSession ? attempt(showTimeline(shown, { key, signal }), (elements) => elements) : [],
    attempt(ask(`${path}/evidence`, { key, signal }), (answer) => [...history(answer), ...records(answer)]),
  ]);
  if (signal.aborted) return;
  place.replaceChildren(...parts.flat());
  place.removeAttribute("aria-busy");
}

/** What `show` makes of the answer, or the problem instead. */
async function attempt(answer, show) {
  try {
    return show(await answer);
  } catch (error) {
    return [element("p", { class: "problem", role: "alert" }, error.message)];
  }
}

function staleness({ stale }) {
  return stale ? [element("p", { class: "stale" }, "This may be out of date.")] : [];
}

/** Its fields, without those that are `said` already; behind them the entries of those that are maps. */
function facts(row, said) {
  const isMap = ([, value]) => value !== null && typeof value === "object" && !Array.isArray(value);
  const fields = Object.entries(row).filter(([name]) => !LEFT_OUT.has(name) && !said.includes(name));
  const entries = fields.filter(isMap).flatMap(([, map]) => Object.entries(map));
  return element("dl", {}, [...fields.filter((field) => !isMap(field)), ...entries].map(fact));
}

function fact([name, value]) {
  const text = value === null ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const shown = INSTANT.test(text) ? time(text, { exact: true }) : text;
  return element("div", {}, element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, shown));
}

function history({ versions, versions_taken_before: cut }) {
  const older = cut === null ? null : element("p", { class: "hint" }, "Retention has taken what was before.");
  return [element("h4", {}, "Versions"), element("ol", { class: "versions" }, versions.map(version)), ...[older ?? []].flat()];
}

function version({ log, row, retracted, merged_into, evidence_count, settings_version, final }) {
  const state = retracted ? `retracted${merged_into ? `, merged into ${merged_into}` : ""}` : row?.ended_at ? "ended" : "holds";
  const notes = [state, `evidence ${number(evidence_count)}`, `settings ${settings_version}`, final ? "final" : null];
  return element("li", {},
    log ? time(log.append_time, { exact: true }) : "no longer on the log",
    log ? element("code", {}, `${log.partition}@${log.offset}`) : null,
    element("span", {}, notes.filter(Boolean).join(" · ")));
}

function records({ evidence: { count, not_named: notNamed, records } }) {
  const hint = notNamed > 0 ? `, ${number(notNamed)} of them between the first and the last are not named` : "";
  return [
    element("h4", {}, `Evidence: ${number(count)} ${count === 1 ? "record" : "records"}${hint}`),
    element("ol", { class: "records" }, records.map(record)),
  ];
}

const GONE = {
  taken: "Retention has taken this record.",
  missing: "This record is missing: the topic was made anew.",
  another_record: "Another record lies here: the topic was made anew.",
};

function record({ topic, partition, offset, event_id, state, event_time, append_time, value }) {
  const place = element("code", {}, `${topic}/${partition}@${offset}`);
  if (state !== "read") return element("li", {}, place, ` ${GONE[state] ?? state} (${event_id})`);
  return element("li", {},
    element("p", {}, place, " ", time(event_time, { exact: true }), " · appended ", time(append_time, { exact: true }), " · ", event_id),
    element("pre", {}, JSON.stringify(value, null, 2)));
}
