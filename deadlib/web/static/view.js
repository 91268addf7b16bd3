/**
 * Where an image lies on a stage, all in screen pixels: `scale` for each of the image's pixels, its
 * centre at (`x`, `y`) of the image's pixels shown in the middle of the stage. Pure functions.
 * @typedef {{scale: number, x: number, y: number}} View
 * @typedef {{width: number, height: number}} Size
 */

/** How far one can go in: to this scale, and to this many times the whole image's. */
const LARGEST_SCALE = 64;
const LARGEST_ZOOM = 8;

/** The whole image, as large as the stage allows. */
export function fitted(image, stage) {
  const scale = Math.min(stage.width / image.width, stage.height / image.height);
  return { scale, x: image.width / 2, y: image.height / 2 };
}

/** Zoomed by a factor, the image's place below the stage's point (px, py) staying there. */
export function zoomed(view, factor, image, stage, px = stage.width / 2, py = stage.height / 2) {
  const whole = fitted(image, stage).scale;
  const [least, most] = [Math.min(whole, 1), Math.max(LARGEST_SCALE, LARGEST_ZOOM * whole)];
  const scale = Math.min(Math.max(view.scale * factor, least), most);
  const [x, y] = placeAt(view, stage, px, py);
  return kept({ scale, x: x - (px - stage.width / 2) / scale, y: y - (py - stage.height / 2) / scale }, image, stage);
}

/** Moved with the image by (dx, dy) of the stage. */
export function panned(view, dx, dy, image, stage) {
  return kept({ ...view, x: view.x - dx / view.scale, y: view.y - dy / view.scale }, image, stage);
}

/** The nearest view that leaves no more of the stage empty than it must. */
export function kept(view, image, stage) {
  return {
    scale: view.scale,
    x: within(view.x, stage.width / 2 / view.scale, image.width),
    y: within(view.y, stage.height / 2 / view.scale, image.height),
  };
}

function within(centre, reach, side) {
  return 2 * reach >= side ? side / 2 : Math.min(Math.max(centre, reach), side - reach);
}

/** The image's place (x, y), in its pixels from its corner, below a point of the stage. */
export function placeAt(view, stage, px, py) {
  return [view.x + (px - stage.width / 2) / view.scale, view.y + (py - stage.height / 2) / view.scale];
}

/** The rectangle of the stage that the image covers: [left, top, width, height]. */
export function rectangle(view, image, stage) {
  return [
    stage.width / 2 - view.x * view.scale,
    stage.height / 2 - view.y * view.scale,
    image.width * view.scale,
    image.height * view.scale,
  ];
}
