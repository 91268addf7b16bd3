import { ask } from "/static/ask.js";
import { Viewer } from "/static/viewer.js";
import { element, find, setOptions } from "./elements.js";
import { averaged, duration, dyingClass, percent, title, verdict } from "./words.js";

const POLL_MS = 300;

/** One image, large, with its answer and what is laid over it. */
export class Detail {
  #viewer = null;
  #row = null;
  #job = null;
  #map = null;
  #asked = 0;
  /** The class whose heat was chosen last; evidence begins with the class of the answer. */
  #heatClass = null;

  /** @param {{move: (step: number) => void}} options move: to the next or previous image */
  constructor({ move }) {
    find("previous").addEventListener("click", () => move(-1));
    find("next").addEventListener("click", () => move(1));
    find("film").addEventListener("click", () => this.#play());
    find("map-stop").addEventListener("click", () => this.#dropMap("Stopped."));
    for (const radio of this.#radios()) radio.addEventListener("change", () => this.#overlay());
    find("stride").addEventListener("change", () => this.#overlay());
    find("heat-class").addEventListener("change", () => {
      if (this.#kind() === "heat") this.#heatClass = find("heat-class").value;
      this.#overlay();
    });
  }

  get row() {
    return this.#row;
  }

  /**
   * Show an answered image.
   * @param {object} row
   * @param {{url: string, classes: string[], channels: string[], window_px: number[]|null}} job
   */
  async show(row, job) {
    this.#row = row;
    this.#job = job;
    this.#dropMap("");
    find("detail").hidden = false;
    find("detail-heading").textContent = title(row);
    this.#say(row, job);
    const readable = row.height_px !== null;
    find("viewer").hidden = find("overlays").hidden = !readable;
    find("film").hidden = row.frames < 2;
    if (!readable) return;
    this.#offer(row, job);
    this.#viewer ??= new Viewer(find("viewer"), { label: "The image", keys: find("viewer"), remember: "deadlib-serve", help: [["↑ or ↓", "In the table: another image"]] });
    await this.#viewer.show({ frames: 1, channels: job.channels.map((name) => ({ name })), url: () => this.#image(row.number) });
    if (this.#row === row) await this.#overlay();
  }

  /** Show nothing more. */
  clear() {
    this.#dropMap("");
    this.#viewer?.destroy();
    this.#viewer = this.#row = this.#job = this.#heatClass = null;
    find("detail").hidden = true;
  }

  #image(number) {
    return `${this.#job.url}/rows/${number}/image`;
  }

  #say(row, job) {
    const bars = find("detail-bars");
    if (row.error) {
      find("detail-answer").textContent = `No answer: ${row.error}`;
      bars.replaceChildren();
      return;
    }
    find("detail-answer").replaceChildren(element("b", {}, row.class_name), `, ${percent(Math.max(...row.probability))}${averaged(row, job.window_px)}. ${verdict(row)}`);
    bars.replaceChildren(
      element("ul", { className: "bars" }, ...job.classes.map((name, index) => bar(name, row.probability[index]))),
      ...row.warnings.map((text) => element("p", { className: "warning" }, text)),
    );
  }

  #offer(row, job) {
    const large = row.windows > 1;
    find("overlays").disabled = Boolean(row.error);
    find("evidence-choice").hidden = large;
    find("heat-choice").hidden = !large;
    const kind = this.#kind();
    if ((large && kind === "evidence") || (!large && kind === "heat")) this.#choose(large ? "heat" : "evidence");
    const classes = find("heat-class");
    setOptions(classes, job.classes.map((name, index) => [index, name]));
    classes.value = large ? this.#heatClass ?? dyingClass(job.classes) : Math.max(0, job.classes.indexOf(row.class_name));
    find("stride-choice").hidden = !large;
    if (!large) return;
    const side = Math.min(...job.window_px);
    const names = ["window by window", "twice as fine", "four times as fine", "eight times as fine"];
    setOptions(find("stride"), names.map((name, index) => [Math.max(1, Math.round(side / 2 ** index)), `${name} (${windows(row, job, side / 2 ** index)})`]));
  }

  #radios() {
    return [...document.querySelectorAll("input[name=overlay]")];
  }

  #kind() {
    return this.#radios().find((radio) => radio.checked).value;
  }

  #choose(kind) {
    for (const radio of this.#radios()) radio.checked = radio.value === kind;
  }

  async #play() {
    const row = this.#row;
    this.#dropMap("");
    this.#choose("none");
    find("heat-settings").hidden = true;
    this.#viewer.overlay(null);
    const first = row.number - row.frame;
    await this.#viewer.show({ frames: row.frames, channels: this.#job.channels.map((name) => ({ name })), url: (frame) => this.#image(first + frame), interval_ms: 200 });
  }

  async #overlay() {
    this.#dropMap("");
    const kind = this.#kind();
    const row = this.#row;
    find("heat-settings").hidden = kind === "none";
    this.#viewer.overlay(null);
    if (kind === "none" || row.error) return;
    const asked = ++this.#asked;
    try {
      const json = kind === "heat" ? { kind, stride_px: Number(find("stride").value) } : { kind, class_index: Number(find("heat-class").value) };
      const { map } = await ask(`${this.#job.url}/rows/${row.number}/maps`, { json });
      if (asked !== this.#asked) return;
      this.#map = `${this.#job.url}/maps/${map}`;
      const state = await this.#made(asked);
      if (state) await this.#lay(state, kind, asked);
    } catch (error) {
      if (asked === this.#asked) this.#dropMap(`No map: ${error.message}`);
    }
  }

  /** Wait for the map; null where another one was asked for meanwhile. */
  async #made(asked) {
    for (;;) {
      const state = await ask(this.#map);
      if (asked !== this.#asked) return null;
      if (state.error) throw new Error(state.error);
      if (state.ready) return state;
      find("map-work").hidden = state.total === 1;
      find("map-progress").value = state.done / state.total;
      const left = state.seconds_left === null ? "" : `, ${duration(state.seconds_left)} left`;
      find("map-words").textContent = `${state.done} of ${state.total} windows${left}`;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (asked !== this.#asked) return null;
    }
  }

  async #lay(state, kind, asked) {
    const index = kind === "heat" ? Number(find("heat-class").value) : 0;
    const response = await fetch(`${this.#map}/values?class_index=${index}`);
    if (!response.ok) throw new Error("the map is not there any more");
    const [, height, width] = response.headers.get("X-Shape").split(",").map(Number);
    const values = new Float32Array(await response.arrayBuffer());
    if (asked !== this.#asked) return;
    find("map-work").hidden = true;
    const high = kind === "heat" ? 1 : Math.max(1e-6, values.reduce((most, value) => (value > most ? value : most), 0));
    const name = state.classes[index];
    const legend = kind === "heat" ? `probability of ${name}` : `speaks for ${name}`;
    this.#viewer.overlay({ values, height, width, low: 0, high, name: legend });
    find("overlay-words").textContent = kind === "heat"
      ? `How probable ${name} is in the window around each place, from 0 to 1.`
      : `Where the image speaks for ${name}, from nothing to the most in this image. It hints at what the score rests on, coarsely: it shows neither what speaks against the class nor where cells are sick.`;
  }

  #dropMap(words) {
    this.#asked += 1;
    if (this.#map) ask(this.#map, { method: "DELETE" }).catch(() => {});
    this.#map = null;
    find("map-work").hidden = true;
    find("overlay-words").textContent = words;
  }
}

function windows(row, job, stride) {
  const step = Math.max(1, Math.round(stride));
  const [rows, columns] = job.window_px.map((side, axis) => Math.floor(((axis ? row.width_px : row.height_px) - side) / step) + 1);
  return `${rows * columns} windows`;
}

function bar(name, share) {
  const meter = element("meter", { min: 0, max: 1, value: share, "aria-hidden": "true" });
  return element("li", {}, element("span", { className: "of" }, name), meter, element("span", { className: "share" }, percent(share)));
}
