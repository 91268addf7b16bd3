import { Refused } from "/static/ask.js";
import { Viewer } from "/static/viewer.js";
import { choices, keysOf, onKey } from "/page/choices.js";
import { persist } from "/page/persist.js";
import { Stopwatch } from "/page/stopwatch.js";

/** A press sooner than this after an item appeared was meant for the one before. */
const BOUNCE_SECONDS = 0.15;
const SHOWN_AGAIN = 3;

const part = (id) => document.getElementById(id);
const viewer = new Viewer(part("viewer"), {
  label: "Item",
  remember: "panel",
  help: [...keysOf(part("work")), ["Backspace", "Take the last answer back"]],
});
const stopwatch = new Stopwatch();
const answers = choices(part("work"), answer);

let task = null;
/** Whether the item that is shown may be answered now. */
let ready = false;

/** Show what the server says is next. */
async function show(next) {
  task = next;
  const { serving, ahead, progress, phase } = task;
  tellProgress(progress);
  tellPhase(phase);
  part("work").hidden = serving === null;
  part("done").hidden = serving !== null;
  part("undo").disabled = !task.can_undo;
  part("undo-last").hidden = !task.can_undo;
  if (serving === null) {
    viewer.clear();
    say("All done.");
    part("done-title").focus();
    return;
  }
  tellShown(serving);
  answers.show(serving.answers);
  if (!(await drawn(serving))) return;
  stopwatch.start();
  allow(true);
  say(serving.label === null ? `Item ${serving.number}` : `Item ${serving.number}: ${serving.label}`);
  if (ahead !== null) viewer.prepare(picture(ahead));
}

/**
 * Draw an item. Where it cannot be drawn the server is asked: it may know better, or come back.
 * @returns {Promise<boolean>} false where another item is shown instead, or none can be
 */
async function drawn(serving) {
  for (let attempt = 0; attempt < SHOWN_AGAIN; attempt += 1) {
    if (await viewer.show(picture(serving))) return true;
    const now = await request("/task");
    if (now === null) return false;
    if (now.serving?.id !== serving.id) {
      await show(now);
      return false;
    }
  }
  warn("This item cannot be shown. Load the page again; if that does not help, tell the administrator.");
  return false;
}

function picture({ id, frames, channels, interval_ms }) {
  return { frames, channels, interval_ms, url: (frame) => `/serving/${id}/frame/${frame}` };
}

async function answer(response, button) {
  if (!ready || stopwatch.seconds() < BOUNCE_SECONDS) return;
  const seconds = stopwatch.seconds();
  button.classList.add("chosen");
  await change("/answer", { serving: task.serving.id, response, seconds });
  button.classList.remove("chosen");
}

async function undo() {
  if (!task?.can_undo || (task.serving !== null && !ready)) return;
  await change("/undo", { serving: task.serving?.id ?? null });
}

/** One change at a time; the next item is shown once the server has stored it. */
async function change(url, json) {
  allow(false);
  stopwatch.stop();
  warn(null);
  const next = await request(url, json);
  if (next !== null) await show(next);
}

/** The server's answer; null where it refused, which is then told and, if it can be, mended. */
async function request(url, json) {
  try {
    return await persist(url, json, connection);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    warn(error.message);
    return error.status === 409 ? await request("/task") : null;
  }
}

function connection(problem) {
  const lost = problem !== null;
  part("work").classList.toggle("lost", lost);
  warn(lost ? `${problem} Nothing is lost: this page tries again by itself. Do not close it.` : null);
}

function allow(on) {
  ready = on;
  part("work").ariaBusy = String(!on);
}

function tellProgress({ value, all, words }) {
  part("progress").max = Math.max(all, 1);
  part("progress").value = value;
  part("count").textContent = words;
}

function tellPhase(phase) {
  part("phase").hidden = phase === null;
  part("phase").textContent = phase ?? "";
}

function tellShown({ shown, label }) {
  const list = part("shown");
  list.hidden = shown.length === 0;
  list.replaceChildren(...shown.map(([name, value]) => pair(name, value)));
  const truth = part("truth");
  truth.hidden = label === null;
  const word = document.createElement("b");
  word.textContent = label ?? "";
  truth.replaceChildren("This is: ", word);
}

function pair(name, value) {
  const row = document.createElement("div");
  const term = document.createElement("dt");
  const text = document.createElement("dd");
  term.textContent = name;
  text.textContent = value;
  row.append(term, text);
  return row;
}

function warn(message) {
  part("notice").hidden = message === null;
  part("notice").textContent = message ?? "";
}

function say(message) {
  part("status").textContent = message;
}

part("undo").addEventListener("click", undo);
part("undo-last").addEventListener("click", undo);
part("look").addEventListener("click", async () => {
  const now = await request("/task");
  if (now !== null) await show(now);
});
part("keys").addEventListener("click", () => viewer.act("help"));
onKey("Backspace", undo);
window.addEventListener("beforeunload", (event) => {
  if (part("work").classList.contains("lost")) event.preventDefault();
});

const first = await request("/task");
if (first !== null) await show(first);
