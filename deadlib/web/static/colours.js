/** Colours of channels, and the map of heat. */

const NAMES = {
  white: "#ffffff", grey: "#ffffff", gray: "#ffffff", red: "#ff0000", green: "#00ff00", blue: "#0000ff",
  cyan: "#00ffff", magenta: "#ff00ff", yellow: "#ffff00", orange: "#ff8000",
};

/** Neighbours that people of any colour vision tell apart, green and magenta first. */
const ORDER = ["#00ff00", "#ff00ff", "#3c64ff", "#ffff00", "#00ffff", "#ff5a3c", "#ffffff"];

/**
 * A colour as "#rrggbb", from that or a plain name; null if it is neither.
 * @param {unknown} colour
 */
export function hexColour(colour) {
  if (typeof colour !== "string") return null;
  const text = colour.trim().toLowerCase();
  if (Object.hasOwn(NAMES, text)) return NAMES[text];
  return /^#[0-9a-f]{6}$/.test(text) ? text : null;
}

/** Red, green and blue, 0 to 255, of "#rrggbb". */
export function parts(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

/**
 * The colour of each channel where none is set: a single one white, red/green/blue what they say,
 * others in an order of our own.
 * @param {{name: string, colour?: string}[]} channels
 */
export function coloursOf(channels) {
  return channels.map(({ name, colour }, index) => {
    const own = hexColour(colour) ?? (channels.length > 1 ? hexColour(name) : null);
    return own ?? (channels.length === 1 ? "#ffffff" : ORDER[index % ORDER.length]);
  });
}

// anchors of matplotlib's viridis, which is public domain; what it is between them is read off lines
const HEAT = [
  "#440154", "#48186a", "#472d7b", "#424086", "#3b528b", "#33638d", "#2c728e", "#26828e", "#21918c",
  "#1fa088", "#28ae80", "#3fbc73", "#5ec962", "#84d44b", "#addc30", "#d8e219", "#fde725",
];

/** The colour of heat at a share of its scale, 0 to 1: dark blue to yellow, brighter all the way. */
export function heatColour(share) {
  const place = Math.min(Math.max(share, 0), 1) * (HEAT.length - 1);
  const before = Math.min(Math.floor(place), HEAT.length - 2);
  const [from, to] = [parts(HEAT[before]), parts(HEAT[before + 1])];
  return from.map((value, index) => Math.round(value + (to[index] - value) * (place - before)));
}

/**
 * Paint heat into a canvas of its size, a pixel for each value; what is not a number is transparent.
 * @param {HTMLCanvasElement} canvas
 * @param {{values: ArrayLike<number>, low: number, high: number}} heat  row-major
 */
export function paintHeat(canvas, { values, low, high }) {
  const image = new ImageData(canvas.width, canvas.height);
  const table = Array.from({ length: 256 }, (_, step) => [...heatColour(step / 255), 255]);
  const scale = 255 / (high - low || 1);
  values.forEach((value, index) => {
    if (!Number.isFinite(value)) return;
    image.data.set(table[Math.min(Math.max(Math.round((value - low) * scale), 0), 255)], 4 * index);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}
