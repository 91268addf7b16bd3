import { Refused } from "/static/ask.js";
import { Viewer } from "/static/viewer.js";
import { choices, keysOf, onKey } from "/page/choices.js";
import { persist } from "/page/persist.js";

const part = (id) => document.getElementById(id);
const viewer = new Viewer(part("viewer"), {
  label: "Item",
  remember: "panel",
  help: [...keysOf(part("work")), ["Backspace", "Leave it for later"]],
});
choices(part("work"), decide);

let item = null;
let ready = false;
/** Those left for later, in this window. */
let left = [];

async function decide(label) {
  if (!ready || !part("who").reportValidity()) return;
  await change({ item: item.id, label });
}

async function later() {
  if (!ready) return;
  left = [...left, item.id];
  await change({});
}

/** Store a decision, if there is one, and show the next item. */
async function change(json) {
  allow(false);
  warn(null);
  try {
    await show(await persist("/admin/adjudication/next", { ...json, by: part("by").value, left }, connection));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    warn(error.message);
    allow(item !== null);
  }
}

async function show(next) {
  const open = next.waiting;
  item = next.item;
  part("count").textContent = open === 1 ? "1 item waits" : `${open} items wait`;
  part("work").hidden = item === null;
  part("done").hidden = item !== null;
  if (item === null) {
    viewer.clear();
    part("left").textContent = open > 0
      ? `${open} left for later; load this page again to see them.`
      : "Nobody is shown here what they answered themselves: somebody else decides on that.";
    part("done-title").focus();
    return;
  }
  const { id, frames, channels, interval_ms } = item;
  await viewer.show({ frames, channels, interval_ms, url: (frame) => `/admin/adjudication/${id}/frame/${frame}` });
  allow(true);
  part("status").textContent = part("count").textContent;
}

function allow(on) {
  ready = on;
  part("work").ariaBusy = String(!on);
}

function connection(problem) {
  warn(problem === null ? null : `${problem} Nothing is lost: this page tries again by itself. Do not close it.`);
}

function warn(message) {
  part("notice").hidden = message === null;
  part("notice").textContent = message ?? "";
}

part("later").addEventListener("click", later);
part("keys").addEventListener("click", () => viewer.act("help"));
part("who").addEventListener("submit", (event) => {
  event.preventDefault();
  // the next keys are answers, no letters of the name
  part("viewer").querySelector("canvas").focus();
});
// whoever decides is shown no item that they answered themselves
part("by").addEventListener("change", () => change({}));
onKey("Backspace", later);
await change({});
