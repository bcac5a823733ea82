// One mounted screen of a session: puts what the session says where it belongs.
import { Bulk } from "./bulk.js";
import { ConnectionDialog } from "./connection.js";
import { Dialogs } from "./dialogs.js";
import { Input } from "./input.js";
import { Messages } from "./messages.js";
import { Panel, reasonerName } from "./panel.js";
import { Preferences } from "./preferences.js";
import { Stage } from "./stage.js";
import { plural, safeColour } from "./dom.js";
import { whyNothing } from "./nothing.js";

export class View {
  constructor(root, session) {
    this.root = root;
    this.session = session;
    root.dataset.scope = session.scope;
    this.onDetails = () => {};
    this.held = null; // the evidence that a tap has lit
    this.messages = new Messages(root);
    this.stage = new Stage(root);
    this.dialogs = new Dialogs(root);
    this.preferences = new Preferences(root);
    this.panel = new Panel(root, {
      onClass: (id, event) => this.input.act({ action: "class", classId: id }, event),
      onLight: (number, toggle) => this.light(number, toggle),
    });
    this.bulk = new Bulk(this.dialogs, {
      onAccept: (yes, rest, kind) => session.acceptAll(yes, rest, kind),
      onClose: (items) => session.takeBackToQueue(items.filter((item) => item !== session.current)),
    });
    this.input = new Input(this);
    this.connection = new ConnectionDialog(root);
    session.attach(this);
  }

  destroy() {
    this.input.stop();
    this.connection.stop();
    this.stage.destroy();
    this.session.detach(this);
  }

  part(name) {
    return this.panel.part(name);
  }

  state(name) {
    if (this.root.dataset.state !== name) this.root.dataset.state = name;
  }

  // ------------------------------------------------------------------ the image and what goes with it
  setClasses(classes) {
    const text = JSON.stringify(classes);
    if (text === this.classesText) return;
    this.classesText = text;
    this.input.classByKey = new Map(classes.filter((c) => c.key).map((c) => [c.key.toLowerCase(), c.id]));
    this.panel.setClasses(classes);
  }

  dress(item) {
    if (this.panel.classes.size) this.panel.cards(item, this.session.pictures)?.draw();
  }

  showItem(item, img, before) {
    this.messages.hide();
    this.held = null;
    this.panel.showItem(item, before, this.session.pictures);
    this.stage.show(item, img, item.heat, this.#boxes(item));
    this.messages.banner(before ? this.#beforeText(before) : "");
  }

  markShown(item) {
    this.stage.node.dataset.itemId = item.id;
    this.state("ready");
  }

  waitFor(item) {
    this.stage.clear();
    this.messages.hide();
    this.panel.showName(item.name);
    this.state("waiting");
  }

  // Not loaded ahead, and the server is away; or a file that is broken.
  pictureFailed(item) {
    const { outbox, queue } = this.session;
    const skip = [["Skip it (S)", (event) => this.input.act({ action: "skip" }, event)]];
    if (outbox.away || queue.away) {
      this.state("away");
      const text = `${item.name} was not loaded ahead. Every decision is kept in this browser and will be sent; labelling goes on by itself when the server is back.`;
      this.messages.message("The server does not answer", text, skip);
    } else {
      const text = `${item.name} could not be fetched or decoded. It is tried again; skip it to go on.`;
      this.messages.message("This image does not load", text, skip);
    }
  }

  suggestionArrived(item, before) {
    this.panel.showItem(item, before, this.session.pictures);
    this.stage.replaceOverlays(item.heat, this.#boxes(item));
    const flag = this.part("flag");
    flag.classList.remove("rv-arrived");
    void flag.offsetWidth; // restarts the animation
    flag.classList.add("rv-arrived");
    this.messages.toast("The suggestion for this image has arrived.");
  }

  draft(item) {
    this.panel.draft(item);
  }

  reasonerAnswered(item, before) {
    this.panel.showItem(item, before, this.session.pictures);
    this.stage.replaceOverlays(item.heat, this.#boxes(item));
    this.session.preparer.drawLater();
    if (!item.second) return;
    const other = this.panel.classes.get(item.second.flag)?.name;
    const says = other ? `says ${other}` : "cannot tell";
    this.messages.toast(`${reasonerName(item.second)} ${says}; accepting still labels ${this.panel.classes.get(item.suggestion.flag)?.name}.`, 4000);
  }

  showNothing() {
    this.stage.clear();
    this.panel.clear();
    this.messages.banner("");
    const { session } = this;
    const tryNow = () => {
      session.outbox.retryNow();
      session.start();
    };
    const undo = (event) => this.input.act({ action: "undo" }, event);
    const { state, title, text, actions } = whyNothing(session, tryNow, undo);
    this.state(state);
    if (title) this.messages.message(title, text, actions);
    else this.messages.hide();
  }

  // Whether the image can be seen; if not, it is scrolled back, and the key does not count.
  bringIntoSight() {
    if (this.stage.visible) return true;
    this.root.scrollIntoView({ block: "start" });
    return false;
  }

  // ------------------------------------------------------------------ counters
  showCounts(session) {
    const { outbox, queue, tally } = session;
    const unsent = outbox.entries.length;
    const rejected = outbox.rejected.length;
    this.root.dataset.unsent = String(unsent);
    this.root.dataset.rejected = String(rejected);
    this.root.dataset.refused = String(session.refused);
    this.root.dataset.ahead = String(queue.ahead.length);
    this.showDecoded(session);
    this.panel.showProgress(tally.progress, tally.pace);
    this.panel.showSaved({ unsent, rejected, away: outbox.away ?? queue.away, signIn: outbox.signIn, volatile: outbox.volatile });
    this.panel.showRun(session.run);
    this.#showLast(session);
    if (!session.current) this.showNothing();
    else this.#hint(session);
  }

  showDecoded({ queue, pictures }) {
    this.root.dataset.decoded = String(queue.ahead.filter((item) => pictures.isReady(item.image_url)).length);
  }

  // What was confirmed last, solid where a suggestion is dashed; a click takes it back.
  #showLast({ history, recent }) {
    const last = history.entries.at(-1);
    const node = this.part("last");
    node.hidden = !last;
    if (!last || node.dataset.event === last.event_id) return;
    const kind = this.panel.classes.get(last.class_id);
    const what = last.kind === "skip" ? "Skipped" : last.kind === "unsure" ? "Unsure" : (kind?.name ?? "Labelled");
    const name = recent.get(last.image)?.name ?? "";
    node.dataset.event = last.event_id;
    node.style.setProperty("--rv-class", safeColour(kind?.colour));
    this.part("last-what").textContent = last.group ? `${history.last().length} \u00d7 ${what}` : what;
    node.title = `Your last decision: ${what}${name ? ` for ${name}` : ""}. Click or Z to take it back.`;
  }

  // ------------------------------------------------------------------ sentences
  refuse(sentence, count) {
    this.root.dataset.refused = String(count);
    this.messages.toast(`${sentence} (${plural(count, "key")} refused)`, 1600, true);
  }

  conflict(decision, message) {
    const name = this.session.nameOf(decision.image);
    const both = `${name}: somebody else decided in between. Both decisions are kept, for review.`;
    this.messages.toast(message || both, 6000);
  }

  #hint({ classes, current, run, painted }) {
    if (!painted || !this.part("banner").hidden) return;
    const lacking = current.suggestion.state === "none" && run?.state === "no_support";
    if (!classes.length) this.messages.banner("There are no classes yet, so nothing can be labelled.", ["Add them", "support"]);
    else if (lacking) this.messages.banner("No suggestions yet: the support set is not ready.", ["Go to Support", "support"]);
  }

  #beforeText({ kind, class_id: classId }) {
    const name = this.panel.classes.get(classId)?.name ?? "as a class that is gone";
    const what = kind === "skip" ? "skipped this" : kind === "unsure" ? "marked this unsure" : `labelled ${name}`;
    return `Undone. You had ${what}. Decide again.`;
  }

  // ------------------------------------------------------------------ evidence
  light(number, toggle = false) {
    if (toggle) this.held = this.held === number ? null : number;
    const lit = number ?? this.held;
    this.stage.highlight(lit);
    this.panel.light(lit);
  }

  #boxes(item) {
    if (item.suggestion.state !== "shown") return [];
    return (item.suggestion.evidence ?? []).map((match) => ({
      number: match.number,
      box: match.query_box,
      colour: this.panel.classes.get(match.class_id)?.colour,
      cited: item.suggestion.cited?.includes(match.number),
    }));
  }

  // ------------------------------------------------------------------ what covers the image
  openNote(item) {
    this.dialogs.note(item, (text) => {
      this.session.note(item, text);
      if (item === this.session.current) this.panel.text("note", text ? `Note: ${text}` : "");
      this.messages.toast("Note kept.");
    });
  }

  openSaved() {
    const { outbox } = this.session;
    if (outbox.rejected.length) this.dialogs.rejected(outbox, (image) => this.session.nameOf(image));
    else if (outbox.entries.length) this.dialogs.waiting(outbox);
    else this.messages.toast("Every decision is stored on the server.");
  }

  async openBulk() {
    const { session } = this;
    const item = session.current;
    if (!item || !session.painted) return session.refuse("No image is on screen.");
    const kind = item.suggestion.state === "shown" ? this.panel.classes.get(item.suggestion.flag) : null;
    if (!kind) return session.refuse("Look-alikes share a suggestion, and this image has none.");
    this.messages.toast("Looking for look-alikes\u2026");
    const turn = session.turn;
    try {
      const others = await session.lookAlikes(item);
      if (turn !== session.turn || this.dialogs.open) return session.takeBackToQueue(others); // the annotator has gone on
      if (!others.length) return this.messages.toast("No other image with this suggestion is alike.");
      return this.bulk.show([item, ...others], kind);
    } catch (error) {
      return session.refuse(`No look-alikes now. ${error.message}`);
    }
  }
}
