// One annotator on one project: what is on screen, what is ahead, what was decided. Outlives the page.
import { Api, Refused } from "./api.js";
import { History } from "./history.js";
import { Outbox } from "./outbox.js";
import { Pictures } from "./pictures.js";
import { Queue } from "./queue.js";
import { uuid } from "./dom.js";
import { heatmapCanvas, supportColours } from "./heatmap.js";

const REFRESH_AHEAD = 10; // items whose pending suggestion is asked for again
const RECENT = 300; // items kept so that undo shows them at once
const FRESH_MS = 500; // after a suggestion has arrived on screen, accepting waits this long

export class Session {
  constructor({ annotator, project, order, prefetch, api_base: base }) {
    this.annotator = annotator;
    this.api = new Api(base);
    this.pictures = new Pictures(() => this.view?.showDecoded(this));
    this.queue = new Queue(this.api, { annotator, order, prefetch });
    this.history = new History();
    this.view = null; // the mounted page, or null while another page is open
    this.classes = [];
    this.current = null;
    this.painted = false;
    this.shownAt = 0;
    this.fresh = 0;
    this.broken = null;
    this.turn = 0; // counts what was shown, so that a late picture is not put on a later item
    this.before = new Map(); // image -> the decision that an undo took back
    this.recent = new Map();
    this.versions = new Map(); // image -> newest version that the server told or that we expect
    this.times = []; // of decisions, for the pace
    this.refused = 0;
    this.progress = null;
    this.run = null;
    this.problem = null;
    this.outbox = new Outbox(`${project}:${annotator}`, this.api, {
      onChange: () => this.changed(),
      onStored: (decision, answer) => this.stored(decision, answer),
    });
    this.history.restore(this.outbox.unsent);
    this.outbox.drain();
  }

  // ------------------------------------------------------------------ mounting
  attach(view) {
    this.view = view;
    this.timer ??= setInterval(() => this.tick(), 2000);
    this.start();
  }

  detach(view) {
    if (this.view !== view) return;
    this.view = null;
    clearInterval(this.timer);
    this.timer = null;
  }

  // Also after coming back from another page: classes and support may have changed there.
  async start() {
    if (this.starting) return;
    this.starting = true;
    try {
      await this.loadClasses();
      this.queue.wakeUp();
      if (this.current) this.show(this.current);
      await this.fill(true);
    } finally {
      this.starting = false;
    }
  }

  async loadClasses() {
    try {
      const { classes } = await this.api.classes();
      if (JSON.stringify(classes) !== JSON.stringify(this.classes)) this.undress();
      this.classes = classes;
      this.problem = null;
    } catch (error) {
      this.problem = error.message;
      if (!this.classes.length) this.queue.away = error.message;
    }
    this.view?.setClasses(this.classes);
  }

  // Names and colours have changed: what was drawn with the old ones is drawn again.
  undress() {
    for (const item of [this.current, ...this.queue.ahead, ...this.recent.values()]) {
      if (item) item.heatOf = item.dressed = item.cards = null;
    }
  }

  // ------------------------------------------------------------------ the queue
  async fill(refresh = false) {
    const room = this.queue.ahead.length < this.queue.hold + 10; // asking for the state of the run brings an item
    const limit = refresh && room ? Math.max(1, this.queue.wanted ?? 1) : this.queue.wanted;
    const unsent = this.outbox.unsent.map((decision) => decision.image);
    const answer = await this.queue.fill(this.current, unsent, { limit });
    if (answer) {
      this.run = answer.run;
      this.history.merge(answer.undoable ?? []);
      if (!this.outbox.entries.length) this.progress = answer.progress;
      for (const item of this.queue.ahead) this.seeVersion(item);
      this.prepare();
    }
    if (!this.current) this.advance();
    this.changed();
  }

  seeVersion(item) {
    item.version = Math.max(item.version ?? 0, this.versions.get(item.id) ?? 0);
  }

  // Pictures of the next items first, then the support pictures that their evidence shows.
  prepare() {
    const items = [...(this.current ? [this.current] : []), ...this.queue.ahead];
    const urls = items.map((item) => item.image_url);
    const support = items.flatMap((item) => (item.suggestion.evidence ?? []).map((match) => match.support_url));
    this.pictures.want([...new Set([...urls.slice(0, 6), ...support.slice(0, 24), ...urls, ...support])]);
    this.whenIdle(() => this.dressNext());
  }

  whenIdle(work) {
    this.idle ??= (globalThis.requestIdleCallback ?? ((later) => setTimeout(later, 30)))(() => {
      this.idle = null;
      work();
    });
  }

  // One item an idle moment: a key never waits for a dozen of them.
  dressNext() {
    const ready = (item) => item && item.dressed !== item.suggestion && this.pictures.isReady(item.image_url);
    const item = [this.current, ...this.queue.ahead.slice(0, 12)].find(ready);
    if (!item) return;
    this.heatOf(item);
    item.dressed = item.suggestion;
    this.view?.dress(item);
    this.whenIdle(() => this.dressNext());
  }

  heatOf(item) {
    if (item.heatOf !== item.suggestion) {
      item.heatOf = item.suggestion;
      const { state, heatmap, flag, runner_up: runnerUp } = item.suggestion;
      const kind = (id) => this.classes.find((each) => each.id === id);
      item.colours = supportColours(kind(flag), kind(runnerUp));
      item.heat = state === "shown" ? heatmapCanvas(heatmap, item.colours) : null;
    }
    return item.heat;
  }

  advance(keyTime = null) {
    this.queue.hurry = performance.now() - (this.times.at(-8) ?? -Infinity) < 2000; // eight keys in two seconds
    const item = this.queue.next();
    if (item) this.show(item, keyTime);
    else this.showNothing();
    if (this.queue.wanted !== null) setTimeout(() => this.fill(), 0);
    else if (item) this.prepareSoon();
  }

  prepareSoon() {
    this.preparing ??= setTimeout(() => {
      this.preparing = null;
      this.prepare();
    }, 30);
  }

  show(item, keyTime = null) {
    this.turn += 1;
    const turn = this.turn;
    this.current = item;
    this.painted = false;
    this.heatOf(item);
    this.recent.delete(item.id);
    this.recent.set(item.id, item);
    if (this.recent.size > RECENT) this.recent.delete(this.recent.keys().next().value);
    const picture = this.pictures.get(item.image_url);
    if (picture.state === "ready") {
      this.swap(item, picture, turn, keyTime);
      return;
    }
    this.view?.waitFor(item);
    picture.onFailed = () => {
      if (turn !== this.turn) return;
      this.broken = turn; // the one image that may be skipped unseen
      this.view?.pictureFailed(item);
    };
    this.pictures.need(item.image_url).then((ready) => turn === this.turn && this.swap(item, ready, turn, keyTime));
  }

  // The frame callback runs right before the paint, and no key can come in between.
  swap(item, picture, turn, keyTime) {
    if (!this.view) return;
    this.view.showItem(item, picture.img, this.before.get(item.id) ?? null);
    requestAnimationFrame(() => {
      if (turn !== this.turn || !this.view) return;
      this.view.markShown(item);
      this.painted = true;
      this.shownAt = performance.now();
      if (keyTime !== null) (window.__rvLatency ??= []).push(performance.now() - keyTime);
      this.whenIdle(() => this.dressNext());
    });
  }

  showNothing() {
    this.turn += 1;
    this.current = null;
    this.painted = false;
    this.view?.showNothing();
  }

  // ------------------------------------------------------------------ decisions
  decision(kind, item, extra = {}) {
    const suggestion = item?.suggestion ?? {};
    const version = this.versions.get(item.id) ?? item.version ?? 0;
    this.versions.set(item.id, version + 1);
    return {
      id: uuid(),
      kind,
      image: item.id,
      annotator: this.annotator,
      made_at: new Date().toISOString(),
      class_id: null,
      undoes: null,
      note: null,
      prediction_id: suggestion.prediction_id ?? null,
      suggested_class: suggestion.state === "shown" ? (suggestion.flag ?? null) : null,
      suggestion_shown: suggestion.state === "shown",
      expected_version: version,
      attention_ms: null,
      lease_token: item.lease?.token ?? null,
      group: null,
      ...extra,
    };
  }

  // Stored in the browser before anything moves; true when the key was taken.
  decide(kind, classId, keyTime) {
    if (!this.current) return this.refuse("No image is on screen.");
    if (this.undoing) return this.refuse("Not yet: the undone image is on its way.");
    if (!this.painted && !(kind === "skip" && this.broken === this.turn)) return this.refuse("Not yet: the image is still loading.");
    if (this.view && !this.view.bringIntoSight()) return this.refuse("The image was scrolled out of sight.");
    const item = this.current;
    const attention = Math.max(0, Math.round(keyTime - this.shownAt));
    this.commit(this.decision(kind, item, { class_id: classId, attention_ms: attention }));
    this.advance(keyTime);
    this.changed();
    return true;
  }

  accept(keyTime) {
    const suggestion = this.current?.suggestion;
    if (this.current && this.painted) {
      if (suggestion.state === "withheld") return this.refuse("The suggestion is withheld: press a class key.");
      if (suggestion.state !== "shown" || suggestion.flag === null || suggestion.flag === undefined)
        return this.refuse("No suggestion to accept: press a class key.");
      if (performance.now() - this.fresh < FRESH_MS) return this.refuse("The suggestion has just arrived: look first.");
    }
    return this.decide("accept", suggestion?.flag ?? null, keyTime);
  }

  // The key of the class that is suggested accepts it; it never clears anything.
  label(classId, keyTime) {
    const { state, flag } = this.current?.suggestion ?? {};
    return this.decide(state === "shown" && flag === classId ? "accept" : "correct", classId, keyTime);
  }

  note(item, text) {
    this.outbox.push(this.decision("note", item, { note: text }));
    item.note = text;
    this.changed();
  }

  acceptAll(yes, rest, kind) {
    const group = uuid();
    for (const item of yes) {
      this.recent.set(item.id, item);
      const suggested = item.suggestion.flag === kind.id ? "accept" : "correct";
      this.commit(this.decision(suggested, item, { class_id: kind.id, group }));
    }
    this.queue.remove(new Set(yes.map((item) => item.id)));
    this.takeBackToQueue(rest);
    this.advance(performance.now());
    this.changed();
  }

  // Items that a bulk grid borrowed; the one that was on screen comes first again.
  takeBackToQueue(items) {
    for (const item of items) this.seeVersion(item);
    this.queue.putBack(items);
  }

  commit(decision) {
    this.outbox.push(decision);
    this.history.record(decision);
    this.before.delete(decision.image);
    this.queue.markDecided(decision.image);
    this.times.push(performance.now());
    this.count(decision, 1);
  }

  // The screen counts at once; the server's own numbers follow when everything is stored.
  count({ kind }, by) {
    if (!this.progress) return;
    const p = { ...this.progress };
    const part = kind === "skip" ? "skipped" : kind === "unsure" ? "unsure" : "labelled";
    p[part] = Math.max(0, (p[part] ?? 0) + by);
    if (kind !== "skip") p.left = Math.max(0, p.left - by);
    this.progress = p;
  }

  async undo(keyTime) {
    if (this.undoing) return this.refuse("The last undo is still on its way.");
    this.undoing = true;
    try {
      if (!this.history.entries.length) await this.askHistory();
      const entries = this.history.last();
      if (!entries.length) return this.refuse("Nothing to undo.");
      const items = [];
      for (const entry of entries) {
        const known = this.recent.get(entry.image);
        items.push(known ?? (await this.api.item(entry.image, this.annotator)));
      }
      this.takeBack(entries, items, keyTime);
      return true;
    } catch (error) {
      return this.refuse(`Cannot undo now. ${error.message}`);
    } finally {
      this.undoing = false;
    }
  }

  async askHistory() {
    await this.queue.fill(this.current, this.outbox.unsent.map((d) => d.image), { limit: 1 }).then((answer) => {
      if (answer) this.history.merge(answer.undoable ?? []);
    });
  }

  takeBack(entries, items, keyTime) {
    const back = [];
    entries.forEach((entry, i) => {
      const item = items[i];
      const undo = this.decision("undo", item, { undoes: entry.event_id, suggestion_shown: false });
      this.outbox.push(undo);
      this.history.record(undo);
      this.before.set(item.id, entry);
      this.queue.decided.delete(item.id);
      this.times.pop();
      this.count(entry, -1);
      back.push(item);
    });
    if (this.current) this.queue.putBack([this.current]);
    const ids = new Set(back.map((item) => item.id));
    this.queue.remove(ids);
    this.queue.putBack(back.slice(1));
    this.queue.wakeUp();
    this.show(back[0], keyTime);
    this.prepareSoon();
    this.changed();
  }

  stored(decision, answer) {
    const version = Math.max(this.versions.get(decision.image) ?? 0, answer.version ?? 0);
    this.versions.set(decision.image, version);
    if (answer.progress && this.outbox.entries.length === 0) this.progress = answer.progress;
    if (answer.outcome === "conflict") this.view?.conflict(decision, answer.message);
    if (decision.kind === "skip" || decision.kind === "undo") this.queue.wakeUp();
    if (!this.current) this.fill();
  }

  refuse(sentence) {
    this.refused += 1;
    this.view?.refuse(sentence, this.refused);
    return false;
  }

  // ------------------------------------------------------------------ time
  get pace() {
    const now = performance.now();
    this.times = this.times.filter((t) => now - t < 60000);
    if (!this.times.length) return null;
    const span = Math.max(10000, Math.min(60000, now - this.times[0]));
    return Math.round((this.times.length * 60000) / span);
  }

  changed() {
    this.view?.showCounts(this);
  }

  async tick() {
    if (document.hidden) return;
    this.ticks = (this.ticks ?? 0) + 1;
    if (!this.classes.length || this.problem) await this.loadClasses();
    if (!this.queue.away && this.queue.dropExpired()) this.queue.wakeUp();
    const working = ["loading", "computing"].includes(this.run?.state);
    const lacking = [this.current, ...this.queue.ahead].some((item) => item && ["none", "pending"].includes(item.suggestion.state));
    if (!this.current || this.queue.wanted !== null) await this.fill();
    else if (working ? this.ticks % 2 === 0 : lacking && this.ticks % 5 === 0) await this.fill(true);
    await this.refreshPending(working || this.ticks % 5 === 0);
    this.changed();
  }

  // Suggestions that were not computed, or have been computed again, when the items were fetched.
  async refreshPending(all) {
    if (this.refreshing) return;
    const items = [...(this.current ? [this.current] : []), ...this.queue.ahead].slice(0, REFRESH_AHEAD);
    const outdated = ({ state, support_version: version }) =>
      state === "shown" && this.run?.support_version && version !== this.run.support_version;
    const old = ({ suggestion }) =>
      suggestion.state === "pending" || (all && (suggestion.state === "none" || suggestion.stale || outdated(suggestion)));
    this.refreshing = true;
    try {
      for (const item of items.filter(old).slice(0, 4)) await this.refresh(item);
    } catch (error) {
      this.problem = error instanceof Refused ? null : error.message;
    } finally {
      this.refreshing = false;
    }
  }

  // What is on screen changes only where nothing was, and with a visible cue.
  async refresh(item) {
    const news = await this.api.item(item.id, this.annotator);
    const arrived = news.suggestion.prediction_id !== item.suggestion.prediction_id || news.suggestion.state !== item.suggestion.state;
    if (!arrived) return;
    if (item !== this.current) {
      const at = this.queue.ahead.indexOf(item);
      if (at >= 0) this.queue.ahead[at] = { ...item, ...news, lease: item.lease, version: Math.max(item.version ?? 0, news.version ?? 0) };
      this.prepareSoon();
      return;
    }
    if (item.suggestion.state === "shown") return;
    item.suggestion = news.suggestion;
    this.fresh = performance.now();
    this.heatOf(item);
    this.view?.suggestionArrived(item, this.before.get(item.id) ?? null);
    this.prepareSoon();
  }
}
