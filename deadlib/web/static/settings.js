import { hexColour } from "./colours.js";

/** What is kept between items: for all of them, and for each channel by its name. */
export const DEFAULT = { gamma: 1, smooth: false, opacity: 0.5, speed: null, zoom: null, channels: {} };

/**
 * Settings from anywhere (a page, an older version, a hand) as settings; what does not fit is left out.
 * @param {any} found
 */
export function readSettings(found) {
  const inside = (value, low, high, other) => (value >= low && value <= high ? Number(value) : other);
  const { zoom, channels } = found ?? {};
  return {
    gamma: inside(found?.gamma, 0.2, 3, DEFAULT.gamma),
    smooth: found?.smooth === true,
    opacity: inside(found?.opacity, 0, 1, DEFAULT.opacity),
    speed: inside(found?.speed, 0.2, 60, null),
    zoom: zoom && [zoom.scale, zoom.x, zoom.y].every(Number.isFinite) && zoom.scale > 0 ? { ...zoom } : null,
    channels: Object.fromEntries(
      Object.entries(channels ?? {}).map(([name, channel]) => [name, readChannel(channel)]),
    ),
  };
}

function readChannel(found) {
  return { on: found?.on !== false, colour: hexColour(found?.colour), window: readWindow(found?.window) };
}

function readWindow(found) {
  if (found === "auto" || found === "full") return found;
  const { dtype, low, high } = found ?? {};
  return typeof dtype === "string" && Number.isFinite(low) && high > low ? { dtype, low, high } : null;
}

/** Settings that an earlier page kept in this browser under a name. */
export function remembered(name) {
  try {
    return readSettings(JSON.parse(localStorage.getItem(`viewer ${name}`)));
  } catch {
    return readSettings(null);
  }
}

export function remember(name, settings) {
  try {
    localStorage.setItem(`viewer ${name}`, JSON.stringify(settings));
  } catch {
    // a browser that keeps nothing: they hold until the page is closed
  }
}
