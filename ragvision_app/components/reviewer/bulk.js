// Look-alikes in one go: click the odd ones out, one key labels the rest, one undo takes them all back.
import { make, plural, safeColour } from "./dom.js";

export class Bulk {
  constructor(dialogs, { onAccept, onClose }) {
    this.dialogs = dialogs;
    this.onAccept = onAccept;
    this.onClose = onClose;
    this.tiles = [];
  }

  get open() {
    return this.dialogs.open === "bulk";
  }

  // `kind` is the class that all of them are suggested to be.
  show(items, kind) {
    this.kind = kind;
    this.items = items;
    const grid = make("div", "rv-grid");
    grid.style.setProperty("--rv-tile", items.length <= 8 ? "190px" : items.length <= 15 ? "150px" : "108px");
    grid.style.setProperty("--rv-class", safeColour(kind.colour));
    this.tiles = items.map((item) => this.#tile(item));
    grid.append(...this.tiles.map((tile) => tile.node));
    this.accept = make("button", "rv-button rv-main rv-wide");
    this.acceptText = make("span", "rv-clip");
    this.accept.append(this.acceptText, make("kbd", "", "Enter"));
    this.accept.addEventListener("click", () => this.confirm());
    const hint = make("p", "rv-quiet", "Click those that are something else: they stay in the queue.");
    const box = this.dialogs.custom("bulk", `${plural(items.length, "look-alike")}, all suggested as ${kind.name}`, hint, grid, this.accept);
    box.classList.add("rv-dialog-large");
    this.#count();
  }

  // Only what could be seen is labelled: a picture that has not loaded counts as an odd one.
  confirm() {
    const yes = this.tiles.filter((tile) => tile.seen && !tile.odd).map((tile) => tile.item);
    const rest = this.tiles.filter((tile) => !tile.seen || tile.odd).map((tile) => tile.item);
    if (!yes.length) return false;
    this.dialogs.close();
    this.onAccept(yes, rest, this.kind);
    return true;
  }

  cancel() {
    const items = this.items;
    this.dialogs.close();
    this.onClose(items);
  }

  #tile(item) {
    const node = make("button", "rv-tile");
    const img = make("img");
    const tile = { item, node, odd: false, seen: false };
    img.alt = item.name;
    img.draggable = false;
    img.src = item.image_url.replace(/\/preview$/, "/small");
    img
      .decode()
      .then(() => requestAnimationFrame(() => {
        tile.seen = true;
        this.#count();
      }))
      .catch(() => node.classList.add("rv-broken"));
    const score = item.suggestion.scores.find((s) => s.class_id === item.suggestion.flag);
    node.append(img, make("span", "rv-number", score ? score.probability.toFixed(2) : ""));
    node.title = item.name;
    node.setAttribute("aria-pressed", "false");
    node.setAttribute("aria-label", `${item.name}: odd one out`);
    node.addEventListener("click", () => {
      tile.odd = !tile.odd;
      node.setAttribute("aria-pressed", String(tile.odd));
      this.#count();
    });
    return tile;
  }

  #count() {
    const yes = this.tiles.filter((tile) => tile.seen && !tile.odd).length;
    const loading = this.tiles.filter((tile) => !tile.seen).length;
    this.acceptText.textContent = `Label ${plural(yes, "image")} as ${this.kind.name}${loading ? ` (${loading} still loading)` : ""}`;
    this.accept.disabled = yes === 0;
  }
}
