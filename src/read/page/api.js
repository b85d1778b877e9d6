// Asking the API: the key, the error body, the server that does not answer.

/** A request that was refused, or not answered at all. */
export class Refusal extends Error {
  /**
   * @param {string} message for people
   * @param {number} status of HTTP; 0: no answer
   * @param {number} retryAfter milliseconds after which the server wants to be asked again; 0: it did not say
   */
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether another key is needed: trying again would not help. */
  get isOfKey() {
    return this.status === 401 || this.status === 403;
  }
}

/** Whether a header can carry the key. */
export function isKey(text) {
  return /^[\x21-\x7e]+$/.test(text);
}

/** The response to a GET, if it is a success; a [Refusal] otherwise. */
export async function open(path, { key, signal, headers = {} }) {
  let response;
  try {
    response = await fetch(path, {
      headers: { Authorization: `Bearer ${key}`, ...headers },
      // The server says by ETag whether what the browser has still holds.
      cache: "no-cache",
      credentials: "omit",
      signal,
    });
  } catch (error) {
    signal?.throwIfAborted();
    throw new Refusal(`The server does not answer (${error.message}).`);
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** The JSON that answers a GET. */
export async function ask(path, options) {
  const response = await open(path, options);
  try {
    return await response.json();
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new Refusal(`The answer to ${path} broke off (${error.message}).`, response.status);
  }
}

async function refusal(response) {
  const retryAfter = 1000 * (Number(response.headers.get("Retry-After")) || 0);
  let message = `The server answered ${response.status}.`;
  try {
    const { error } = await response.json();
    const details = error.details ? ` (${error.details.field}: ${error.details.reason})` : "";
    message = `${sentence(error.message)}${details}`;
  } catch {
    // Something between us and the server has answered: its status has to do.
  }
  return new Refusal(message, response.status, retryAfter);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
