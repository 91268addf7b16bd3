const WRITING = "input:not([type=range], [type=checkbox], [type=radio], [type=button]), select, textarea";

/**
 * Buttons and keys that stand for the same thing.
 * @param {HTMLElement} root where the buttons `.choice` with data-response and data-key are
 * @param {(response: string, button: HTMLButtonElement) => void} choose
 * @returns {{show: (responses: string[]) => void}} `show`: only these can be chosen
 */
export function choices(root, choose) {
  const buttons = buttonsIn(root);
  for (const button of buttons) {
    button.addEventListener("click", (event) => {
      // else the space bar, which pauses a sequence, would choose it again
      if (event.detail > 0) button.blur();
      choose(button.dataset.response, button);
    });
    onKey(button.dataset.key, () => {
      if (!button.hidden) choose(button.dataset.response, button);
    });
  }
  return {
    show(responses) {
      for (const button of buttons) button.hidden = !responses.includes(button.dataset.response);
    },
  };
}

/** The keys of the buttons in `root`, and what they stand for, as the viewer's help takes them. */
export function keysOf(root) {
  return buttonsIn(root).map((button) => [shownKey(button.dataset.key), button.dataset.text]);
}

/**
 * Call `act` when a key is pressed: once, however long it is held, and never while somebody writes
 * or a dialog is open.
 * @param {string} key as KeyboardEvent.key has it, in any case
 * @param {(event: KeyboardEvent) => void} act
 */
export function onKey(key, act) {
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== key.toLowerCase()) return;
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (event.target.closest?.(WRITING) || document.querySelector("dialog[open]")) return;
    // Enter on a button or a link is its own click
    if (event.key === "Enter" && event.target.closest?.("button, a, summary")) return;
    event.preventDefault();
    act(event);
  });
}

function buttonsIn(root) {
  return [...root.querySelectorAll(".choice")];
}

function shownKey(key) {
  return key.length === 1 ? key.toUpperCase() : key;
}
