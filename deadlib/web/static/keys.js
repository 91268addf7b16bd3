import { button, element } from "./dom.js";

/** What the viewer's keys are, and which of its actions they start. Letters and digits are left to the page. */
export const KEYS = [
  { keys: ["+", "="], shown: "+", words: "Closer", action: "closer" },
  { keys: ["-", "_"], shown: "-", words: "Farther", action: "farther" },
  { keys: ["*"], shown: "*", words: "The whole image", action: "fit" },
  { keys: ["/"], shown: "/", words: "One pixel of the image on one of the screen", action: "actual" },
  { keys: ["shift ArrowLeft"], shown: "Shift ←", words: "Move to the left", action: "left" },
  { keys: ["shift ArrowRight"], shown: "Shift →", words: "Move to the right", action: "right" },
  { keys: ["shift ArrowUp"], shown: "Shift ↑", words: "Move up", action: "up" },
  { keys: ["shift ArrowDown"], shown: "Shift ↓", words: "Move down", action: "down" },
  { keys: ["["], shown: "[", words: "Lift the dark (gamma down)", action: "lift" },
  { keys: ["]"], shown: "]", words: "Press the dark (gamma up)", action: "press" },
  { keys: [" "], shown: "Space", words: "Play or pause a sequence", action: "toggle" },
  { keys: [",", "ArrowLeft"], shown: ", or ←", words: "A frame back", action: "back" },
  { keys: [".", "ArrowRight"], shown: ". or →", words: "A frame on", action: "on" },
  { keys: ["<"], shown: "<", words: "Slower", action: "slower" },
  { keys: [">"], shown: ">", words: "Faster", action: "faster" },
  { keys: ["?"], shown: "?", words: "These keys", action: "help" },
];

/**
 * The action that a key press means, or null.
 * @param {KeyboardEvent} event
 */
export function actionOf(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || usedBy(event.target, event.key)) return null;
  const pressed = event.shiftKey && event.key.startsWith("Arrow") ? `shift ${event.key}` : event.key;
  return KEYS.find(({ keys }) => keys.includes(pressed))?.action ?? null;
}

/** Whether the control that has the focus needs the key for itself. */
function usedBy(target, key) {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target.matches("textarea, select")) return true;
  if (target.matches("input[type=range], input[type=radio]")) return key.startsWith("Arrow") || key === " ";
  if (target.matches("input[type=checkbox], input[type=button], input[type=color]")) return key === " ";
  if (target.matches("input")) return true;
  return key === " " && target.matches("button, summary, a");
}

/**
 * A dialog of all keys; open it by `showModal()`. What is pressed inside stays inside.
 * @param {[string, string][]} others  keys of the page itself, and what they do
 */
export function helpDialog(others) {
  const rows = [...others, ...KEYS.map(({ shown, words }) => [shown, words])].map(([shown, words]) =>
    element("tr", {}, element("th", { scope: "row" }, element("kbd", {}, shown)), element("td", {}, words)),
  );
  const dialog = element(
    "dialog",
    { className: "viewer-help", "aria-label": "Keys", on: { keydown: (event) => event.stopPropagation() } },
    element("h2", {}, "Keys"),
    element("table", {}, element("tbody", {}, ...rows)),
    element("p", {}, "Mouse: the wheel zooms, dragging moves. Touch: two fingers zoom, one moves."),
  );
  dialog.append(button("Close", "Close", () => dialog.close()));
  return dialog;
}
