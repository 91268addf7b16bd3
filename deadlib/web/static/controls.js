import { paintHeat } from "./colours.js";
import { button, element } from "./dom.js";

const ADJUST = "Adjust contrast, colours and speed";
const GAMMA = { min: 0.2, max: 3, step: 0.05 };

/** The row of buttons for zoom, with the one that opens the panel, and for a sequence its player. */
export function toolbar(viewer, toggle) {
  const act = (action) => () => viewer.act(action);
  const play = button("❚❚", "Pause", act("toggle"));
  const frame = element("input", {
    type: "range", min: 0, max: 0, step: 1, "aria-label": "Frame",
    on: { input: () => viewer.seek(frame.valueAsNumber) },
  });
  const number = element("output", { className: "viewer-number" });
  const player = element(
    "div", { className: "viewer-player", role: "group", "aria-label": "Sequence" },
    button("◂", "A frame back", act("back")), play, button("▸", "A frame on", act("on")),
    frame, number,
  );
  const bar = element(
    "div", { className: "viewer-bar" },
    element(
      "div", { className: "viewer-zoom", role: "group", "aria-label": "View" },
      button("−", "Farther", act("farther")), button("+", "Closer", act("closer")),
      button("Fit", "Fit", act("fit")), button("1:1", "One pixel of the image on one of the screen", act("actual")),
      toggle,
      button("?", "Keys", act("help")),
    ),
    player,
  );
  const update = ({ frames, index, loaded, playing }) => {
    player.hidden = frames < 2;
    frame.max = frames - 1;
    frame.value = index;
    frame.setAttribute("aria-valuetext", `${index + 1} of ${frames}`);
    number.textContent = `${index + 1} of ${frames}${loaded < frames ? `, ${loaded} loaded` : ""}`;
    play.textContent = playing ? "❚❚" : "►";
    play.title = playing ? "Pause" : "Play";
    play.setAttribute("aria-label", play.title);
  };
  return { bar, update };
}

/**
 * Contrast, gamma, colours and speed, behind a button. `build` once for each set of channels, `update` at each change.
 */
export function displayPanel(viewer) {
  const body = element("div", { className: "viewer-channels" });
  const gamma = element("input", {
    type: "range", ...GAMMA, "aria-label": "Gamma", on: { input: () => viewer.gamma(gamma.valueAsNumber) },
  });
  const gammaShown = element("output");
  const speed = element("input", {
    type: "number", min: 0.2, max: 60, step: "any", on: { change: () => viewer.speed(speed.valueAsNumber) },
  });
  const pace = element("label", {}, "Frames per second ", speed);
  const smooth = element("input", { type: "checkbox", on: { change: () => viewer.smooth(smooth.checked) } });
  const panel = element(
    "div", { className: "viewer-display", role: "group", "aria-label": ADJUST, hidden: true },
    body,
    element(
      "p", { className: "viewer-note" },
      "Auto fits each image by itself, so images cannot be compared in brightness. What is set by hand stays for the next ones.",
    ),
    element(
      "div", { className: "viewer-shared" },
      element("label", {}, "Gamma ", gamma, gammaShown),
      element("label", {}, smooth, " Smooth pixels"),
      pace,
      button("Reset", "Reset contrast and colours", () => viewer.reset()),
    ),
  );
  const toggle = button("Adjust", ADJUST, () => {
    panel.hidden = !panel.hidden;
    toggle.ariaExpanded = String(!panel.hidden);
  });
  toggle.ariaExpanded = "false";
  let rows = [];
  const build = (names) => {
    rows = names.map((name, index) => channelRow(viewer, name, index));
    body.replaceChildren(...rows.map(({ row }) => row));
  };
  const update = ({ gamma: value, smooth: on, channels, frames, perSecond }) => {
    gamma.value = value;
    gammaShown.textContent = value.toFixed(2);
    smooth.checked = on;
    pace.hidden = frames < 2;
    if (document.activeElement !== speed) speed.value = Math.round(perSecond * 10) / 10;
    channels.forEach((channel, index) => rows[index].update(channel));
  };
  return { toggle, panel, build, update };
}

function channelRow(viewer, name, index) {
  const shown = element("input", {
    type: "checkbox", on: { change: () => viewer.channel(index, { on: shown.checked }) },
  });
  const colour = element("input", {
    type: "color", "aria-label": `${name}: colour`,
    on: { input: () => viewer.channel(index, { colour: colour.value }) },
  });
  const ends = ["darkest value", "brightest value"].map((label, end) => {
    const set = (value) => Number.isFinite(value) && viewer.edge(index, end, value);
    const slider = element("input", {
      type: "range", "aria-label": `${name}: ${label}`, on: { input: () => set(slider.valueAsNumber) },
    });
    const number = element("input", {
      type: "number", step: "any", "aria-label": `${name}: ${label}, as a number`,
      on: { change: () => set(number.valueAsNumber) },
    });
    return { slider, number };
  });
  const automatic = button("Auto", `${name}: automatic contrast`, () => viewer.channel(index, { window: "auto" }));
  const full = button("Full", `${name}: full range`, () => viewer.channel(index, { window: "full" }));
  const row = element(
    "fieldset", {},
    element("legend", {}, element("label", {}, shown, ` ${name}`), colour),
    ...ends.map(({ slider, number }, end) =>
      element("div", { className: "viewer-edge" }, element("span", { "aria-hidden": "true" }, ["Dark", "Bright"][end]), slider, number),
    ),
    element("div", { className: "viewer-presets" }, automatic, full),
  );
  const update = ({ on, colour: hex, mode, window, full: all }) => {
    shown.checked = on;
    colour.value = hex;
    automatic.setAttribute("aria-pressed", mode === "auto");
    full.setAttribute("aria-pressed", mode === "full");
    const [low, high] = [Math.min(all[0], window[0]), Math.max(all[1], window[1])];
    ends.forEach(({ slider, number }, end) => {
      Object.assign(slider, { min: low, max: high, step: high - low > 50 ? 1 : "any" });
      slider.value = window[end];
      if (document.activeElement !== number) number.value = Number(window[end].toPrecision(6));
    });
  };
  return { row, update };
}

/** The heat's scale and how far it covers the image. */
export function heatLegend(viewer) {
  const ramp = element("canvas", { width: 128, height: 1, className: "viewer-ramp", "aria-hidden": "true" });
  paintHeat(ramp, { values: Float32Array.from({ length: 128 }, (_, step) => step), low: 0, high: 127 });
  const name = element("span");
  const [low, high] = [element("span"), element("span")];
  const opacity = element("input", {
    type: "range", min: 0, max: 1, step: 0.01, "aria-label": "Opacity of the overlay",
    on: { input: () => viewer.opacity(opacity.valueAsNumber) },
  });
  const legend = element(
    "div", { className: "viewer-legend", role: "group", "aria-label": "Overlay" },
    name, element("span", { className: "viewer-scale" }, low, ramp, high), element("label", {}, "Opacity ", opacity),
  );
  const update = (heat, share) => {
    legend.hidden = !heat;
    opacity.value = share;
    if (!heat) return;
    name.textContent = heat.name ?? "";
    [low.textContent, high.textContent] = [short(heat.low), short(heat.high)];
  };
  return { legend, update };
}

/** A number for people: four digits at most. */
export function short(value) {
  return String(Number(value.toPrecision(4)));
}
