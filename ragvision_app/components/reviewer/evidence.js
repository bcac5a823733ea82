// The evidence strip: each match as the query's patch beside the support's patch, in their surroundings.
import { make, safeColour, signed } from "./dom.js";

// Draws a square of `picture` around `box` (pixels of the original) and outlines the box.
function drawInContext(canvas, img, size, box, around, colour) {
  const [width, height] = size;
  const [left, top, right, bottom] = box;
  const side = Math.min(Math.max(right - left, bottom - top) * around, Math.max(width, height));
  const x = Math.max(0, Math.min((left + right - side) / 2, width - side));
  const y = Math.max(0, Math.min((top + bottom - side) / 2, height - side));
  const context = canvas.getContext("2d");
  const scale = canvas.width / side;
  const fx = img.naturalWidth / width; // the preview may be smaller than the original
  const fy = img.naturalHeight / height;
  const [cutW, cutH] = [Math.min(side, width), Math.min(side, height)];
  context.imageSmoothingQuality = "high";
  context.drawImage(img, x * fx, y * fy, cutW * fx, cutH * fy, 0, 0, cutW * scale, cutH * scale);
  context.strokeStyle = "rgba(0, 0, 0, 0.75)";
  context.lineWidth = 5;
  const outline = [(left - x) * scale, (top - y) * scale, (right - left) * scale, (bottom - top) * scale];
  context.strokeRect(...outline);
  context.strokeStyle = colour;
  context.lineWidth = 2.5;
  context.strokeRect(...outline);
}

const PIXELS = 168;

function crop(label) {
  const canvas = make("canvas", "rv-crop");
  canvas.width = PIXELS;
  canvas.height = PIXELS;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label);
  return canvas;
}

// One card a match, and `draw` to fill in the crops: the slow part, done once and off the path of a key.
// `onLight(number | null)` is called on hover, focus and tap.
export function evidenceCards(item, classes, pictures, onLight) {
  const suggestion = item.suggestion;
  const drawings = [];
  const nodes = suggestion.evidence.map((match) => {
    const kind = classes.get(match.class_id);
    const colour = safeColour(kind?.colour);
    const card = make("button", "rv-card");
    card.dataset.number = match.number;
    card.style.setProperty("--rv-class", colour);
    const query = crop(`E${match.number}: patch of this image`);
    const support = crop(`E${match.number}: patch of ${match.support_name}`);
    const pair = make("span", "rv-pair");
    pair.append(query, support);
    const chip = make("span", suggestion.cited?.includes(match.number) ? "rv-chip rv-cited" : "rv-chip", `E${match.number}`);
    const head = make("span", "rv-card-line");
    head.append(chip, make("span", "rv-dot"), make("b", "rv-clip", kind?.name ?? "?"));
    const facts = make("span", "rv-card-line rv-quiet");
    facts.append(make("span", "rv-number", `${match.similarity.toFixed(2)} alike`), make("span", "rv-number rv-end", signed(match.contribution)));
    card.append(pair, head, facts);
    card.title = `E${match.number}: this image's patch is ${match.similarity.toFixed(3)} alike to ${match.support_name} (${kind?.name ?? "?"}) and contributes ${signed(match.contribution, 4)}`;
    const draw = (canvas, url, size, box, around) => {
      const paint = (picture) => drawInContext(canvas, picture.img, size, box, around, colour);
      const picture = pictures.get(url);
      if (picture.state === "ready") paint(picture);
      else picture.ready.then(paint);
    };
    drawings.push(() => {
      draw(query, item.image_url, [item.width, item.height], match.query_box, 2.2);
      draw(support, match.support_url, [match.support_width, match.support_height], match.support_box, 3.4);
    });
    lightOn(card, match.number, onLight);
    return card;
  });
  return { nodes, draw: () => drawings.splice(0).forEach((work) => work()) };
}

// Hover, keyboard focus and tap all light the same boxes; a second tap lets them go.
export function lightOn(node, number, onLight) {
  node.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && onLight(number));
  node.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && onLight(null));
  node.addEventListener("focus", () => onLight(number));
  node.addEventListener("blur", () => onLight(null));
  node.addEventListener("click", () => onLight(number, true));
}

// The explanation with every E-number of the item's evidence as a chip.
export function explanationNodes(suggestion, onLight) {
  const known = new Map(suggestion.evidence.map((match) => [match.number, match]));
  return (suggestion.explanation ?? "").split(/\b(E\d+\b[\]).,;:]*)/).map((part) => {
    const [, digits, mark] = /^E(\d+)([^\d]*)$/.exec(part) ?? [];
    const number = digits === undefined ? null : Number(digits);
    if (number === null || !known.has(number)) return document.createTextNode(part);
    const chip = make("button", "rv-chip", `E${digits}`);
    chip.dataset.number = number;
    lightOn(chip, number, onLight);
    if (!mark) return chip;
    const together = make("span", "rv-together"); // no line begins with a comma
    together.append(chip, mark);
    return together;
  });
}
