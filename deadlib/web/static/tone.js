/** From stored values to what the screen shows: windows, gamma, colours added up. Pure functions. */

const STEPS = 65536;
const SAMPLED = 131072;
const FIELD = 0x3ff;
const PIECE = 16384;

/** The shares of pixels that automatic contrast lets go black and full. */
export const AUTO = [0.001, 0.999];

/**
 * The values at two shares of all finite values, 0 to 1, in their order (numpy's "inverted_cdf").
 * Whole numbers are counted, all of them; of more than 131072 floats every n-th is looked at.
 * @returns {[number, number]|null} null where nothing is finite
 */
export function quantiles(plane, shares) {
  return plane instanceof Float32Array ? sortedQuantiles(plane, shares) : countedQuantiles(plane, shares);
}

function countedQuantiles(plane, shares) {
  const counts = new Uint32Array(plane instanceof Uint8Array ? 256 : 65536);
  for (let i = 0; i < plane.length; i++) counts[plane[i]]++;
  return shares.map((share) => {
    const rank = Math.max(1, Math.ceil(share * plane.length));
    let value = 0;
    for (let seen = counts[0]; seen < rank; seen += counts[value]) value++;
    return value;
  });
}

function sortedQuantiles(plane, shares) {
  // odd, so that it is not in step with images whose width is a power of two
  const stride = plane.length > SAMPLED ? Math.ceil(plane.length / SAMPLED) | 1 : 1;
  const taken = new Float32Array(Math.ceil(plane.length / stride));
  let count = 0;
  for (let i = 0; i < plane.length; i += stride) if (Number.isFinite(plane[i])) taken[count++] = plane[i];
  if (!count) return null;
  const sorted = taken.subarray(0, count).sort();
  return shares.map((share) => sorted[Math.max(1, Math.ceil(share * count)) - 1]);
}

/**
 * What automatic contrast and sliders need to know of a plane.
 * @returns {{auto: [number, number], full: [number, number]}} auto: between the quantiles of AUTO;
 *   full: all that the type holds, as far as the values use it
 */
export function rangesOf(plane) {
  const auto = widened(quantiles(plane, AUTO));
  if (plane instanceof Float32Array) return { auto, full: widened(quantiles(plane, [0, 1])) };
  if (plane instanceof Uint8Array) return { auto, full: [0, 255] };
  const [largest] = quantiles(plane, [1]);
  return { auto, full: [0, 2 ** Math.max(8, Math.ceil(Math.log2(largest + 1))) - 1] };
}

/**
 * How a channel's window comes about: "auto", "full" or "hand".
 * @param {null|"auto"|"full"|{dtype: string, low: number, high: number}} setting  null: full for
 *   8 bit, else auto; a window by hand holds for values of its own type, others are shown as by null
 * @param {string} dtype
 */
export function modeOf(setting, dtype) {
  if (setting === "auto" || setting === "full") return setting;
  if (setting?.dtype === dtype) return "hand";
  return dtype === "uint8" ? "full" : "auto";
}

/** The window, [black, full], that a setting means where the values have these ranges. */
export function windowOf(setting, ranges, dtype) {
  const mode = modeOf(setting, dtype);
  return mode === "hand" ? [setting.low, setting.high] : ranges[mode];
}

function widened(window) {
  if (!window) return [0, 1];
  const [low, high] = window;
  return high > low ? [low, high] : [low, low + 1];
}

/**
 * How one channel is shown: what each step of its window adds to red, green and blue.
 * Full is the colour itself; below, brightness is (value's share of the window) ** gamma.
 * @param {[number, number]} window  black and full
 * @param {number} gamma  above 0; below 1 lifts the dark
 * @param {[number, number, number]} colour  0 to 255 each
 */
export function tone([low, high], gamma, [red, green, blue]) {
  const table = new Uint32Array(STEPS);
  for (let step = 0; step < STEPS; step++) {
    const light = (step / (STEPS - 1)) ** gamma;
    table[step] = (Math.round(light * red) << 20) | (Math.round(light * green) << 10) | Math.round(light * blue);
  }
  return { low, scale: (STEPS - 1) / (high - low), table };
}

/**
 * Add up the channels in their colours.
 * @param {(Uint8Array|Uint16Array|Float32Array)[]} planes  of the channels that are shown
 * @param {ReturnType<typeof tone>[]} tones  one each
 * @param {Uint8ClampedArray} rgba  is filled, opaque; four for each pixel
 */
export function compose(planes, tones, rgba) {
  const pixels = new Uint32Array(rgba.buffer, rgba.byteOffset, rgba.length / 4);
  const room = new Uint32Array(PIECE);
  // piece by piece, so that the sums of a large image take no memory
  for (let start = 0; start < pixels.length; start += PIECE) {
    const piece = pixels.subarray(start, start + PIECE);
    const sums = room.subarray(0, piece.length).fill(0);
    planes.forEach((plane, index) => {
      // three fields of ten bits hold four times 255
      if (index > 3) saturate(sums);
      add(plane.subarray(start, start + PIECE), tones[index], sums);
    });
    saturate(sums);
    for (let i = 0; i < sums.length; i++) {
      const sum = sums[i];
      piece[i] = 0xff000000 | ((sum & 0xff) << 16) | ((sum >>> 2) & 0xff00) | (sum >>> 20);
    }
  }
}

function add(plane, { low, scale, table }, sums) {
  const last = STEPS - 1;
  for (let i = 0; i < sums.length; i++) {
    const step = (plane[i] - low) * scale + 0.5;
    // written so that what is not a number is black
    sums[i] += table[step > 0 ? (step < last ? step | 0 : last) : 0];
  }
}

function saturate(sums) {
  for (let i = 0; i < sums.length; i++) {
    const sum = sums[i];
    const red = Math.min(sum >>> 20, 255);
    const green = Math.min((sum >>> 10) & FIELD, 255);
    sums[i] = (red << 20) | (green << 10) | Math.min(sum & FIELD, 255);
  }
}
