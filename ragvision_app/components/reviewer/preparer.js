// What is made ready before it is needed: pictures first, then heatmaps and evidence, in idle moments.
import { heatmapCanvas, supportColours } from "./heatmap.js";

const DRAWN_AHEAD = 12; // items drawn ahead
const SOON_MS = 30;

export class Preparer {
  constructor(session) {
    this.session = session;
    this.timer = null;
    this.idle = null;
  }

  soon() {
    this.timer ??= setTimeout(() => {
      this.timer = null;
      this.prepare();
    }, SOON_MS);
  }

  // Pictures of the next items first, then the support pictures that their evidence shows.
  prepare() {
    const { current, queue, pictures } = this.session;
    const items = [...(current ? [current] : []), ...queue.ahead];
    const urls = items.map((item) => item.image_url);
    const support = items.flatMap((item) => (item.suggestion.evidence ?? []).map((match) => match.support_url));
    pictures.want([...new Set([...urls.slice(0, 6), ...support.slice(0, 24), ...urls, ...support])]);
    this.drawLater();
  }

  drawLater() {
    const whenIdle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, SOON_MS));
    this.idle ??= whenIdle(() => {
      this.idle = null;
      this.#drawNext();
    });
  }

  // The item's heatmap as a canvas, drawn once a suggestion.
  heat(item) {
    if (item.heatOf !== item.suggestion) {
      item.heatOf = item.suggestion;
      const { state, heatmap, flag, runner_up: runnerUp } = item.suggestion;
      const kind = (id) => this.session.classes.find((each) => each.id === id);
      item.colours = supportColours(kind(flag), kind(runnerUp));
      item.heat = state === "shown" ? heatmapCanvas(heatmap, item.colours) : null;
    }
    return item.heat;
  }

  // Names and colours have changed: what was drawn with the old ones is drawn again.
  forget() {
    const { current, queue, recent } = this.session;
    for (const item of [current, ...queue.ahead, ...recent.values()]) {
      if (item) item.heatOf = item.drawn = item.cards = null;
    }
  }

  // One item an idle moment: a key never waits for a dozen of them.
  #drawNext() {
    const { current, queue, pictures, view } = this.session;
    const drawn = (item) => item.drawn?.of === item.suggestion && item.drawn.by === view;
    const undrawn = (item) => item && !drawn(item) && pictures.isReady(item.image_url);
    const item = [current, ...queue.ahead.slice(0, DRAWN_AHEAD)].find(undrawn);
    if (!item || !view) return;
    this.heat(item);
    item.drawn = { of: item.suggestion, by: view };
    view.dress(item);
    this.drawLater();
  }
}
