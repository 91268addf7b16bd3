import { Refused } from "./ask.js";

const KINDS = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

/**
 * One frame as the server sent it.
 * @typedef {{dtype: string, height: number, width: number, bytes: number,
 *   planes: (Uint8Array|Uint16Array|Float32Array)[]}} Raster  row-major planes, one each channel
 */

/**
 * Load a frame that `deadlib.web.raster_response` sends.
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<Raster>}
 * @throws {Refused} in the server's words
 */
export async function loadRaster(url, signal) {
  let response, buffer;
  try {
    response = await fetch(url, { signal, headers: { Accept: "application/octet-stream" } });
    buffer = await response.arrayBuffer();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached.", 0);
  }
  if (!response.ok) throw new Refused(words(buffer) ?? `The server answered ${response.status}.`, response.status);
  return decodeRaster(buffer, response.headers.get("X-Shape"), response.headers.get("X-Dtype"));
}

/**
 * @param {ArrayBuffer} buffer  little-endian, as every browser's machine is
 * @param {string} shape  "channels,height,width"
 * @param {string} dtype  uint8, uint16 or float32
 * @returns {Raster}  views into the buffer, not copies
 */
export function decodeRaster(buffer, shape, dtype) {
  const [channels, height, width] = String(shape).split(",").map(Number);
  const Kind = Object.hasOwn(KINDS, dtype) ? KINDS[dtype] : null;
  const pixels = height * width;
  if (!Kind || !(channels * pixels > 0) || buffer.byteLength !== channels * pixels * Kind.BYTES_PER_ELEMENT) {
    throw new Refused("The image did not arrive whole.", 0);
  }
  const planes = Array.from(
    { length: channels },
    (_, channel) => new Kind(buffer, channel * pixels * Kind.BYTES_PER_ELEMENT, pixels),
  );
  return { dtype, height, width, bytes: buffer.byteLength, planes };
}

function words(buffer) {
  try {
    return JSON.parse(new TextDecoder().decode(buffer)).error ?? null;
  } catch {
    return null;
  }
}
