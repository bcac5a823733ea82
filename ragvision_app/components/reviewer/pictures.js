// Images decoded ahead of the annotator, most urgent first, and held so that showing one is only a swap.

const PARALLEL = 4; // a browser opens six connections to a server: two stay free for decisions
const KEPT = 160;
const RETRY_MS = [300, 1000, 3000];

export class Pictures {
  constructor(onReady = () => {}) {
    this.onReady = onReady;
    this.known = new Map(); // url -> {url, img, state, tries, ready, settle}; in order of last use
    this.waiting = [];
    this.loading = 0;
  }

  // `urls` in the order in which they will be needed; replaces what was waiting before.
  want(urls) {
    this.waiting = [];
    for (const url of urls) {
      const picture = this.#entry(url);
      if (picture.state === "waiting") this.waiting.push(picture);
    }
    this.#forgetOldest(new Set(urls));
    this.#pump();
  }

  get(url) {
    const picture = this.#entry(url);
    this.known.delete(url); // last used goes last
    this.known.set(url, picture);
    return picture;
  }

  isReady(url) {
    return this.known.get(url)?.state === "ready";
  }

  // Resolves when the picture can be painted without a wait; asks for it before all others.
  need(url) {
    const picture = this.get(url);
    if (picture.state === "failed") picture.state = "waiting";
    if (picture.state === "waiting") {
      this.waiting = [picture, ...this.waiting.filter((other) => other !== picture)];
      this.#pump(true);
    }
    return picture.ready;
  }

  #entry(url) {
    let picture = this.known.get(url);
    if (!picture) {
      picture = { url, img: null, state: "waiting", tries: 0 };
      picture.ready = new Promise((resolve) => (picture.settle = resolve));
      this.known.set(url, picture);
    }
    return picture;
  }

  #pump(urgent = false) {
    while (this.waiting.length && this.loading < PARALLEL + (urgent ? 1 : 0)) {
      const picture = this.waiting.shift();
      if (picture.state === "waiting") this.#load(picture);
    }
  }

  async #load(picture) {
    this.loading += 1;
    picture.state = "loading";
    const img = new Image();
    img.decoding = "sync"; // painted in the frame of the swap, not one later
    img.alt = "";
    img.draggable = false;
    img.src = picture.url;
    try {
      await img.decode();
      picture.img = img;
      picture.state = "ready";
      picture.settle(picture);
      this.onReady(picture);
    } catch {
      const delay = RETRY_MS[Math.min(picture.tries, RETRY_MS.length - 1)];
      picture.tries += 1;
      picture.state = "failed";
      picture.onFailed?.(picture);
      setTimeout(() => {
        if (picture.state !== "failed" || !this.known.has(picture.url)) return;
        picture.state = "waiting";
        this.waiting.push(picture);
        this.#pump();
      }, delay);
    } finally {
      this.loading -= 1;
      this.#pump();
    }
  }

  #forgetOldest(wanted) {
    for (const [url, picture] of this.known) {
      if (this.known.size <= KEPT) break;
      if (!wanted.has(url) && picture.state !== "loading") this.known.delete(url);
    }
  }
}
