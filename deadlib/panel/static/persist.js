import { ask, Refused } from "/static/ask.js";

const WAITS_S = [0.5, 1, 2, 4, 8];
const TRY_MS = 20000;
const PASSING = new Set([0, 429, 502, 503, 504]);

/**
 * Ask the server until it answers. Only what is safe to be sent twice may be sent like this.
 * @param {string} url
 * @param {object} [json] sent as JSON
 * @param {(problem: string|null) => void} tell called with what is wrong when an attempt failed and
 *   another follows, and with null when the server has answered after that
 * @returns {Promise<any>}
 * @throws {Refused} where the server answered, and refused
 */
export async function persist(url, json, tell) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      const answer = await once(url, json);
      if (attempt > 0) tell(null);
      return answer;
    } catch (error) {
      if (!(error instanceof Refused) || !PASSING.has(error.status)) {
        if (attempt > 0) tell(null);
        throw error;
      }
      tell(error.message);
      await pause(WAITS_S[Math.min(attempt, WAITS_S.length - 1)] * 1000);
    }
  }
}

async function once(url, json) {
  try {
    return await ask(url, { json, signal: AbortSignal.timeout(TRY_MS) });
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused("The server does not answer.", 0);
  }
}

/** Wait, or go on at once where the browser says that the network is back. */
function pause(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(go, milliseconds);
    window.addEventListener("online", go);
    function go() {
      clearTimeout(timer);
      window.removeEventListener("online", go);
      resolve();
    }
  });
}
