import { ask } from "/static/ask.js";

const ATTEMPTS = 5;
const PAUSE_MS = 700;

/**
 * Send one file in pieces; a lost connection is tried again.
 * @param {string} job its address
 * @param {number} pieceBytes
 * @param {import("./drop.js").Found} found
 * @param {{signal: AbortSignal, sent: (bytes: number) => void}} options sent: told after each piece
 */
export async function upload(job, pieceBytes, { name, file }, { signal, sent }) {
  const { file: number } = await patiently(() => ask(`${job}/files`, { json: { name, size_bytes: file.size }, signal }));
  let start = 0;
  do {
    const body = file.slice(start, start + pieceBytes);
    const url = `${job}/files/${number}?start=${start}`;
    const at = start;
    await patiently(async () => ask(url, { method: "PUT", body: await body.arrayBuffer(), signal }));
    start = at + body.size;
    sent(body.size);
  } while (start < file.size);
}

async function patiently(attempt) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (error.status !== 0 || tried === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * tried));
    }
  }
}
