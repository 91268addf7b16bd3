import { svg } from "./elements.js";
import { isUnlike, isUnsure, percent } from "./words.js";

const HEIGHT = 260;
const MARGIN = { top: 14, right: 16, bottom: 44, left: 58 };
const MOST_DOTS = 400;

/**
 * A course in time as a picture.
 * @param {HTMLElement} place
 * @param {{rows: object[], classIndex: number, className: string, minutes: number, total: number}} lapse
 *   rows: answered frames in order; minutes: between frames, 0 where not known; total: all frames
 * @returns {string} what it shows, in words
 */
export function drawCurve(place, { rows, classIndex, className, minutes, total }) {
  const width = Math.max(280, place.clientWidth || 640);
  const unit = minutes > 0 ? minutes / 60 : 1;
  const time = (row) => (minutes > 0 ? row.place * unit : row.place + 1);
  const first = minutes > 0 ? 0 : 1;
  const last = Math.max(first + unit, minutes > 0 ? (total - 1) * unit : total);
  const x = (value) => MARGIN.left + ((value - first) / (last - first)) * (width - MARGIN.left - MARGIN.right);
  const y = (share) => MARGIN.top + (1 - share) * (HEIGHT - MARGIN.top - MARGIN.bottom);
  const points = rows.filter((row) => !row.error).map((row) => ({ row, at: time(row), share: row.probability[classIndex] }));
  const words = described(points, rows.length - points.length, className, minutes);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": words, class: "curve" });
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(
      svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(share), y2: y(share) }),
      svg("text", { class: "mark", x: MARGIN.left - 8, y: y(share) + 4, "text-anchor": "end", text: `${100 * share} %` }),
    );
  }
  for (const value of marks(first, last, width)) {
    picture.append(svg("text", { class: "mark", x: x(value), y: HEIGHT - MARGIN.bottom + 18, "text-anchor": "middle", text: String(value) }));
  }
  picture.append(
    svg("text", { class: "axis", x: (MARGIN.left + width - MARGIN.right) / 2, y: HEIGHT - 6, "text-anchor": "middle", text: minutes > 0 ? "Hours" : "Frame" }),
    svg("polyline", { class: "course", points: points.map(({ at, share }) => `${x(at).toFixed(1)},${y(share).toFixed(1)}`).join(" ") }),
  );
  const dots = points.length <= MOST_DOTS ? points : points.filter(({ row }) => isUnsure(row) || isUnlike(row));
  for (const { row, at, share } of dots) {
    picture.append(svg("circle", { class: isUnsure(row) || isUnlike(row) ? "doubtful" : "sure", cx: x(at).toFixed(1), cy: y(share).toFixed(1), r: 3.5 }));
  }
  place.replaceChildren(picture);
  return words;
}

function described(points, failed, className, minutes) {
  if (!points.length) return "No frame is answered yet.";
  const [start, end] = [points[0], points.at(-1)];
  const reached = points.find(({ share }) => share >= 0.5);
  const when = (point) => (minutes > 0 ? `at ${point.at.toFixed(1)} hours` : `in frame ${point.at}`);
  const half = reached ? `It first reaches half ${when(reached)}.` : "It never reaches half.";
  const doubtful = points.filter(({ row }) => isUnsure(row) || isUnlike(row)).length;
  const doubts = doubtful ? ` Open circles: ${doubtful} frames that are unsure or unlike anything learnt.` : "";
  const missing = failed ? ` ${failed} frames have no answer.` : "";
  return `Share of ${className}: ${percent(start.share)} ${when(start)}, ${percent(end.share)} ${when(end)}. ${half}${doubts}${missing}`;
}

/** Round places on an axis. */
function marks(first, last, width) {
  const rough = (last - first) / Math.max(2, Math.floor(width / 90));
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const whole = Number.isInteger(first) && first === 1 ? Math.max(1, step) : step;
  const found = first === 1 ? [1] : [];
  for (let value = Math.ceil((first + whole / 2) / whole) * whole; value <= last + 1e-9; value += whole) {
    found.push(Number(value.toPrecision(6)));
  }
  return first === 0 ? [0, ...found] : found;
}
