/**
 * An element with properties, attributes and children; text is text, never markup.
 * @param {string} name
 * @param {object} [settings]  `on` holds listeners, names with a dash or "role" are attributes, the
 *   rest are properties
 * @param {...(Node|string)} children
 */
export function element(name, { on = {}, ...settings } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(settings)) {
    if (key.includes("-") || key === "role" || key === "for") made.setAttribute(key, value);
    else made[key] = value;
  }
  for (const [event, listener] of Object.entries(on)) made.addEventListener(event, listener);
  made.append(...children);
  return made;
}

/** A button; `label` for those who do not see its sign. */
export function button(sign, label, press) {
  const settings = { type: "button", title: label, on: { click: press } };
  return element("button", sign === label ? settings : { ...settings, "aria-label": label }, sign);
}
