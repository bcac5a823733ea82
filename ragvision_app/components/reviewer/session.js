// One annotator on one project: what is on screen, what is ahead, what was decided. Outlives the page.
import { Api } from "./api.js";
import { History } from "./history.js";
import { Outbox } from "./outbox.js";
import { Pictures } from "./pictures.js";
import { Preparer } from "./preparer.js";
import { Listener } from "./listener.js";
import { Queue } from "./queue.js";
import { Refresher } from "./refresher.js";
import { Tally } from "./tally.js";
import { uuid } from "./dom.js";

const RECENT = 300; // items kept so that undo shows them at once
const LOOK_ALIKES = 23; // beside the one on screen
const PATIENCE = 3000; // ms
const MOST_RELEASED = 900; // a message that is sent while the page closes may have 64 kB
const FRESH_MS = 500; // after a suggestion has arrived on screen, accepting waits this long

export class Session {
  constructor({ annotator, project, order, prefetch, api_base: base }) {
    this.annotator = annotator;
    this.scope = `${project}:${annotator}`;
    this.first = null; // to be waited for before images are asked for: another session of this tab gives its own back
    this.filling = null;
    this.gone = false; // left, so that nothing is to be held
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
    this.tally = new Tally();
    this.refresher = new Refresher(this);
    this.listener = new Listener(this);
    this.preparer = new Preparer(this);
    this.refused = 0;
    this.run = null;
    this.problem = null;
    this.outbox = new Outbox(this.scope, this.api, {
      onChange: () => this.changed(),
      onStored: (decision, answer) => this.stored(decision, answer),
      onRejected: (decision) => this.rejected(decision),
    });
    (window.__rvOutboxes ??= new Map()).set(this.scope, this.outbox); // the sender in the sidebar leaves these to us
    this.history.restore(this.outbox.unsent);
    this.outbox.drain();
    window.addEventListener("pagehide", () => this.leave());
    window.addEventListener("pageshow", (event) => event.persisted && this.view && this.attach(this.view));
  }

  // ------------------------------------------------------------------ mounting
  attach(view) {
    this.view = view;
    this.gone = false;
    this.refresher.start();
    this.start();
  }

  detach(view) {
    if (this.view !== view) return;
    this.view = null;
    this.refresher.stop();
    this.listener.stop();
  }

  // Gives back what is reserved for us, so that nobody waits for a closed tab. Resolves when it is done, or when
  // that takes long: the reservations then run out by themselves.
  leave() {
    this.gone = true;
    const done = Promise.all([this.#giveBack(), this.filling]);
    return Promise.race([done, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  }

  // Never an image with a decision on its way: its lease tells the server what was known when it was made.
  #giveBack() {
    const unsent = new Set(this.outbox.unsent.map((decision) => decision.image));
    const held = [...(this.current ? [this.current.id] : []), ...this.queue.handBack()];
    const images = [...new Set(held)].filter((image) => !unsent.has(image)).slice(0, MOST_RELEASED);
    this.turn += 1;
    this.current = null;
    this.painted = false;
    return images.length ? this.api.release({ annotator: this.annotator, images }).catch(() => {}) : null;
  }

  // Also after coming back from another page: classes and support may have changed there.
  async start() {
    if (this.starting) return;
    this.starting = true;
    try {
      this.view.setClasses(this.classes);
      if (this.current) this.show(this.current); // what is loaded does not wait for the server
      else this.view.showNothing();
      if ((await this.loadClasses()) && this.current) this.show(this.current);
      await this.first;
      this.queue.wakeUp();
      await this.fill(true);
    } finally {
      this.starting = false;
    }
  }

  // True when they are others than before.
  async loadClasses() {
    let changed = false;
    try {
      const { classes } = await this.api.classes();
      changed = JSON.stringify(classes) !== JSON.stringify(this.classes);
      if (changed) this.preparer.forget();
      this.classes = classes;
      this.problem = null;
    } catch (error) {
      this.problem = error.message;
      if (!this.classes.length) this.queue.away = error.message;
    }
    this.view?.setClasses(this.classes);
    return changed;
  }

  // ------------------------------------------------------------------ the queue
  fill(refresh = false) {
    if (!this.queue.busy) this.filling = this.#fill(refresh);
    return this.filling;
  }

  async #fill(refresh) {
    if (this.gone) return null;
    const room = this.queue.ahead.length < this.queue.hold + 10; // asking for the state of the run brings an item
    const limit = refresh && room ? Math.max(1, this.queue.wanted ?? 1) : this.queue.wanted;
    const unsent = this.outbox.unsent.map((decision) => decision.image);
    const before = this.queue.ahead.length;
    const answer = await this.queue.fill(this.current, unsent, { limit });
    if (this.gone) return this.#giveBack();
    if (answer) {
      this.run = answer.run;
      this.history.merge(answer.undoable ?? []);
      if (!this.outbox.entries.length) this.tally.progress = answer.progress;
      for (const item of this.queue.ahead) this.seeVersion(item);
      this.preparer.prepare();
    }
    const more = this.queue.ahead.length > before && this.queue.wanted !== null;
    if (!this.current) this.advance();
    else if (more) setTimeout(() => this.fill(), 0);
    this.changed();
    return null;
  }

  seeVersion(item) {
    item.version = Math.max(item.version ?? 0, this.versions.get(item.id) ?? 0);
  }

  advance(keyTime = null) {
    this.queue.hurry = this.tally.hurried;
    const item = this.queue.next();
    if (item) this.show(item, keyTime);
    else this.showNothing();
    if (this.queue.wanted !== null) setTimeout(() => this.fill(), 0);
    else if (item) this.preparer.soon();
  }

  show(item, keyTime = null) {
    this.turn += 1;
    const turn = this.turn;
    this.current = item;
    this.painted = false;
    this.preparer.heat(item);
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
      this.preparer.drawLater();
      this.listener.follow(item);
    });
  }

  showNothing() {
    this.turn += 1;
    this.listener.stop();
    this.current = null;
    this.painted = false;
    this.view?.showNothing();
  }

  nameOf(image) {
    return this.recent.get(image)?.name ?? image.slice(0, 12);
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
    const attention = this.painted ? Math.max(0, Math.round(keyTime - this.shownAt)) : null;
    this.commit(this.decision(kind, item, { class_id: classId, attention_ms: attention }));
    this.advance(keyTime);
    this.changed();
    return true;
  }

  accept(keyTime) {
    const suggestion = this.current?.suggestion;
    if (this.current && this.painted) {
      if (suggestion.state === "withheld") return this.refuse("The suggestion is withheld: press a class key.");
      if (suggestion.state !== "shown" || !this.classes.some((kind) => kind.id === suggestion.flag))
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

  // Undecided images with the same suggestion, reserved for this annotator.
  async lookAlikes(item) {
    const have = new Set([item.id, ...this.outbox.unsent.map((decision) => decision.image)]);
    const body = { annotator: this.annotator, image: item.id, limit: LOOK_ALIKES, have: [...have] };
    const { items } = await this.api.lookAlikes(body);
    this.queue.borrowed = items;
    const { flag } = item.suggestion;
    return items.filter(({ id, suggestion }) => !have.has(id) && suggestion.state === "shown" && suggestion.flag === flag);
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
    this.tally.add(decision);
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
      this.tally.takeBack(entry);
      back.push(item);
    });
    if (this.current) this.queue.putBack([this.current]);
    const ids = new Set(back.map((item) => item.id));
    this.queue.remove(ids);
    this.queue.putBack(back.slice(1));
    this.queue.wakeUp();
    this.show(back[0], keyTime);
    this.preparer.soon();
    this.changed();
  }

  stored(decision, answer) {
    const version = Math.max(this.versions.get(decision.image) ?? 0, answer.version ?? 0);
    this.versions.set(decision.image, version);
    if (answer.progress && this.outbox.entries.length === 0) this.tally.progress = answer.progress;
    if (answer.outcome === "conflict") this.view?.conflict(decision, answer.message);
    if (decision.kind === "skip" || decision.kind === "undo") this.queue.wakeUp();
    if (!this.current) this.fill();
  }

  // Kept and shown by the outbox; here it no longer counts as decided, so that the image can come again.
  rejected(decision) {
    if (!this.history.forget(decision.id)) return;
    this.tally.takeBack(decision);
    this.queue.decided.delete(decision.image);
    this.queue.wakeUp();
  }

  // What is on screen changes only where nothing was, and with a visible cue.
  suggestionArrived(item, suggestion) {
    if (item.suggestion.state === "shown") return this.#reasonerAnswered(item, suggestion);
    item.suggestion = suggestion;
    this.fresh = performance.now();
    this.preparer.heat(item);
    this.view?.suggestionArrived(item, this.before.get(item.id) ?? null);
    this.listener.follow(item);
    return null;
  }

  // A slow reasoner has answered on the image on screen. Its words come in at once; what the accept key does
  // stays what it was: another flag stands beside the suggestion, as a second opinion.
  #reasonerAnswered(item, news) {
    const { suggestion } = item;
    const told = news.state === "shown" && news.run_id === suggestion.run_id && news.reasoning !== "pending";
    if (suggestion.reasoning !== "pending" || item.second || !told) return;
    if (news.flag === suggestion.flag) item.suggestion = news;
    else item.second = news;
    item.draft = null;
    this.preparer.heat(item);
    this.view?.reasonerAnswered(item, this.before.get(item.id) ?? null);
  }

  refuse(sentence) {
    this.refused += 1;
    this.view?.refuse(sentence, this.refused);
    return false;
  }

  changed() {
    this.view?.showCounts(this);
  }


}
