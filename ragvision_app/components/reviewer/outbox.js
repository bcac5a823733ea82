// Decisions that the server has not acknowledged yet. Each is one entry of localStorage, written before
// the next image is shown: two tabs never overwrite each other's, and a closed tab loses nothing.
import { Refused } from "./api.js";
import { parseJson } from "./dom.js";

const BACKOFF_MS = [250, 500, 1000, 2000, 4000, 5000];
const OWN = /^\d{18}:[^:]+$/; // what follows the scope in a key: a name may hold colons, as in "ada" and "ada:2"

export class Outbox {
  constructor(scope, api, { onChange, onStored, onRejected }) {
    this.api = api;
    this.onChange = onChange;
    this.onStored = onStored;
    this.onRejected = onRejected;
    this.prefix = `rv-outbox:${scope}:`;
    this.rejectedPrefix = `rv-rejected:${scope}:`;
    this.lock = `rv-outbox:${scope}`;
    this.entries = []; // [{key, decision}] in the order they were made
    this.rejected = []; // [{key, decision, sentence}]
    this.volatile = false; // true when the browser refuses to store: entries then live in this tab only
    this.away = null; // the sentence of the last failure, or null
    this.signIn = false; // whether that failure is one of who asks
    this.failures = 0;
    this.last = 0;
    this.wake = null;
    this.stopped = false;
    this.abort = new AbortController();
    this.reload();
    const { signal } = this.abort;
    const news = (event) => {
      if (event.key === null || event.key.startsWith(this.prefix) || event.key.startsWith(this.rejectedPrefix)) {
        this.reload();
        this.onChange();
      }
    };
    window.addEventListener("storage", news, { signal });
    window.addEventListener("online", () => this.retryNow(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.retryNow(), { signal });
  }

  get unsent() {
    return this.entries.map((entry) => entry.decision);
  }

  push(decision) {
    this.last = Math.max(Date.now() * 1000, this.last + 1);
    const entry = { key: `${this.prefix}${String(this.last).padStart(18, "0")}:${decision.id}`, decision };
    this.entries.push(entry);
    this.#write(entry.key, decision);
    this.drain();
  }

  // Both lists as the browser's storage has them, and what could only be kept in memory.
  reload() {
    const stored = this.#read(this.prefix);
    const kept = this.volatile ? this.entries.filter((entry) => !stored.some((s) => s.key === entry.key)) : [];
    this.entries = [...stored.map(({ key, value }) => ({ key, decision: value })), ...kept];
    this.rejected = this.#read(this.rejectedPrefix).map(({ key, value }) => ({ key, ...value }));
    for (const { key } of this.entries) this.last = Math.max(this.last, Number(key.slice(this.prefix.length).split(":")[0]));
  }

  // Another one in this tab takes over: what is stored is that one's to send.
  stop() {
    this.stopped = true;
    this.abort.abort();
    this.wake?.();
  }

  retryNow() {
    this.wake?.();
    this.drain();
  }

  async drain() {
    if (this.draining) return;
    this.draining = true;
    try {
      while (this.entries.length && !this.stopped) {
        const gone = await this.#exclusively(() => this.#sendUntilFailure());
        if (gone) await this.#pause(BACKOFF_MS[Math.min(this.failures - 1, BACKOFF_MS.length - 1)]);
      }
    } finally {
      this.draining = false;
    }
  }

  // The server will not take it as it is: kept, shown with its sentence, sent again only on request.
  retryRejected() {
    const again = this.rejected;
    this.rejected = [];
    for (const entry of again) {
      this.push(entry.decision);
      this.#remove(entry.key);
    }
    this.onChange();
  }

  discardRejected() {
    for (const entry of this.rejected) this.#remove(entry.key);
    this.rejected = [];
    this.onChange();
  }

  async #sendUntilFailure() {
    while (this.entries.length && !this.stopped) {
      const { key, decision } = this.entries[0];
      if (!this.volatile && localStorage.getItem(key) === null) {
        this.#drop(key); // another tab has delivered it
        this.onChange();
        continue;
      }
      let answer;
      try {
        answer = await this.api.decide(decision);
      } catch (error) {
        if (error instanceof Refused) {
          this.#reject(key, decision, error.message);
          continue;
        }
        this.failures += 1;
        this.away = error.message;
        this.signIn = Boolean(error.signIn);
        this.onChange();
        return true;
      }
      if (answer.id !== decision.id) {
        this.failures += 1;
        this.signIn = false;
        this.away = "The server acknowledged another decision than the one sent.";
        this.onChange();
        return true;
      }
      this.failures = 0;
      this.away = null;
      this.signIn = false;
      this.#remove(key);
      this.#drop(key);
      this.onStored(decision, answer);
      this.onChange();
    }
    return false;
  }

  #reject(key, decision, sentence) {
    const rejected = { key: this.rejectedPrefix + key.slice(this.prefix.length), decision, sentence };
    this.#write(rejected.key, { decision, sentence });
    this.rejected.push(rejected);
    this.#remove(key);
    this.#drop(key);
    this.onRejected(decision);
    this.onChange();
  }

  // One tab at a time, where the browser can; elsewhere the ids make a double delivery harmless.
  #exclusively(work) {
    return navigator.locks ? navigator.locks.request(this.lock, work) : work();
  }

  #pause(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #drop(key) {
    this.entries = this.entries.filter((entry) => entry.key !== key);
  }

  #read(prefix) {
    try {
      return Object.keys(localStorage)
        .filter((key) => key.startsWith(prefix) && OWN.test(key.slice(prefix.length)))
        .sort()
        .map((key) => ({ key, value: parseJson(localStorage.getItem(key)) }))
        .filter(({ value }) => value !== null);
    } catch {
      this.volatile = true; // storage is switched off in this browser
      return [];
    }
  }

  #write(key, value) {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      this.volatile = true; // full or switched off: the screen says so
    }
  }

  #remove(key) {
    try {
      localStorage.removeItem(key);
    } catch {
      this.volatile = true;
    }
  }
}
