import { ask } from "/static/ask.js";
import { drawCurve } from "./curve.js";
import { Detail } from "./detail.js";
import { imagesOf, listed, listenForDrops } from "./drop.js";
import { element, find, setOptions } from "./elements.js";
import { AnswerTable, choices, isShown } from "./table.js";
import { upload } from "./upload.js";
import { byName, duration, dyingClass, isUnlike, isUnsure, percent } from "./words.js";

const POLL_MS = 400;
const HEARTBEAT_MS = 60_000;
const SENT_TOGETHER = 3;
const ALL_FILES = "all files";

const models = JSON.parse(find("page").dataset.models);

/** What is open: a job on the server, and its answers as far as they are known. */
let job = null;
let rows = [];
let sending = new AbortController();

const table = new AnswerTable(
  find("table"),
  { more: find("more"), before: find("before"), after: find("after"), range: find("range") },
  { open: (row) => open(row), thumbnail: (row) => `${job.url}/rows/${row.number}/thumbnail` },
);
const detail = new Detail({ move: (step) => open(table.neighbour(step)) });

const model = () => models.find(({ name }) => name === find("model").value);

function describeModel() {
  const { name, version, classes, channels, calibrated, window_px: windowPx, warnings } = model();
  find("card").href = `/models/${encodeURIComponent(name)}/card?version=${version}`;
  const size = windowPx ? `, trained on ${windowPx.join(" × ")} px` : "";
  find("facts").textContent = `Tells ${classes.join(", ")} apart; looks at ${channels.length === 1 ? "one channel" : `${channels.length} channels`} (${channels.join(", ")})${size}.`;
  const said = calibrated ? warnings : ["This model is not calibrated: read its probabilities as an order, not as chances. It cannot say when it is unsure, or when an image is unlike anything it has learnt.", ...warnings];
  find("model-warnings").replaceChildren(...said.map((text) => element("p", { className: "warning" }, text)));
}

// Sending

async function take(found) {
  if (!found.length) {
    problem("Nothing there that looks like an image: PNG, JPEG, BMP or TIFF files are taken.");
    return;
  }
  if (job?.gone) removeAll();
  try {
    job ??= await begin();
  } catch (error) {
    problem(error.message);
    return;
  }
  filter();
  const opened = job;
  find("work").hidden = find("results").hidden = false;
  opened.files += found.length;
  opened.bytes += found.reduce((sum, { file }) => sum + file.size, 0);
  opened.waiting.push(...found);
  watch(opened);
  while (opened.senders < SENT_TOGETHER && opened.waiting.length) send(opened);
}

async function begin() {
  const { job: name, ...told } = await ask("/jobs", { json: { model: model().name } });
  const url = `/jobs/${name}`;
  find("csv").href = `${url}/answers.csv`;
  setOptions(find("show"), choices(told.classes));
  find("search").value = "";
  find("show").value = "all";
  sending = new AbortController();
  find("model").disabled = true;
  return { ...told, url, files: 0, bytes: 0, sent: 0, waiting: [], senders: 0, watched: false, hasLapse: false, gone: false };
}

/** One of a few that send the waiting files, in order. */
async function send(opened) {
  opened.senders += 1;
  const { signal } = sending;
  while (opened.waiting.length && !signal.aborted) {
    const found = opened.waiting.shift();
    try {
      await upload(opened.url, opened.piece_bytes, found, { signal, sent: (bytes) => { opened.sent += bytes; } });
    } catch (error) {
      if (error.name === "AbortError") break;
      problem(`${found.name}: ${error.message}`);
      if (error.status === 404) {
        opened.gone = true;
        break;
      }
    }
  }
  opened.senders -= 1;
}

// Progress

async function watch(opened) {
  if (opened.watched) return;
  opened.watched = true;
  let lost = false;
  while (job === opened) {
    let state;
    // before asking: what the server says then is true of all that was sent
    const sent = opened.senders === 0 && !opened.waiting.length;
    try {
      state = await ask(`${opened.url}?rows_from=${rows.length}`);
      if (lost) problem(null);
      lost = false;
    } catch (error) {
      if (job !== opened) return;
      if (error.status) {
        problem(`${error.message}. The answers so far stay on this page.`);
        opened.gone = error.status === 404;
        opened.watched = false;
        return;
      }
      if (!lost) problem("The connection to the server is lost; trying again…");
      lost = true;
      await wait(POLL_MS * 5);
      continue;
    }
    if (job !== opened) return;
    if (state.rows.length) add(state.rows);
    progress(opened, state, sent);
    if (sent && !state.working) break;
    await wait(POLL_MS);
  }
  opened.watched = false;
}

function progress(opened, state, sent) {
  const uploaded = opened.bytes ? opened.sent / opened.bytes : 1;
  const answered = state.windows ? state.windows_done / state.windows : 0;
  const finished = sent && !state.working;
  find("progress").value = finished ? 1 : Math.min(uploaded, answered);
  find("stop").hidden = finished;
  const windows = state.windows > state.frames ? ` (${state.windows_done} of ${state.windows} windows)` : "";
  const left = state.seconds_left === null || finished ? "" : `, ${duration(state.seconds_left)} left`;
  const sendingWords = sent ? "" : `Sent ${percent(uploaded)}. `;
  const words = `${sendingWords}${rows.length} of ${Math.max(state.frames, opened.files)} images answered${windows}${left}.`;
  find("progress-words").textContent = words;
  if (finished) find("told").textContent = `Finished. ${words}`;
}

function stop() {
  sending.abort();
  sending = new AbortController();
  if (!job) return;
  job.waiting = [];
  ask(`${job.url}/stop`, { method: "POST" }).catch((error) => problem(error.message));
}

function removeAll() {
  sending.abort();
  if (job) ask(job.url, { method: "DELETE" }).catch(() => {});
  job = null;
  rows = [];
  detail.clear();
  table.show(rows);
  problem(null);
  for (const id of ["work", "results", "lapse"]) find(id).hidden = true;
  find("model").disabled = false;
  find("told").textContent = "All images are removed.";
}

// Answers

function add(found) {
  const first = !rows.length;
  rows = [...rows, ...found];
  tiles();
  table.show(rows);
  lapse();
  if (first) open(rows.find((row) => !row.error) ?? rows[0], { scroll: false });
}

function tiles() {
  const answered = rows.filter((row) => !row.error);
  const counts = job.classes.map((name) => [name, answered.filter((row) => row.class_name === name).length, ""]);
  if (job.calibrated) counts.push(["unsure", rows.filter(isUnsure).length, "caution"], ["unlike anything learnt", rows.filter(isUnlike).length, "caution"]);
  const failed = rows.length - answered.length;
  if (failed) counts.push(["without an answer", failed, "caution"]);
  find("tiles").replaceChildren(
    ...counts.map(([name, count, kind]) => element("li", { className: count ? kind : "" }, element("b", {}, String(count)), ` ${name}`)),
  );
}

function filter() {
  const [choice, text, { classes }] = [find("show").value, find("search").value, job];
  table.show(rows, (row) => isShown(row, choice, text, classes));
}

async function open(row, { scroll = true } = {}) {
  if (!row || row === detail.row) return;
  table.choose(row.number);
  const shown = detail.show(row, job);
  if (scroll && find("detail").getBoundingClientRect().top > window.innerHeight * 0.8) find("detail").scrollIntoView({ block: "start" });
  try {
    await shown;
  } catch (error) {
    if (row === detail.row) problem(`${row.name}: ${error.message}`);
  }
}

// Over time

function lapse() {
  const names = new Map(rows.filter((row) => row.frames > 1).map((row) => [row.file, row.name]));
  const single = rows.filter((row) => row.frames === 1).length;
  const options = [...names].map(([file, name]) => [file, name]);
  if (single > 1) options.push([ALL_FILES, "all single images, by name"]);
  if (names.size && !job.hasLapse) find("lapse-details").open = true;
  job.hasLapse = names.size > 0;
  find("lapse").hidden = !job.hasLapse && single < 3;
  setOptions(find("lapse-file"), options);
  const classes = find("lapse-class");
  if (classes.options.length !== job.classes.length) {
    setOptions(classes, job.classes.map((name, index) => [index, name]));
    classes.value = dyingClass(job.classes);
  }
  if (find("curve").clientWidth) drawLapse();
}

function drawLapse() {
  const chosen = find("lapse-file").value;
  const all = chosen === ALL_FILES;
  const inOrder = rows
    .filter((row) => (all ? row.frames === 1 : String(row.file) === chosen))
    .sort((one, other) => byName(one.name, other.name) || one.number - other.number)
    .map((row, index) => ({ ...row, place: all ? index : row.frame }));
  const classIndex = Number(find("lapse-class").value);
  const total = all ? inOrder.length : inOrder[0]?.frames ?? 1;
  const minutes = Number(find("interval").value) || 0;
  const className = job.classes[classIndex];
  find("curve-words").textContent = drawCurve(find("curve"), { rows: inOrder, classIndex, className, minutes, total });
}

// All together

/** One line about what went wrong; null when that is over. */
function problem(text) {
  const place = find("problems");
  if (text === null) {
    place.replaceChildren();
    return;
  }
  const close = element("button", { type: "button", className: "close", on: { click: () => line.remove() } }, "Close");
  const line = element("div", { className: "alarm", role: "alert" }, element("span", {}, text), close);
  place.append(line);
  while (place.children.length > 5) place.firstChild.remove();
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function choose(button, input, taken) {
  find(button).addEventListener("click", () => find(input).click());
  find(input).addEventListener("change", () => {
    const found = taken(listed(find(input).files));
    find(input).value = "";
    take(found);
  });
}

choose("choose-files", "files", (found) => found);
choose("choose-folder", "folder", imagesOf);
listenForDrops(find("drop"), take);
find("model").addEventListener("change", describeModel);
find("stop").addEventListener("click", stop);
find("remove").addEventListener("click", removeAll);
find("search").addEventListener("input", filter);
find("show").addEventListener("change", filter);
for (const id of ["lapse-file", "lapse-class", "interval"]) find(id).addEventListener("input", drawLapse);
new ResizeObserver(() => { if (find("curve").clientWidth) drawLapse(); }).observe(find("curve"));
window.addEventListener("pagehide", (event) => {
  if (job && !event.persisted) fetch(job.url, { method: "DELETE", keepalive: true });
});
setInterval(() => {
  const opened = job;
  if (opened) ask(`${opened.url}?rows_from=${rows.length}`).catch(({ status }) => { opened.gone ||= status === 404; });
}, HEARTBEAT_MS);
describeModel();
