/** Above this share of windows an image counts as unsure, or as unlike what was learnt. */
export const MOST = 0.5;

/** Names as people sort them: image 2 before image 10. */
export const byName = new Intl.Collator("en", { numeric: true, sensitivity: "base" }).compare;

/** 0.987 as "98.7 %"; never 100 % where it is not, nor 0 %. */
export function percent(share) {
  const value = 100 * share;
  if (value > 99.9 && value < 100) return "> 99.9 %";
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(value === 0 || value === 100 ? 0 : 1)} %`;
}

/** Seconds in words, as roughly as they are known. */
export function duration(seconds) {
  if (seconds < 2) return "a moment";
  if (seconds < 90) return `about ${Math.ceil(seconds)} seconds`;
  if (seconds < 5400) return `about ${Math.ceil(seconds / 60)} minutes`;
  return `about ${(seconds / 3600).toFixed(1)} hours`;
}

/** What a row is called: its file, and its frame where the file has several. */
export function title(row) {
  return row.frames > 1 ? `${row.name}, frame ${row.frame + 1} of ${row.frames}` : row.name;
}

/** Whether the answer is not to be taken for one. */
export const isUnsure = (row) => !row.error && row.unsure !== null && row.unsure >= MOST;

/** Whether the image is unlike all that the model has learnt. */
export const isUnlike = (row) => !row.error && row.unlike !== null && row.unlike >= MOST;

/** How sure the model is, in words. */
export function sureness(row) {
  if (row.unsure === null) return "cannot tell";
  if (row.windows > 1) {
    const count = Math.round(row.unsure * row.windows);
    return count === 0 ? "sure" : `unsure in ${count} of ${row.windows} windows`;
  }
  if (!row.unsure) return "sure";
  const set = row.prediction_set ?? [];
  return set.length > 1 ? `unsure: ${set.join(" or ")}` : "unsure: no class fits";
}

/** Whether the image is of the kind that was learnt, in words. */
export function likeness(row) {
  if (row.unlike === null) return "cannot tell";
  if (row.windows > 1) {
    const count = Math.round(row.unlike * row.windows);
    return count === 0 ? "nothing unusual noticed" : `unlike anything learnt in ${count} of ${row.windows} windows`;
  }
  return row.unlike ? "unlike anything learnt" : "nothing unusual noticed";
}

/** The probability of the answer. */
export const best = (row) => (row.error ? -1 : Math.max(...row.probability));

/** The place of the class that time-lapses are usually followed for; the first where no name tells. */
export function dyingClass(classes) {
  const found = classes.findIndex((name) => /dead|dying|sick|death|apopto|necro|ferropto|treated/i.test(name));
  return Math.max(0, found);
}

/** What the probability of an image is the mean of, in words; nothing where it was judged at once. */
export function averaged(row, windowPx) {
  if (row.windows < 2) return "";
  const meaning = row.unsure === null ? "" : ": about the share of the image that looks so, not how certain the answer is";
  return ` on average over ${row.windows} windows of ${windowPx.join(" × ")} px${meaning}`;
}

/** What to think of an answer, in a sentence or two. */
export function verdict(row) {
  if (row.unsure === null) return "The model is not calibrated: it cannot tell how sure it is.";
  const set = row.prediction_set ?? [];
  const parts = (share) => `${Math.round(share * row.windows)} of its ${row.windows} windows`;
  let sure = "The model is sure";
  if (row.windows > 1) sure = row.unsure ? `The model is unsure in ${parts(row.unsure)}` : "The model is sure in each of them";
  else if (row.unsure) sure = set.length > 1 ? `The model is unsure: it may be ${set.join(" or ")}` : "The model is unsure: no class fits";
  if (row.unlike === null) return `${sure}.`;
  if (!row.unlike) return `${sure}, and nothing marks the image as unlike those that it was trained on.`;
  const where = row.windows > 1 ? `In ${parts(row.unlike)} the image` : "The image";
  return `${sure}. ${where} is unlike anything that it was trained on: do not rely on the answer${row.windows > 1 ? " there" : ""}.`;
}
