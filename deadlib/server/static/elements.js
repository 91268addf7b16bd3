import { element } from "/static/dom.js";

export { element };

/** The element with that id. */
export const find = (id) => document.getElementById(id);

/** An element of a picture; `text` is text, anything else an attribute. */
export function svg(name, { text, ...attributes } = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

/**
 * Replace the options of a select; keeps the chosen value where it is still there.
 * @param {HTMLSelectElement} select
 * @param {[string|number, string][]} options value and text of each
 */
export function setOptions(select, options) {
  const chosen = select.value;
  select.replaceChildren(...options.map(([value, textContent]) => element("option", { value, textContent })));
  if (options.some(([value]) => String(value) === chosen)) select.value = chosen;
}
