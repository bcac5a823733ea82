// The items ahead of the annotator: filled before they run low, without one that was decided meanwhile.
import { Away } from "./api.js";

const LOW_SHARE = 0.75; // ask for more when this share of what we hold is left
const FIRST = 4; // asked for before it is known how many are left
const ALWAYS = 20; // held ahead whatever is left
const HURRY = 2.5; // hold this many times as much while keys come several a second
const MOST_HAVE = 1000; // the API takes no more; the rest is filtered out here
const REST_MS = 4000; // after the server had fewer than asked for

export class Queue {
  constructor(api, { annotator, order, prefetch }) {
    this.api = api;
    this.annotator = annotator;
    this.order = order ?? null;
    this.prefetch = Math.max(20, prefetch);
    this.left = null; // images that are open, as far as the server has told
    this.freeAt = null; // when the first that others hold is free
    this.borrowed = []; // reserved for us beside those that are ahead: look-alikes
    this.hurry = false;
    this.ahead = [];
    this.decided = new Map(); // image -> when it was decided here (performance.now)
    this.restUntil = 0;
    this.exhausted = false;
    this.away = null; // the sentence of the last failure, or null
    this.refused = false; // whether the server was there and said no
    this.answered = false;
    this.busy = false;
  }

  // Others label too: what one holds is reserved, so that it is more only as long as it is needed, and
  // near the end half of what is left; but never under what a fast hand and an absent server take. The own
  // list of unsure ones is nobody else's.
  get hold() {
    const most = Math.round(this.hurry ? HURRY * this.prefetch : this.prefetch);
    if (this.order === "unsure") return most;
    return Math.min(most, this.left === null ? FIRST : Math.max(ALWAYS, Math.ceil(this.left / 2) + 1));
  }

  // What to ask for, or null when there is enough or the server had no more a moment ago.
  get wanted() {
    if (this.busy || this.ahead.length > this.hold * LOW_SHARE) return null;
    if (performance.now() < this.restUntil) return null;
    return Math.max(1, this.hold - this.ahead.length);
  }

  // Returns the server's answer, or null when nothing was asked or it is away.
  async fill(current, unsentImages, { limit = this.wanted } = {}) {
    if (limit === null || this.busy) return null;
    this.busy = true;
    const asked = performance.now();
    const have = [...this.ahead.map((item) => item.id), ...unsentImages];
    if (current) have.push(current.id);
    try {
      const answer = await this.api.queue({
        annotator: this.annotator,
        limit,
        order: this.order,
        have: [...new Set(have)].slice(0, MOST_HAVE),
      });
      const known = new Set([...this.ahead.map((item) => item.id), ...unsentImages]);
      const fresh = answer.items.filter((item) => !known.has(item.id) && !((this.decided.get(item.id) ?? 0) > asked));
      this.ahead.push(...fresh);
      this.left = answer.progress.left + answer.progress.skipped;
      this.freeAt = answer.free_at ?? null;
      this.exhausted = answer.items.length < limit;
      this.restUntil = this.exhausted ? performance.now() + REST_MS : 0;
      this.away = null;
      this.refused = false;
      this.answered = true;
      return answer;
    } catch (error) {
      this.away = error.message;
      this.refused = !(error instanceof Away);
      this.restUntil = performance.now() + 1000;
      return null;
    } finally {
      this.busy = false;
    }
  }

  // Everything that is held for us, to be given back; nothing of it is here afterwards.
  handBack() {
    const images = [...this.ahead, ...this.borrowed].map((item) => item.id);
    this.ahead = [];
    this.borrowed = [];
    this.answered = false;
    this.wakeUp();
    return images;
  }

  next() {
    return this.ahead.shift() ?? null;
  }

  // Back to the front, in order; an item is never in the queue twice.
  putBack(items) {
    const ids = new Set(items.map((item) => item.id));
    this.ahead = [...items, ...this.ahead.filter((item) => !ids.has(item.id))];
  }

  // The same item as the server has it now; the reservation is ours still.
  renew(item, news) {
    const at = this.ahead.indexOf(item);
    if (at < 0) return;
    this.ahead[at] = { ...item, ...news, lease: item.lease, version: Math.max(item.version ?? 0, news.version ?? 0) };
  }

  remove(ids) {
    this.ahead = this.ahead.filter((item) => !ids.has(item.id));
  }

  markDecided(image) {
    this.decided.set(image, performance.now());
  }

  // Something changed (an undo, a skip, a support set): the server may have more than it had.
  wakeUp() {
    this.restUntil = 0;
  }

  // Reserved for us no longer: somebody else may be given them, so they are asked for again.
  dropExpired(now = Date.now()) {
    const before = this.ahead.length;
    this.ahead = this.ahead.filter((item) => !item.lease || Date.parse(item.lease.expires_at) > now);
    return before - this.ahead.length;
  }
}
