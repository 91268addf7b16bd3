/** What the server refused, in its own words; `status` is 0 where it could not be reached. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * Send a request to this server and give its JSON answer.
 * @param {string} url
 * @param {{method?: string, json?: object, body?: BodyInit, signal?: AbortSignal}} [options]
 *   `json` is sent as JSON; without `method` a request with a body is a POST.
 * @returns {Promise<any>} null where the answer is empty
 * @throws {Refused}
 */
export async function ask(url, { method, json, body, signal } = {}) {
  const sent = json === undefined ? body : JSON.stringify(json);
  const headers = { Accept: "application/json" };
  if (json !== undefined) headers["Content-Type"] = "application/json";
  const request = { method: method ?? (sent === undefined ? "GET" : "POST"), headers, body: sent, signal };
  let response;
  try {
    response = await fetch(url, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached.", 0);
  }
  const text = await response.text();
  const answer = parsed(text);
  if (!response.ok) throw new Refused(answer?.error ?? `The server answered ${response.status}.`, response.status);
  return answer;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
