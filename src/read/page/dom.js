// Making elements and texts. Data become text nodes only, never markup.

/** An element with attributes (null: none) and children, which are nodes or texts (null: none). */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value !== null) made.setAttribute(attribute, value);
  }
  made.append(...children.flat().filter((child) => child !== null));
  return made;
}

/** Shows a text in an element, or hides that where there is none. */
export function say(place, text) {
  if (place.textContent !== (text ?? "")) place.textContent = text ?? "";
  place.hidden = !text;
}

const NUMBER = new Intl.NumberFormat("en");
const PERCENT = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1 });
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
// The Swedish form is ISO 8601's.
const TIME = new Intl.DateTimeFormat("sv", { year: "numeric", month: "2-digit", day: "2-digit", ...CLOCK });
const EXACT = new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium" });

export const number = (value) => NUMBER.format(value);
export const percent = (share) => PERCENT.format(share);
export const zone = () => TIME.resolvedOptions().timeZone;

/** A `time` element, in the reader's zone; to the second if exact. */
export function time(rfc3339, { exact = false } = {}) {
  const format = exact ? EXACT : TIME;
  return element("time", { datetime: rfc3339, title: rfc3339 }, format.format(new Date(rfc3339)));
}

/** The time of day. */
export function clock(date) {
  return new Intl.DateTimeFormat("sv", { timeStyle: "medium" }).format(date);
}

const UNITS = [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]];

/** A span of time in at most two units, seconds only by themselves: "3 d 4 h", "5 min", "12 s". */
export function span(milliseconds) {
  let seconds = Math.max(0, Math.round(milliseconds / 1000));
  const first = Math.max(0, UNITS.findIndex(([, length]) => seconds >= length));
  const parts = UNITS.slice(first, first === 2 ? 3 : first + 2).map(([unit, length]) => {
    const count = Math.floor(seconds / length);
    seconds %= length;
    return [count, unit];
  });
  return parts.filter(([count]) => count > 0).map((part) => part.join(" ")).join(" ") || "0 s";
}
