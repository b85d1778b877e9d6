// What the page knows of incidents. The same incident comes by the list and by the stream, in any order: the highest
// version wins.

/** Rows that are kept, the newest by their beginning. */
const ROWS = 200;
/** Retractions that are remembered, so that an older list doesn't bring their incidents back. */
const RETRACTIONS = 1000;

export class Incidents {
  /** By id: the version, the incident (null: retracted), and in which round it was last heard of. */
  #known = new Map();
  #round = 0;

  /** Takes in a version of an incident; says whether it is "new", "changed", or nothing that was not known. */
  take(incident) {
    return this.#put(incident.id, BigInt(incident.version), incident);
  }

  /** Takes in a retraction; says whether something was "retracted". */
  retract({ id, version }) {
    const was = this.#known.get(id)?.incident;
    return this.#put(id, BigInt(version), null) && was ? "retracted" : null;
  }

  /** Forgets an incident that the server does not know. */
  forget(id) {
    this.#known.delete(id);
  }

  /** The incidents, the newest first. */
  newest() {
    const rows = [...this.#known.values()].flatMap(({ incident }) => incident ?? []);
    return rows.sort(newerFirst);
  }

  /** From here on what is known may be out of date, until it is heard of again. */
  doubt() {
    this.#round += 1;
  }

  /** The incidents that were not heard of since the doubt. */
  doubtful() {
    const rows = [...this.#known.values()].filter(({ round }) => round < this.#round);
    return rows.flatMap(({ incident }) => incident ?? []);
  }

  /** Lets go what is too much. */
  trim() {
    for (const { id } of this.newest().slice(ROWS)) this.#known.delete(id);
    const retracted = [...this.#known].filter(([, { incident }]) => incident === null);
    // A map keeps the order in which its entries came.
    for (const [id] of retracted.slice(0, -RETRACTIONS)) this.#known.delete(id);
  }

  #put(id, version, incident) {
    const known = this.#known.get(id);
    if (known) known.round = this.#round;
    if (known && known.version >= version) return null;
    this.#known.delete(id);
    this.#known.set(id, { version, incident, round: this.#round });
    return known?.incident ? "changed" : "new";
  }
}

/** As the API orders its list. */
function newerFirst(one, other) {
  const later = Date.parse(other.started_at) - Date.parse(one.started_at);
  if (later !== 0) return later;
  return one.id < other.id ? 1 : -1;
}
