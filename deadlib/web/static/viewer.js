import { coloursOf, paintHeat, parts } from "./colours.js";
import { displayPanel, heatLegend, short, toolbar } from "./controls.js";
import { button, element } from "./dom.js";
import { Frames } from "./frames.js";
import { actionOf, helpDialog } from "./keys.js";
import { readSettings, remember, remembered } from "./settings.js";
import { compose, modeOf, rangesOf, tone, windowOf } from "./tone.js";
import { fitted, kept, panned, placeAt, rectangle, zoomed } from "./view.js";

const ZOOM_STEP = 1.25;
const PAN_SHARE = 0.15;
const SPEED_STEP = 1.5;
const GAMMA_STEP = 0.1;
const BITS = { uint8: "8 bit", uint16: "16 bit", float32: "float" };

/**
 * @typedef {{frames: number, channels?: {name: string, colour?: string}[],
 *   url: (frame: number) => string, interval_ms?: number}} Item
 *   `url` answers as deadlib.web.raster_response does; of each frame the same channels
 */

/** Shows microscope images as they were written, and sequences of them as a loop. */
export class Viewer {
  /**
   * @param {HTMLElement} host  an empty <div>; everything is built inside it
   * @param {object} options
   * @param {string} options.label  what is shown, for those who do not see it
   * @param {EventTarget|null} [options.keys]  where keys are listened to, the whole page by default
   * @param {[string, string][]} [options.help]  keys of the page, to stand in the help beside these
   * @param {string} [options.remember]  a name under which this browser keeps the settings
   */
  constructor(host, { label, keys = document, help = [], remember: name = null }) {
    this._host = host;
    this._name = name;
    this._settings = name ? remembered(name) : readSettings(null);
    this._item = this._frames = this._prepared = this._raster = this._heat = null;
    this._index = this._loaded = 0;
    this._playing = false;
    this._pointers = new Map();
    /** What went wrong with the item that is shown: null or a Refused with `message` and `status`. */
    this.fault = null;

    this._canvas = element("canvas", { tabIndex: 0, role: "img", "aria-label": label });
    this._label = label;
    this._picture = document.createElement("canvas");
    this._heatPicture = document.createElement("canvas");
    this._message = element("div", { className: "viewer-message", role: "alert", hidden: true });
    this._stage = element("div", { className: "viewer-stage" }, this._canvas, this._message);
    this._facts = element("span");
    this._values = element("span");
    this._panel = displayPanel(this);
    this._bar = toolbar(this, this._panel.toggle);
    this._legend = heatLegend(this);
    this._help = helpDialog(help);
    host.classList.add("viewer");
    host.replaceChildren(
      this._stage,
      element("p", { className: "viewer-status" }, this._facts, this._values),
      this._bar.bar, this._legend.legend, this._panel.panel, this._help,
    );

    this._gone = new AbortController();
    const listen = { signal: this._gone.signal };
    keys?.addEventListener("keydown", (event) => this._key(event), listen);
    this._canvas.addEventListener("wheel", (event) => this._wheel(event), { ...listen, passive: false });
    this._canvas.addEventListener("dblclick", () => this.act("fit"), listen);
    for (const kind of ["down", "move", "up", "cancel", "leave"]) {
      this._canvas.addEventListener(`pointer${kind}`, (event) => this._pointer(kind, event), listen);
    }
    this._sizes = new ResizeObserver(() => this._resize());
    this._sizes.observe(this._stage);
    this._resize();
    this._update();
  }

  /**
   * Show an item instead of the one before, whose loading ends.
   * @param {Item} item
   * @returns {Promise<boolean>} true once its first frame is drawn; false if it cannot be (`fault`
   *   says why, and so does the viewer) or if another was shown meanwhile
   */
  async show(item) {
    const frames = this._framesOf(item);
    this.clear();
    [this._item, this._frames, this._index, this._loaded] = [item, frames, 0, 0];
    this._canvas.setAttribute("aria-busy", "true");
    this._update();
    try {
      const raster = await frames.get(0);
      if (this._frames !== frames) return false;
      this._begin(raster);
      this._loadRest(frames);
      return true;
    } catch (error) {
      if (this._frames === frames) this._fail(error, () => this.show(item));
      return false;
    } finally {
      if (this._frames === frames) this._canvas.removeAttribute("aria-busy");
    }
  }

  /** Load the first frames of the item that will be shown next; `show` of the same `url` uses them. */
  prepare(item) {
    this._prepared?.frames.close();
    const frames = new Frames(item);
    this._prepared = { key: item.url(0), frames };
    frames.get(0).catch(() => {});
  }

  /** Show nothing. */
  clear() {
    this._frames?.close();
    clearTimeout(this._timer);
    [this._item, this._frames, this._raster, this._heat, this.fault] = [null, null, null, null, null];
    this._playing = false;
    this._message.hidden = true;
    this._want();
    this._update();
  }

  /**
   * Lay heat over the image, stretched over all of it.
   * @param {{values: Float32Array, height: number, width: number, low: number, high: number,
   *   name?: string, smooth?: boolean}|null} heat  row-major; NaN is transparent; `low` to `high` is
   *   the scale of the colours; `smooth` false shows its cells
   */
  overlay(heat) {
    this._heat = heat;
    if (heat) {
      Object.assign(this._heatPicture, { width: heat.width, height: heat.height });
      paintHeat(this._heatPicture, heat);
    }
    this._want();
    this._update();
  }

  /** How far the overlay covers the image, 0 to 1. */
  opacity(share) {
    this._change({ opacity: share });
  }

  /** What is kept between items, as JSON takes it. */
  settings() {
    return structuredClone(this._settings);
  }

  /** Take settings of `settings()`; what does not fit is left out. */
  apply(settings) {
    this._change(readSettings(settings), { tones: true });
  }

  /** Contrast, gamma and colours as they were at first. */
  reset() {
    this.apply({ ...this._settings, gamma: undefined, smooth: false, channels: {} });
  }

  gamma(value) {
    this._change({ gamma: value }, { tones: true });
  }

  smooth(on) {
    this._change({ smooth: on });
  }

  speed(perSecond) {
    this._change({ speed: perSecond });
  }

  /** Change a channel: `on`, `colour` ("#rrggbb"), `window` ("auto", "full", {dtype, low, high}). */
  channel(index, change) {
    const name = this._names()[index];
    const channels = { ...this._settings.channels };
    channels[name] = { ...channels[name], ...change };
    this._change({ channels }, { tones: true });
  }

  /** Set the darkest (end 0) or brightest (1) value of a channel; the other one gives way. */
  edge(index, end, value) {
    let { window: [low, high], full } = this._channels[index];
    const { dtype } = this._raster;
    const gap = dtype === "float32" ? (full[1] - full[0]) / 1000 : 1;
    if (end === 0) [low, high] = [value, Math.max(high, value + gap)];
    else [low, high] = [Math.min(low, value - gap), value];
    this.channel(index, { window: { dtype, low, high } });
  }

  /** Show a frame, counted from 0; the loop stops there. */
  async seek(index) {
    this._play(false);
    await this._turnTo(index);
  }

  /** Do what a key or a button stands for; see KEYS. */
  act(action) {
    const { width, height } = this._canvas;
    const [dx, dy] = [width * PAN_SHARE, height * PAN_SHARE];
    const frames = this._item?.frames ?? 1;
    const actions = {
      closer: () => this._zoom(ZOOM_STEP),
      farther: () => this._zoom(1 / ZOOM_STEP),
      fit: () => this._look(null),
      actual: () => this._raster && this._zoom(1 / this._view().scale),
      left: () => this._pan(dx, 0),
      right: () => this._pan(-dx, 0),
      up: () => this._pan(0, dy),
      down: () => this._pan(0, -dy),
      lift: () => this.gamma(Math.max(this._settings.gamma - GAMMA_STEP, 0.2)),
      press: () => this.gamma(Math.min(this._settings.gamma + GAMMA_STEP, 3)),
      toggle: () => this._play(!this._playing),
      back: () => this.seek((this._index + frames - 1) % frames),
      on: () => this.seek((this._index + 1) % frames),
      slower: () => this.speed(Math.max(this._perSecond() / SPEED_STEP, 0.2)),
      faster: () => this.speed(Math.min(this._perSecond() * SPEED_STEP, 60)),
      help: () => this._help.open || this._help.showModal(),
    };
    actions[action]();
  }

  /** Take everything away and stop. */
  destroy() {
    this.clear();
    this._prepared?.frames.close();
    this._gone.abort();
    this._sizes.disconnect();
    cancelAnimationFrame(this._drawing);
    this._host.replaceChildren();
    this._host.classList.remove("viewer");
  }

  // the item and its frames

  _framesOf(item) {
    const prepared = this._prepared;
    if (prepared?.key !== item.url(0)) return new Frames(item);
    this._prepared = null;
    return prepared.frames;
  }

  _begin(raster) {
    this._raster = raster;
    // all frames of a sequence are shown by the first one's, else its cells would flicker
    this._ranges = raster.planes.map(rangesOf);
    this._panel.build(this._names());
    this._retone();
    this._update();
    this._draw();
    if (this._item.frames > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches) this._play(true);
  }

  async _loadRest(frames) {
    try {
      await frames.loadAll((loaded) => {
        if (this._frames !== frames) return;
        this._loaded = loaded;
        this._update();
      });
    } catch (error) {
      if (this._frames === frames) this._fail(error, () => this.show(this._item));
    }
  }

  async _turnTo(index) {
    const frames = this._frames;
    if (!frames) return;
    this._turning = index;
    try {
      const raster = await frames.get(index);
      if (this._frames !== frames || this._turning !== index) return;
      [this._raster, this._index] = [raster, index];
      this._stale = true;
      this._want();
      this._update();
    } catch (error) {
      if (this._frames === frames) this._fail(error, () => this._turnTo(index));
    }
  }

  _play(on) {
    this._playing = on && this._item?.frames > 1;
    clearTimeout(this._timer);
    if (this._playing) this._timer = setTimeout(() => this._tick(this._frames), 1000 / this._perSecond());
    this._update();
  }

  async _tick(frames) {
    await this._turnTo((this._index + 1) % this._item.frames);
    if (this._playing && this._frames === frames) this._play(true);
  }

  _fail(error, again) {
    if (error.name === "AbortError") return;
    this.fault = error;
    this._play(false);
    const retry = () => {
      this._message.hidden = true;
      this.fault = null;
      again();
    };
    this._message.replaceChildren(
      element("p", {}, "This image cannot be shown."), element("p", {}, error.message), button("Try again", "Try again", retry),
    );
    this._message.hidden = false;
  }

  // how it is shown

  _names() {
    return this._ranges.map((_, index) => this._item.channels?.[index]?.name ?? `channel ${index + 1}`);
  }

  /** Each channel as it is shown now. */
  _shown() {
    const names = this._names();
    const colours = coloursOf(names.map((name, index) => ({ name, colour: this._item.channels?.[index]?.colour })));
    return names.map((name, index) => {
      const { on = true, colour, window } = this._settings.channels[name] ?? {};
      const ranges = this._ranges[index];
      return {
        name, on, colour: colour ?? colours[index], full: ranges.full, mode: modeOf(window, this._raster.dtype),
        window: windowOf(window, ranges, this._raster.dtype),
      };
    });
  }

  _retone() {
    this._channels = this._shown();
    this._tones = this._channels.map(({ window, colour }) => tone(window, this._settings.gamma, parts(colour)));
    this._stale = true;
  }

  _change(change, { tones = false } = {}) {
    this._settings = readSettings({ ...this._settings, ...change });
    if (this._name) remember(this._name, this._settings);
    if (tones && this._raster) this._retone();
    this._want();
    this._update();
  }

  _perSecond() {
    return this._settings.speed ?? 1000 / (this._item?.interval_ms ?? 200);
  }

  _update() {
    const { _item: item, _raster: raster } = this;
    this._bar.update({
      frames: item?.frames ?? 1, index: this._index, loaded: this._loaded, playing: this._playing,
    });
    this._legend.update(this._heat, this._settings.opacity);
    this._canvas.classList.toggle("viewer-moved", Boolean(this._settings.zoom));
    if (!raster) {
      this._facts.textContent = item && !this.fault ? "Loading…" : "";
      this._values.textContent = "";
      return;
    }
    this._panel.update({
      gamma: this._settings.gamma, smooth: this._settings.smooth, channels: this._channels, frames: item.frames,
      perSecond: this._perSecond(),
    });
    const zoom = Math.round((100 * this._view().scale) / devicePixelRatio);
    const facts = `${raster.width} × ${raster.height} px, ${BITS[raster.dtype]}`;
    this._facts.textContent = `${facts}, zoom ${zoom} %`;
    const names = this._names();
    const frames = item.frames > 1 ? `, ${item.frames} frames` : "";
    this._canvas.setAttribute("aria-label", `${this._label}: ${facts}, channels ${names.join(", ")}${frames}`);
    this._readOut();
  }

  _readOut() {
    const [x, y] = this._pointed ? placeAt(this._view(), this._canvas, ...this._pointed).map(Math.floor) : [-1, -1];
    const { width, height, planes } = this._raster;
    const inside = x >= 0 && y >= 0 && x < width && y < height;
    const value = (name, index) => `${name} ${index < planes.length ? shown(planes[index], y * width + x) : "–"}`;
    this._values.textContent = inside ? `x ${x}, y ${y}: ${this._names().map(value).join(", ")}` : "";
  }

  // where it is shown

  _resize() {
    const { clientWidth, clientHeight } = this._stage;
    this._canvas.width = Math.max(1, Math.round(clientWidth * devicePixelRatio));
    this._canvas.height = Math.max(1, Math.round(clientHeight * devicePixelRatio));
    this._draw();
  }

  /** The view of now: all of the image, or the same part of it as of the items before. */
  _view() {
    const { zoom } = this._settings;
    if (!zoom) return fitted(this._raster, this._canvas);
    const { width, height } = this._raster;
    return kept({ scale: zoom.scale * devicePixelRatio, x: zoom.x * width, y: zoom.y * height }, this._raster, this._canvas);
  }

  _look(view) {
    const { width, height } = this._raster ?? {};
    const zoom = view && { scale: view.scale / devicePixelRatio, x: view.x / width, y: view.y / height };
    this._change({ zoom });
  }

  _zoom(factor, px, py) {
    if (!this._raster) return;
    const view = zoomed(this._view(), factor, this._raster, this._canvas, px, py);
    const whole = fitted(this._raster, this._canvas).scale;
    this._look(Math.abs(view.scale / whole - 1) < 0.01 ? null : view);
  }

  _pan(dx, dy) {
    if (this._raster && this._settings.zoom) this._look(panned(this._view(), dx, dy, this._raster, this._canvas));
  }

  _want() {
    cancelAnimationFrame(this._drawing);
    this._drawing = requestAnimationFrame(() => this._draw());
  }

  _draw() {
    const { width, height } = this._canvas;
    const context = this._canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    if (!this._raster) return;
    if (this._stale) this._develop();
    const view = this._view();
    const place = rectangle(view, this._raster, this._canvas);
    context.imageSmoothingEnabled = this._settings.smooth || view.scale < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(this._picture, ...place);
    if (this._heat) {
      context.imageSmoothingEnabled = this._heat.smooth !== false;
      context.globalAlpha = this._settings.opacity;
      context.drawImage(this._heatPicture, ...place);
      context.globalAlpha = 1;
    }
  }

  /** From stored values to a picture of the same size. */
  _develop() {
    const { width, height, planes } = this._raster;
    if (this._picture.width !== width || this._picture.height !== height) Object.assign(this._picture, { width, height });
    const on = this._channels.flatMap((channel, index) => (channel.on && index < planes.length ? [index] : []));
    const image = new ImageData(width, height);
    compose(on.map((index) => planes[index]), on.map((index) => this._tones[index]), image.data);
    this._picture.getContext("2d").putImageData(image, 0, 0);
    this._stale = false;
  }

  // keys, wheel and fingers

  _key(event) {
    const action = event.defaultPrevented ? null : actionOf(event);
    const sequence = this._item?.frames > 1;
    if (!action || (!sequence && ["toggle", "back", "on", "slower", "faster"].includes(action))) return;
    event.preventDefault();
    this.act(action);
  }

  _place(event) {
    const box = this._canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) * this._canvas.width) / box.width,
      ((event.clientY - box.top) * this._canvas.height) / box.height,
    ];
  }

  _wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 33 : event.deltaY;
    this._zoom(2 ** (-lines / 300), ...this._place(event));
  }

  _pointer(kind, event) {
    const place = this._place(event);
    const before = this._pointers.get(event.pointerId);
    this._pointed = kind === "leave" || kind === "cancel" ? null : place;
    if (kind === "down") {
      this._canvas.setPointerCapture(event.pointerId);
      this._pointers.set(event.pointerId, place);
    } else if (kind !== "move") {
      this._pointers.delete(event.pointerId);
    } else if (before) {
      const other = [...this._pointers].find(([id]) => id !== event.pointerId)?.[1];
      this._pointers.set(event.pointerId, place);
      if (other) this._zoom(distance(place, other) / Math.max(distance(before, other), 1), ...other);
      else this._pan(place[0] - before[0], place[1] - before[1]);
    }
    if (this._raster) this._readOut();
  }
}

function distance([ax, ay], [bx, by]) {
  return Math.hypot(ax - bx, ay - by);
}

function shown(plane, place) {
  return plane instanceof Float32Array ? short(plane[place]) : plane[place];
}
