import { element } from "./elements.js";
import { best, byName, isUnlike, isUnsure, likeness, percent, sureness, title } from "./words.js";

const PAGE_ROWS = 100;

const COLUMNS = [
  { key: "preview", name: "Preview", kind: "preview" },
  { key: "image", name: "Image", order: (one, other) => byName(one.name, other.name) || one.frame - other.frame },
  { key: "answer", name: "Answer", order: (one, other) => byName(one.class_name ?? "", other.class_name ?? "") },
  { key: "probability", name: "Probability", order: (one, other) => best(one) - best(other), kind: "number" },
  { key: "sure", name: "How sure", order: (one, other) => (one.unsure ?? -1) - (other.unsure ?? -1) },
  { key: "like", name: "Like the training images", order: (one, other) => oddness(one) - oddness(other), kind: "wide-only" },
];

const oddness = (row) => row.out_of_distribution ?? row.unlike ?? -1;

/** What may be shown: everything, one class, or what needs a look. */
export function choices(classes) {
  return [
    ["all", "all images"],
    ...classes.map((name, index) => [`class ${index}`, `called ${name}`]),
    ["unsure", "unsure"],
    ["unlike", "unlike anything learnt"],
    ["error", "without an answer"],
  ];
}

/** Whether a row is among those chosen; `classes` as the model orders them. */
export function isShown(row, choice, text, classes) {
  if (text && !row.name.toLowerCase().includes(text.toLowerCase())) return false;
  if (choice === "unsure") return isUnsure(row);
  if (choice === "unlike") return isUnlike(row);
  if (choice === "error") return Boolean(row.error);
  if (choice.startsWith("class ")) return row.class_name === classes[Number(choice.slice(6))];
  return true;
}

/**
 * A sortable table of answers.
 *
 * Rows are shown a hundred at a time. Up and down, Home and End go from image to image.
 */
export class AnswerTable {
  #table;
  #rows = [];
  #kept = () => true;
  #sorted = { key: "image", up: true };
  #first = 0;
  #chosen = null;
  #parts;
  #open;
  #thumbnail;
  #heads = new Map();
  #body = element("tbody");

  /**
   * @param {HTMLTableElement} table
   * @param {{more: HTMLElement, before: HTMLButtonElement, after: HTMLButtonElement, range: HTMLElement}} parts
   * @param {{open: (row: object) => void, thumbnail: (row: object) => string}} options
   */
  constructor(table, parts, { open, thumbnail }) {
    this.#table = table;
    this.#parts = parts;
    this.#open = open;
    this.#thumbnail = thumbnail;
    const heads = COLUMNS.map((column) => this.#head(column));
    this.#table.replaceChildren(
      element("caption", { className: "visually-hidden" }, "Answers, one line for each image. Buttons in the headings sort."),
      element("thead", {}, element("tr", {}, ...heads)),
      this.#body,
    );
    this.#body.addEventListener("keydown", (event) => this.#move(event));
    parts.before.addEventListener("click", () => this.#turn(-PAGE_ROWS));
    parts.after.addEventListener("click", () => this.#turn(PAGE_ROWS));
    this.#mark();
  }

  /** Show these rows, as far as `kept` lets them. */
  show(rows, kept = this.#kept) {
    if (kept !== this.#kept) this.#first = 0;
    this.#kept = kept;
    this.#rows = rows;
    this.#draw();
  }

  /** The row after (or before) the chosen one, in the order of the table. */
  neighbour(step) {
    const rows = this.#listed();
    const place = rows.findIndex((row) => row.number === this.#chosen);
    return rows[place + step] ?? null;
  }

  /** Mark a row as the one that is looked at. */
  choose(number) {
    this.#chosen = number;
    const place = this.#listed().findIndex((row) => row.number === number);
    if (place >= 0) this.#first = Math.floor(place / PAGE_ROWS) * PAGE_ROWS;
    this.#draw();
  }

  #listed() {
    const { key, up } = this.#sorted;
    const { order } = COLUMNS.find((column) => column.key === key);
    const sign = up ? 1 : -1;
    const rows = this.#rows.filter(this.#kept);
    const inOrder = (one, other) => one.number - other.number;
    return rows.sort((one, other) => sign * order(one, other) || inOrder(one, other));
  }

  #head({ key, name, order, kind }) {
    const head = element("th", { scope: "col", className: kind ?? "" });
    this.#heads.set(key, head);
    if (order) head.append(element("button", { type: "button", className: "sort", on: { click: () => this.#sort(key) } }, name));
    else head.append(element("span", { className: "visually-hidden" }, name));
    return head;
  }

  #sort(key) {
    const up = this.#sorted.key === key ? !this.#sorted.up : true;
    this.#sorted = { key, up };
    this.#first = 0;
    this.#mark();
    this.#draw();
  }

  #mark() {
    for (const [key, head] of this.#heads) {
      if (key === this.#sorted.key) head.setAttribute("aria-sort", this.#sorted.up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
  }

  #turn(step) {
    this.#first += step;
    this.#draw();
  }

  #draw() {
    const focused = this.#body.contains(document.activeElement) ? document.activeElement.dataset.number : null;
    const rows = this.#listed();
    this.#first = Math.max(0, Math.min(this.#first, Math.floor((rows.length - 1) / PAGE_ROWS) * PAGE_ROWS));
    const page = rows.slice(this.#first, this.#first + PAGE_ROWS);
    this.#body.replaceChildren(...page.map((row) => this.#line(row)));
    if (!rows.length) {
      const text = this.#rows.length ? "No image is of this kind." : "No answers yet.";
      this.#body.append(element("tr", {}, element("td", { colSpan: COLUMNS.length, className: "soft" }, text)));
    }
    if (focused !== null) this.#button(focused)?.focus();
    const { more, before, after, range } = this.#parts;
    more.hidden = rows.length <= PAGE_ROWS;
    before.disabled = this.#first === 0;
    after.disabled = this.#first + PAGE_ROWS >= rows.length;
    range.textContent = `${this.#first + 1} to ${this.#first + page.length} of ${rows.length}`;
  }

  #button(number) {
    return this.#body.querySelector(`button[data-number="${number}"]`);
  }

  #line(row) {
    const chosen = row.number === this.#chosen;
    const line = element("tr", { className: chosen ? "chosen" : "", on: { click: () => this.#open(row) } });
    const name = element("button", { type: "button", className: "name", "data-number": row.number, "aria-current": chosen }, title(row));
    const picture = element("td", { className: "preview" });
    if (row.height_px !== null) {
      picture.append(element("img", { src: this.#thumbnail(row), alt: "", loading: "lazy", width: 48, height: 48 }));
    }
    line.append(picture, element("th", { scope: "row" }, name));
    if (row.error) {
      line.append(element("td", { className: "error", colSpan: COLUMNS.length - 2 }, row.error));
      return line;
    }
    const cautious = (is, words, kind = "") => element("td", { className: is ? `${kind} caution` : kind }, words);
    const sure = cautious(isUnsure(row), sureness(row));
    // on a phone the last column is hidden; its warning must not be
    if (isUnlike(row)) sure.append(element("span", { className: "narrow-only caution" }, likeness(row)));
    line.append(
      element("td", {}, element("b", {}, row.class_name)),
      element("td", { className: "number" }, percent(best(row))),
      sure,
      cautious(isUnlike(row), likeness(row), "wide-only"),
    );
    return line;
  }

  #move(event) {
    const buttons = [...this.#body.querySelectorAll("button.name")];
    const place = buttons.indexOf(document.activeElement);
    const target = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (target === undefined || !buttons[target]) return;
    event.preventDefault();
    buttons[target].focus();
    buttons[target].click();
  }
}
