/** Seconds for which the page was in view since `start`; no clock change touches them. */
export class Stopwatch {
  #sum = 0;
  #since = null;

  constructor() {
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#halt() : this.#go()));
  }

  #running = false;

  start() {
    this.#sum = 0;
    this.#since = null;
    this.#running = true;
    if (!document.hidden) this.#go();
  }

  stop() {
    this.#halt();
    this.#running = false;
  }

  seconds() {
    const now = this.#since === null ? 0 : performance.now() - this.#since;
    return (this.#sum + now) / 1000;
  }

  #go() {
    if (this.#running && this.#since === null) this.#since = performance.now();
  }

  #halt() {
    if (this.#since !== null) this.#sum += performance.now() - this.#since;
    this.#since = null;
  }
}
