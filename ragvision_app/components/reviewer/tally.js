// Progress and pace. The screen counts at once; the server's numbers follow when everything is stored.

const MINUTE = 60000;
const SHORTEST = 10000; // a pace out of a second of work would be a fancy

export class Tally {
  constructor() {
    this.progress = null;
    this.times = []; // of decisions, for the pace
  }

  add({ kind }) {
    this.times.push(performance.now());
    this.#count(kind, 1);
  }

  takeBack({ kind }) {
    this.times.pop();
    this.#count(kind, -1);
  }

  get pace() {
    const now = performance.now();
    this.times = this.times.filter((time) => now - time < MINUTE);
    if (!this.times.length) return null;
    const span = Math.max(SHORTEST, Math.min(MINUTE, now - this.times[0]));
    return Math.round((this.times.length * MINUTE) / span);
  }

  // Eight keys in two seconds.
  get hurried() {
    return performance.now() - (this.times.at(-8) ?? -Infinity) < 2000;
  }

  #count(kind, by) {
    if (!this.progress) return;
    const counts = { ...this.progress };
    const part = kind === "skip" ? "skipped" : kind === "unsure" ? "unsure" : "labelled";
    counts[part] = Math.max(0, (counts[part] ?? 0) + by);
    counts.left = Math.max(0, counts.left - by); // skipped ones are counted on their own, as the server does
    this.progress = counts;
  }
}
