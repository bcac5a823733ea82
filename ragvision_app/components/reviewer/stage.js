// The image: swapped in whole, with heatmap and evidence boxes on top; zoom by wheel or pinch, pan by drag.
import { clamp, make, safeColour } from "./dom.js";

const MAX_ZOOM = 12;

export class Stage {
  constructor(root) {
    this.node = root.querySelector("[data-part=stage]");
    this.world = root.querySelector("[data-part=world]");
    this.boxes = root.querySelector("[data-part=boxes]");
    this.img = null;
    this.heat = null;
    this.item = null;
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    this.pointers = new Map();
    this.room = { width: 0, height: 0 };
    this.watch = new ResizeObserver(([entry]) => {
      this.room = entry.contentRect; // kept, because asking for it after a change forces a layout
      this.fit();
    });
    this.watch.observe(this.node);
    this.visible = true;
    this.sight = new IntersectionObserver((entries) => (this.visible = entries.at(-1).intersectionRatio > 0.3), {
      threshold: [0, 0.3, 0.6],
    });
    this.sight.observe(this.node);
    this.#listen();
  }

  destroy() {
    this.watch.disconnect();
    this.sight.disconnect();
  }

  // Puts a decoded image on screen; everything is in place when this returns, painted in the next frame.
  show(item, img, heat, boxes) {
    this.item = item;
    this.world.replaceChildren(img, ...(heat ? [heat] : []), this.boxes);
    this.img = img;
    this.heat = heat;
    img.className = "rv-image";
    if (heat) heat.className = "rv-heat";
    this.boxes.replaceChildren(...boxes.map((box) => this.#box(item, box)));
    this.reset();
  }

  clear() {
    this.item = null;
    this.img = null;
    this.heat = null;
    this.world.replaceChildren(this.boxes);
    this.boxes.replaceChildren();
    delete this.node.dataset.itemId;
  }

  replaceOverlays(heat, boxes) {
    if (!this.img) return;
    this.show(this.item, this.img, heat, boxes);
  }

  highlight(number) {
    for (const box of this.boxes.children) box.classList.toggle("rv-lit", box.dataset.number === String(number));
  }

  reset() {
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    this.fit();
  }

  // The largest size at which the whole image is in view.
  fit() {
    if (!this.item) return;
    if (!this.room.width) this.room = this.node.getBoundingClientRect();
    const { room } = this;
    const width = this.item.width || this.img.naturalWidth;
    const height = this.item.height || this.img.naturalHeight;
    const scale = Math.min((room.width - 16) / width, (room.height - 16) / height);
    this.world.style.width = `${Math.max(1, width * scale)}px`;
    this.world.style.height = `${Math.max(1, height * scale)}px`;
    this.#place();
  }

  #box(item, { number, box, colour, cited }) {
    const node = make("div", cited ? "rv-box rv-cited" : "rv-box");
    node.dataset.number = number;
    node.append(make("span", "", `E${number}`));
    node.style.left = `${(100 * box[0]) / item.width}%`;
    node.style.top = `${(100 * box[1]) / item.height}%`;
    node.style.width = `${(100 * (box[2] - box[0])) / item.width}%`;
    node.style.height = `${(100 * (box[3] - box[1])) / item.height}%`;
    node.style.setProperty("--rv-class", safeColour(colour));
    return node;
  }

  #place() {
    this.world.style.transform = `translate(-50%, -50%) translate(${this.x}px, ${this.y}px) scale(${this.zoom})`;
    this.world.style.setProperty("--rv-unzoom", String(1 / this.zoom));
    this.node.classList.toggle("rv-zoomed", this.zoom > 1.001);
  }

  #zoomAt(clientX, clientY, factor) {
    const room = this.node.getBoundingClientRect();
    const px = clientX - room.left - room.width / 2;
    const py = clientY - room.top - room.height / 2;
    const zoom = clamp(this.zoom * factor, 1, MAX_ZOOM);
    const ratio = zoom / this.zoom;
    this.x = px - (px - this.x) * ratio;
    this.y = py - (py - this.y) * ratio;
    this.zoom = zoom;
    this.#hold();
  }

  // The image cannot be pushed out of view.
  #hold() {
    const limitX = (this.world.offsetWidth * this.zoom) / 2;
    const limitY = (this.world.offsetHeight * this.zoom) / 2;
    this.x = this.zoom === 1 ? 0 : clamp(this.x, -limitX, limitX);
    this.y = this.zoom === 1 ? 0 : clamp(this.y, -limitY, limitY);
    this.#place();
  }

  #listen() {
    this.node.addEventListener(
      "wheel",
      (event) => {
        if (!this.item || event.target.closest(".rv-message, .rv-dialog")) return;
        event.preventDefault();
        this.#zoomAt(event.clientX, event.clientY, Math.exp(-event.deltaY * 0.0016));
      },
      { passive: false },
    );
    this.node.addEventListener("dblclick", () => this.item && this.reset());
    this.node.addEventListener("pointerdown", (event) => {
      if (!this.item || event.target.closest("button, a, input")) return;
      this.pointers.set(event.pointerId, event);
      this.node.setPointerCapture(event.pointerId);
    });
    this.node.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      if (this.pointers.size === 2) {
        const other = [...this.pointers.values()].find((p) => p.pointerId !== event.pointerId);
        const span = (a) => Math.hypot(a.clientX - other.clientX, a.clientY - other.clientY) || 1;
        this.#zoomAt((event.clientX + other.clientX) / 2, (event.clientY + other.clientY) / 2, span(event) / span(before));
      } else if (this.zoom > 1) {
        this.x += event.clientX - before.clientX;
        this.y += event.clientY - before.clientY;
        this.#hold();
      }
      this.pointers.set(event.pointerId, event);
    });
    const release = (event) => this.pointers.delete(event.pointerId);
    this.node.addEventListener("pointerup", release);
    this.node.addEventListener("pointercancel", release);
  }
}
