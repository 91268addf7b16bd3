import { loadRaster } from "./raster.js";

/** Memory that the frames of one item may take. */
export const BUDGET_BYTES = 512 * 2 ** 20;

/** The frames of one item: loaded in order, each once, and kept while there is room. */
export class Frames {
  /**
   * @param {{frames: number, url: (frame: number) => string}} item
   * @param {number} budgetBytes
   */
  constructor({ frames, url }, budgetBytes = BUDGET_BYTES) {
    this.count = frames;
    this._url = url;
    this._budget = budgetBytes;
    this._under = new Map(); // frame → promise
    this._kept = new Map(); // frame → raster, the one that was used longest ago first
    this._bytes = 0;
    this._stop = new AbortController();
  }

  /** @returns {Promise<import("./raster.js").Raster>} rejects with an AbortError once closed */
  get(frame) {
    const kept = this._kept.get(frame);
    if (kept) {
      this._kept.delete(frame);
      this._kept.set(frame, kept);
      return Promise.resolve(kept);
    }
    if (!this._under.has(frame)) this._under.set(frame, this._load(frame));
    return this._under.get(frame);
  }

  /** Load all in their order, as far as there is room; `told` hears of each. */
  async loadAll(told = () => {}) {
    for (let frame = 0; frame < this.count && this._fits(); frame++) {
      await this.get(frame);
      told(frame + 1);
    }
  }

  /** Forget everything and stop what is loading. */
  close() {
    this._stop.abort();
    this._kept.clear();
  }

  _fits() {
    const each = this._kept.size ? this._bytes / this._kept.size : 0;
    return this._bytes + each <= this._budget;
  }

  async _load(frame) {
    try {
      const raster = await loadRaster(this._url(frame), this._stop.signal);
      this._keep(frame, raster);
      return raster;
    } finally {
      this._under.delete(frame);
    }
  }

  _keep(frame, raster) {
    this._kept.set(frame, raster);
    this._bytes += raster.bytes;
    for (const [oldest, { bytes }] of this._kept) {
      if (this._bytes <= this._budget || oldest === frame) break;
      this._kept.delete(oldest);
      this._bytes -= bytes;
    }
  }
}
