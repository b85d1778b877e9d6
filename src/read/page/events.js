// Server-sent events by fetch: EventSource can't send the API key in a header.

import { Refusal } from "./api.js";

/** A connection that says nothing for so long, not even a comment, is dead. Milliseconds. */
const SILENCE = 45_000;
const SHORTEST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;

/** Cuts text into events, as the HTML standard says. */
export class Parser {
  #rest = "";
  #type = "";
  #data = [];
  #id = "";
  #onEvent;

  /** `onEvent` is called with the type ("message" where none is named), the data and the last id so far. */
  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  push(text) {
    // A CR at the very end may be half of a CRLF: it waits for what follows.
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "event") this.#type = value;
    else if (name === "data") this.#data.push(value);
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    // What is left: comments, which keep the connection alive, and fields of later versions.
  }

  #dispatch() {
    const [type, data] = [this.#type, this.#data];
    this.#type = "";
    this.#data = [];
    this.#onEvent(type || "message", data.join("\n"), this.#id);
  }
}

/**
 * Follows a stream until `signal`, again and again from where it broke off. A refused key ends it with that [Refusal].
 *
 * - `connect(lastEventId, signal)` gives a response.
 * - `onOpen(isResumed)`: it is connected; unless it goes on behind the last event, some may have been missed.
 * - `onEvent(type, data)`: an event has come.
 * - `onBreak(problem)`: it is not connected any more, and will be tried again.
 */
export async function follow({ connect, onOpen, onEvent, onBreak, signal }) {
  let lastEventId = "";
  let failures = 0;
  while (!signal.aborted) {
    let problem = new Refusal("The server ended the connection.");
    const attempt = new AbortController();
    const watchdog = new Watchdog(() => attempt.abort());
    try {
      const response = await connect(lastEventId, AbortSignal.any([signal, attempt.signal]));
      onOpen(lastEventId !== "");
      const parser = new Parser((type, data, id) => {
        if (data !== "" || type !== "message") onEvent(type, data);
        // Only now: what threw must come again.
        lastEventId = id || lastEventId;
      });
      for await (const text of texts(response.body)) {
        watchdog.rest();
        parser.push(text);
        failures = 0;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refusal) problem = error;
      else if (!attempt.signal.aborted) problem = new Refusal(`The connection broke off (${error.message}).`);
      else problem = new Refusal("The server has gone silent.");
      if (problem.isOfKey) throw problem;
      // The server does not want the id: from the beginning, then.
      if (problem.status === 422) lastEventId = "";
    } finally {
      watchdog.stop();
      attempt.abort();
    }
    onBreak(problem);
    await pause(Math.max(problem.retryAfter, backOff(failures)), signal);
    failures += 1;
  }
}

async function* texts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

/** Grows with each failure; the random share keeps many pages from coming back at the same moment. */
function backOff(failures) {
  const longest = Math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** failures);
  return longest * (0.5 + Math.random() / 2);
}

/** Waits; shorter if the network comes back meanwhile. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}

/** Bites unless it is told to rest again and again. */
class Watchdog {
  #timer;
  #bite;

  constructor(bite) {
    this.#bite = bite;
    this.rest();
  }

  rest() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#bite, SILENCE);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}
