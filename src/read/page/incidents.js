// What the page knows of incidents: the newest of them, and how many there are. The same incident comes by the list and by the
// stream, in any order: the highest version wins.

/** Rows that are kept, the newest. */
const ROWS = 200;
/** Retractions that are remembered, so that an older list doesn't bring their incidents back. */
const RETRACTIONS = 1000;

export class Incidents {
  /** By id: the version, the incident (null: retracted), and in which round it was last heard of. */
  #known = new Map();
  #round = 0;
  /** The last row that is known; those behind it are counted only. Null where there are none. */
  #end = null;
  #total = null;

  /** Takes in a version of an incident; says whether it is "new", "changed", or nothing that was not known. */
  take(incident) {
    const known = this.#put(incident.id, BigInt(incident.version), incident);
    if (!known) return null;
    // What lies behind the end was counted with the list, unless a retraction has taken it away since.
    const isBehind = this.#isBehind(incident);
    if (isBehind) this.#known.delete(incident.id);
    const isNew = isBehind ? known.incident === null : !known.incident;
    if (isNew) this.#count(1);
    if (isBehind) return null;
    return isNew ? "new" : "changed";
  }

  /** Takes in a retraction; says whether something was "retracted". */
  retract({ id, version }) {
    const known = this.#put(id, BigInt(version), null);
    if (!known) return null;
    // One that is not known lies behind the end.
    if (known.incident || (known.incident === undefined && this.#end)) this.#count(-1);
    return known.incident ? "retracted" : null;
  }

  /** Forgets an incident that the server does not know. */
  forget(id) {
    if (this.#known.get(id)?.incident) this.#count(-1);
    this.#known.delete(id);
  }

  /** Takes in the first page of the list. */
  list({ incidents, next_cursor, total }) {
    for (const incident of incidents) this.#put(incident.id, BigInt(incident.version), incident);
    this.#end = next_cursor === null ? null : incidents.at(-1);
    for (const incident of this.newest()) {
      if (this.#isBehind(incident)) this.#known.delete(incident.id);
    }
    // The stream may be ahead of it, both ways.
    const listed = new Set(incidents.map(({ id }) => id));
    const told = this.newest().filter(({ id }) => !listed.has(id)).length;
    const gone = incidents.filter(({ id }) => this.#known.get(id)?.incident === null).length;
    this.#total = total + told - gone;
  }

  /** How many there are, those that are not known among them; null before the first list. */
  get total() {
    return this.#total;
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
    const rows = this.newest();
    if (rows.length > ROWS) this.#end = rows[ROWS - 1];
    for (const { id } of rows.slice(ROWS)) this.#known.delete(id);
    const retracted = [...this.#known].filter(([, { incident }]) => incident === null);
    // A map keeps the order in which its entries came.
    for (const [id] of retracted.slice(0, -RETRACTIONS)) this.#known.delete(id);
  }

  /** What was known before, `{}` for nothing; null where that is as new. */
  #put(id, version, incident) {
    const known = this.#known.get(id);
    if (known) known.round = this.#round;
    if (known && known.version >= version) return null;
    this.#known.delete(id);
    this.#known.set(id, { version, incident, round: this.#round });
    return known ?? {};
  }

  #count(change) {
    if (this.#total !== null) this.#total += change;
  }

  #isBehind(incident) {
    return this.#end !== null && newerFirst(this.#end, incident) < 0;
  }
}

/** As the API orders its list. */
function newerFirst(one, other) {
  const later = Date.parse(other.first_arrival) - Date.parse(one.first_arrival);
  if (later !== 0) return later;
  if (one.id === other.id) return 0;
  return order(one.id) < order(other.id) ? 1 : -1;
}

/** ClickHouse compares the second halves of ids first. */
function order(id) {
  return id.slice(19) + id.slice(0, 18);
}
