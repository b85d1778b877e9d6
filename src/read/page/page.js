// The page: a key opens it; then the stream is followed, the list loaded, and both merged.

import { ask, isKey, open } from "./api.js";
import { say, zone } from "./dom.js";
import { follow } from "./events.js";
import { Incidents } from "./incidents.js";
import { watchLevels } from "./levels.js";
import { browse } from "./resources.js";
import { View } from "./view.js";

const STORED = "tidewatch.key";
/** Milliseconds after which a list that could not be had is asked for again. */
const RETRY = 5_000;

const byId = (id) => document.getElementById(id);

/** Ends all that runs under the present key. */
let session = new AbortController();

function connection(state, text) {
  byId("connection").dataset.state = state;
  say(byId("connection"), text);
}

/** Asks for a key, with the reason why the last one did not do. */
function close(problem) {
  session.abort();
  sessionStorage.removeItem(STORED);
  show({ isOpen: false });
  connection("none", problem ? "API key refused" : "No API key");
  say(byId("key-problem"), problem);
  byId("key").value = "";
  byId("key").focus();
}

function show({ isOpen }) {
  byId("door").hidden = isOpen;
  for (const id of ["levels", "incidents", "resources", "forget"]) byId(id).hidden = !isOpen;
}

function enter(key) {
  session.abort();
  if (!isKey(key)) return close("An API key has only visible ASCII characters.");
  session = new AbortController();
  sessionStorage.setItem(STORED, key);
  say(byId("key-problem"), null);
  show({ isOpen: true });
  connection("connecting", "Connecting");
  watch(key, session.signal);
}

/** Follows the incidents and the levels under a key. */
function watch(key, signal) {
  const family = byId("family").value;
  const query = (parameters) => new URLSearchParams({ ...(family && { family }), ...parameters });
  const incidents = new Incidents();
  const refused = (error) => {
    if (!signal.aborted) close(error.message);
  };
  const view = new View(incidents, { key, signal });
  const levelsChanged = watchLevels({ key, signal, onKey: refused });
  browse({ key, signal, onKey: refused });

  /** Loads the list, after which nothing is left that may have been missed. */
  const load = async () => {
    try {
      const page = await ask(`v1/incidents?${query({ limit: 100 })}`, { key, signal });
      incidents.list(page);
      await settle(incidents, { key, signal });
      view.loaded(page);
    } catch (error) {
      if (signal.aborted) return;
      if (error.isOfKey) return refused(error);
      view.problem(`${error.message} Trying again.`);
      setTimeout(() => signal.aborted || load(), Math.max(error.retryAfter, RETRY));
    }
  };
  const reload = () => {
    incidents.doubt();
    load();
  };

  follow({
    signal,
    connect: (lastEventId, signal) => {
      const headers = { Accept: "text/event-stream", ...(lastEventId && { "Last-Event-ID": lastEventId }) };
      // The tables may lag behind the log: what the list will lack comes by the stream.
      return open(`v1/incidents/stream?${query({ begin: "stored" })}`, { key, signal, headers });
    },
    onOpen: (isResumed) => {
      connection("live", "Live");
      levelsChanged();
      // The stream first, which begins with what the tables do not hold yet, then the list: between them they have it all.
      if (!isResumed) reload();
    },
    onEvent: (type, data) => {
      if (type === "incident") view.learn(JSON.parse(data));
      else if (type === "retraction") view.retract(JSON.parse(data));
      else if (type === "reset") reload();
      levelsChanged();
    },
    onBreak: (problem) => {
      connection("broken", `Reconnecting: what is shown may be old. ${problem.message}`);
      levelsChanged();
    },
  }).catch(refused);
}

/** After a reset: what the new list does not have, though it should, is asked for one by one. */
async function settle(incidents, options) {
  for (const { id } of incidents.doubtful()) {
    await ask(`v1/incidents/${encodeURIComponent(id)}`, options).then(
      (incident) => incidents.take(incident),
      (error) => {
        if (error.status !== 404) throw error;
        incidents.forget(id);
      },
    );
  }
}

/** The key that the address carries, which then no longer does: addresses are copied and shown. */
function keyOfAddress() {
  const [, key] = /^#key=(.*)$/.exec(location.hash) ?? [];
  if (key === undefined) return null;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  enter(byId("key").value.trim());
});
byId("forget").addEventListener("click", () => close(null));
byId("family").addEventListener("change", () => enter(sessionStorage.getItem(STORED)));
addEventListener("hashchange", () => {
  const key = keyOfAddress();
  if (key !== null) enter(key);
});
byId("time-zone").textContent = zone();

const key = keyOfAddress() ?? sessionStorage.getItem(STORED);
if (key) enter(key);
else close(null);
