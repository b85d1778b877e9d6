// What happened around an incident of the family interactions: its signals, and the events of its session.

import { ask } from "./api.js";
import { element, number } from "./dom.js";

/** Milliseconds of the session that are shown before the incident and behind it. */
const BEFORE = 60_000;
const BEHIND = 30_000;
/** Events that are shown at once. */
const EVENTS = 100;

/** The elements that show it. */
export async function showTimeline(incident, options) {
  const id = encodeURIComponent(incident.id);
  const [{ signals }, session] = await Promise.all([
    ask(`v1/incidents/${id}/signals?limit=1000`, options),
    sessionOf(incident, options),
  ]);
  const told = [heading(`Signals: ${number(signals.length)}`), list("signals", entries([], signals, incident))];
  if (!session) return [...told, hint("Its session is not in its table yet.")];
  const events = element("ol", { class: "timeline", tabindex: "-1" });
  const more = element("button", { type: "button" }, "Later events");
  const load = pages(session, incident, options);
  const next = async () => {
    const { shown, isLast } = await load();
    events.append(...shown);
    more.hidden = isLast;
  };
  await next();
  more.addEventListener("click", async () => {
    more.disabled = true;
    const last = events.lastElementChild;
    try {
      await next();
    } catch (error) {
      if (!options.signal.aborted) more.before(element("p", { class: "problem", role: "alert" }, error.message));
    }
    more.disabled = false;
    // Who works by keyboard goes on where the new ones begin.
    if (more.hidden) events.focus();
    else if (last?.nextElementSibling) more.focus();
  });
  const empty = events.hasChildNodes() ? null : hint("The events are no longer kept, or not in their table yet.");
  return [...told, heading("What happened around it"), empty, events, more].filter((part) => part !== null);
}

/** The session in which it happened: several may have the producer's name of it, one after the other. */
async function sessionOf({ attributes, started_at }, options) {
  const query = new URLSearchParams({ session: attributes.session ?? "", limit: 100 });
  const { sessions } = await ask(`v1/sessions?${query}`, options);
  const at = Date.parse(started_at);
  return sessions.find((session) => Date.parse(session.started_at) <= at && at <= Date.parse(session.ended_at));
}

/** A function that loads one page of the timeline after the other. */
function pages(session, incident, options) {
  const shift = (instant, by) => new Date(Date.parse(instant) + by).toISOString();
  const query = new URLSearchParams({
    from: shift(incident.started_at, -BEFORE),
    to: shift(incident.ended_at ?? incident.started_at, BEHIND),
    limit: EVENTS,
  });
  return async () => {
    const page = await ask(`v1/sessions/${encodeURIComponent(session.id)}/timeline?${query}`, options);
    if (page.next_cursor !== null) query.set("cursor", page.next_cursor);
    return { shown: entries(page.events, page.signals, incident), isLast: page.next_cursor === null };
  };
}

/** Events and signals in the order of time, a signal before the event with which it begins. */
function entries(events, signals, incident) {
  const { evidence_partition, evidence_offsets } = incident;
  const isEvidence = ({ partition, offset }) => partition === evidence_partition && evidence_offsets.includes(offset);
  const all = [
    ...signals.map((signal) => ({ at: signal.started_at, made: () => signalEntry(signal, incident) })),
    ...events.map((event) => ({
      at: event.occurred_at,
      made: () => eventEntry(event, incident, isEvidence(event)),
    })),
  ];
  // Sorting keeps the order of what happened at the same time.
  all.sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
  return all.map(({ made }) => made());
}

function signalEntry({ rule, element: selector, count, is_error, incident_id, started_at }, incident) {
  const notes = [`${number(count)} ${count === 1 ? "event" : "events"}`, is_error ? "the system answered with an error" : null];
  if (incident_id !== incident.id) notes.push("not of this incident");
  return element("li", { "data-signal": rule },
    since(started_at, incident),
    element("strong", {}, rule.replaceAll("_", " ")),
    element("span", {}, selector ? element("code", {}, selector) : null, ` ${notes.filter(Boolean).join(" · ")}`));
}

function eventEntry(event, incident, isEvidence) {
  return element("li", { "data-type": event.type },
    since(event.occurred_at, incident),
    element("span", {}, event.type.replaceAll("_", " ")),
    element("span", {}, what(event), isEvidence ? element("em", {}, " evidence") : null));
}

/** What is particular to an event, in a line. */
function what({ type, route, body }) {
  const parts = {
    navigation: () => [body.kind, "to", route],
    request: () => [body.method, body.route, body.status || "no answer", `in ${number(body.duration_ms)} ms`],
    error: () => [body.kind, body.name, body.message],
    custom: () => [body.name],
    mutation: () => [`${number(body.added)} added, ${number(body.removed)} removed`],
    move: () => [`${number(body.points.length)} points`],
    scroll: () => [`to ${number(body.x)}, ${number(body.y)}`],
    submit: () => [body.failed ? "failed" : null],
    validation_error: () => [body.code],
  }[type]?.() ?? [];
  const target = body.target ? body.target.selector || body.target.tag : null;
  return [...parts, target, body.form ? `form ${body.form}` : null].filter(Boolean).join(" ");
}

/** When, from the beginning of the incident. */
function since(instant, { started_at }) {
  const seconds = (Date.parse(instant) - Date.parse(started_at)) / 1000;
  const text = `${seconds < 0 ? "−" : "+"}${Math.abs(seconds).toFixed(3)} s`;
  return element("time", { datetime: instant, title: instant }, text);
}

const heading = (text) => element("h4", {}, text);
const hint = (text) => element("p", { class: "hint" }, text);
const list = (name, entries) => element("ol", { class: `timeline ${name}` }, entries);
