// Contributions of the image's positions to flag against runner-up, drawn over it. Signed: zero is clear.
import { clamp, safeColour } from "./dom.js";

// Blue and orange stay apart for every common kind of colour blindness, on grey photographs too.
const FOR = [38, 139, 255];
const AGAINST = [255, 138, 20];
const TOO_ALIKE = 110; // of 441, the distance of black and white

function channels(colour) {
  const hex = safeColour(colour).slice(1);
  const full = hex.length < 6 ? [...hex].map((c) => c + c).join("") : hex;
  return [0, 2, 4].map((at) => parseInt(full.slice(at, at + 2), 16));
}

// A place that supports a class has the colour of that class, as everywhere; two classes whose colours
// are hard to tell apart are drawn in blue and orange instead.
export function supportColours(flag, runnerUp) {
  if (!flag || !runnerUp) return [FOR, AGAINST];
  const [a, b] = [channels(flag.colour), channels(runnerUp.colour)];
  return Math.hypot(...a.map((value, i) => value - b[i])) < TOO_ALIKE ? [FOR, AGAINST] : [a, b];
}

const FINE = 16; // interpolated points per grid cell and direction

// Bilinear between the centres of the cells, clamped at the border; `values` is row-major.
export function interpolate(values, rows, columns, y, x) {
  const top = clamp(y - 0.5, 0, rows - 1);
  const left = clamp(x - 0.5, 0, columns - 1);
  const r = Math.min(Math.floor(top), Math.max(rows - 2, 0));
  const c = Math.min(Math.floor(left), Math.max(columns - 2, 0));
  const r1 = Math.min(r + 1, rows - 1);
  const c1 = Math.min(c + 1, columns - 1);
  const v = top - r;
  const u = left - c;
  return (
    values[r * columns + c] * (1 - v) * (1 - u) +
    values[r * columns + c1] * (1 - v) * u +
    values[r1 * columns + c] * v * (1 - u) +
    values[r1 * columns + c1] * v * u
  );
}

// A canvas that the page stretches over the image; null when the item has no heatmap.
export function heatmapCanvas(heatmap, [positive, negative] = [FOR, AGAINST]) {
  if (!heatmap?.values?.length) return null;
  const [rows, columns] = heatmap.grid;
  const canvas = document.createElement("canvas");
  canvas.width = columns * FINE;
  canvas.height = rows * FINE;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(canvas.width, canvas.height);
  const scale = heatmap.scale > 0 ? heatmap.scale : Math.max(...heatmap.values.map(Math.abs), 1e-9);
  let at = 0;
  for (let y = 0; y < canvas.height; y += 1) {
    for (let x = 0; x < canvas.width; x += 1) {
      const value = clamp(interpolate(heatmap.values, rows, columns, (y + 0.5) / FINE, (x + 0.5) / FINE) / scale, -1, 1);
      const colour = value >= 0 ? positive : negative;
      pixels.data[at] = colour[0];
      pixels.data[at + 1] = colour[1];
      pixels.data[at + 2] = colour[2];
      pixels.data[at + 3] = Math.round(255 * Math.abs(value));
      at += 4;
    }
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}
