import { byName } from "./words.js";

const IMAGE = /\.(png|jpe?g|bmp|tiff?)$/i;

/**
 * Take files that are dropped on `place` or anywhere else on the page.
 * @param {HTMLElement} place lights up while files hang over the page
 * @param {(found: Found[]) => void} taken
 */
export function listenForDrops(place, taken) {
  let depth = 0;
  const light = (change) => {
    depth = Math.max(0, depth + change);
    place.classList.toggle("over", depth > 0);
  };
  document.addEventListener("dragenter", (event) => { event.preventDefault(); light(1); });
  document.addEventListener("dragleave", () => light(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    light(-depth);
    taken(await filesOf(event.dataTransfer));
  });
}

/**
 * @typedef {{name: string, file: File}} Found  name: with its folders below what was dropped
 */

/** All files of a list, such as that of an input element. @returns {Found[]} */
export function listed(files) {
  return sorted([...files].map((file) => ({ name: file.webkitRelativePath || file.name, file })));
}

/** Only those that look like images; a folder holds much else. */
export const imagesOf = (found) => found.filter(({ name }) => IMAGE.test(name) && !name.split("/").pop().startsWith("."));

async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return listed(transfer.files);
  const several = await Promise.all(entries.map((entry) => below(entry)));
  const folders = entries.some((entry) => entry.isDirectory);
  const found = sorted(several.flat());
  return folders ? imagesOf(found) : found;
}

async function below(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ name: entry.fullPath.replace(/^\//, ""), file }];
  }
  const reader = entry.createReader();
  const found = [];
  // a reader hands out its entries in parts, and an empty part at the end
  for (;;) {
    const part = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!part.length) break;
    found.push(...part);
  }
  return (await Promise.all(found.map((each) => below(each)))).flat();
}

const sorted = (found) => found.sort((one, other) => byName(one.name, other.name));
