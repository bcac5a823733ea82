// The explanation while a slow reasoner writes it: one stream, for the image that stays on screen.
const SETTLED_MS = 400; // a fast hand opens no streams

export class Listener {
  constructor(session) {
    this.session = session;
    this.timer = null;
    this.stream = null;
    this.item = null;
  }

  // Follows the image on screen, as long as its answer is to come.
  follow(item) {
    this.stop();
    if (item.suggestion.reasoning !== "pending" || item.second || !globalThis.EventSource) return;
    this.item = item;
    this.timer = setTimeout(() => this.#open(item), SETTLED_MS);
  }

  stop() {
    clearTimeout(this.timer);
    this.stream?.close();
    this.timer = this.stream = this.item = null;
  }

  #open(item) {
    const { session } = this;
    const stream = new EventSource(session.api.explanationUrl(item.id, session.annotator));
    this.stream = stream;
    const mine = () => this.stream === stream && session.current === item;
    stream.addEventListener("text", (event) => {
      if (!mine()) return;
      item.draft = JSON.parse(event.data);
      session.view?.draft(item);
    });
    stream.addEventListener("done", () => {
      if (!mine()) return;
      this.stop();
      session.refresher.refresh(item).catch(() => {}); // the refresher asks again in a moment
    });
    // A server that is away, or has no such stream: the refresher brings the answer.
    stream.addEventListener("error", () => this.stream === stream && this.stop());
  }
}
