// The component: mounts a session's screen into the page. Called by Streamlit on every rerun.
import { Bulk } from "./bulk.js";
import { Dialogs } from "./dialogs.js";
import { meaningOf } from "./keys.js";
import { Panel } from "./panel.js";
import { Session } from "./session.js";
import { Stage } from "./stage.js";
import { make, plural, safeColour } from "./dom.js";

const sessions = new Map(); // project + annotator -> Session: survives reruns and other pages
const views = new WeakMap(); // root element -> View
const LOOK_ALIKES = 24;
const DECIDING = new Set(["accept", "class", "skip", "unsure", "undo"]);

class View {
  constructor(root, session) {
    this.root = root;
    this.session = session;
    this.stage = new Stage(root);
    this.dialogs = new Dialogs(root);
    this.panel = new Panel(root, {
      onClass: (id, event) => this.act({ action: "class", classId: id }, event),
      onLight: (number, toggle) => this.light(number, toggle),
    });
    this.bulk = new Bulk(this.dialogs, {
      onAccept: (yes, rest, kind) => session.acceptAll(yes, rest, kind),
      onClose: (items) => session.takeBackToQueue(items.filter((item) => item !== session.current)),
    });
    this.settings = this.#loadSettings();
    this.stop = new AbortController();
    this.#listen();
    this.#applySettings();
    this.#measure();
    session.attach(this);
  }

  destroy() {
    this.stop.abort();
    this.stage.destroy();
    this.session.detach(this);
  }

  part(name) {
    return this.root.querySelector(`[data-part=${name}]`);
  }

  state(name) {
    if (this.root.dataset.state !== name) this.root.dataset.state = name;
  }

  // ------------------------------------------------------------------ what the session shows
  setClasses(classes) {
    const text = JSON.stringify(classes);
    if (text === this.classesText) return;
    this.classesText = text;
    this.classByKey = new Map(classes.filter((c) => c.key).map((c) => [c.key.toLowerCase(), c.id]));
    this.panel.setClasses(classes);
  }

  dress(item) {
    if (this.panel.classes.size) this.panel.cards(item, this.session.pictures)?.draw();
  }

  showItem(item, img, before) {
    this.hideMessage();
    this.lit = null;
    this.panel.showItem(item, before, this.session.pictures);
    this.stage.show(item, img, item.heat, this.#boxes(item));
    this.banner(before ? this.#beforeText(before) : "");
  }

  markShown(item) {
    this.stage.node.dataset.itemId = item.id;
    this.state("ready");
  }

  waitFor(item) {
    this.stage.clear();
    this.hideMessage();
    this.panel.text("name", item.name);
    this.state("waiting");
  }

  pictureFailed(item) {
    this.message("This image does not load", `${item.name} could not be fetched or decoded. It is tried again; skip it to go on.`, [
      ["Skip it (S)", (event) => this.act({ action: "skip" }, event)],
    ]);
  }

  suggestionArrived(item, before) {
    this.panel.showItem(item, before, this.session.pictures);
    this.stage.replaceOverlays(item.heat, this.#boxes(item));
    const flag = this.part("flag");
    flag.classList.remove("rv-arrived");
    void flag.offsetWidth; // restarts the animation
    flag.classList.add("rv-arrived");
    this.toast("The suggestion for this image has arrived.");
  }

  showNothing() {
    this.stage.clear();
    this.banner("");
    const { queue, outbox, run, progress, classes, problem } = this.session;
    const unsent = outbox.unsent.length;
    if (queue.refused) {
      this.state("refused");
      this.message("The server gives no images", queue.away, []);
    } else if (queue.away || (problem && !classes.length)) {
      const safe = unsent ? ` Your ${plural(unsent, "unsent decision")} ${unsent === 1 ? "is" : "are"} kept in this browser and will be sent.` : "";
      this.state("away");
      this.message("The server does not answer", `Every image that was loaded ahead is done.${safe} Labelling goes on by itself when the server is back.`, [
        ["Try now", () => { outbox.retryNow(); queue.wakeUp(); this.session.start(); }],
      ]);
    } else if (!queue.answered || !queue.exhausted) {
      this.hideMessage();
      this.state("loading");
    } else if (!classes.length) {
      this.state("no-classes");
      this.message("No classes yet", "Add the classes and about ten example images of each; then every image here comes with a suggestion.", [["Go to Support", "support"]]);
    } else if (!progress?.total) {
      this.state("no-images");
      this.message("No images to label yet", run?.sentence || "Import a folder, a zip file or single images first.", [["Go to Images", "images"]]);
    } else if (progress.left > 0) {
      this.state("taken");
      this.message("Nothing free for you right now", `${plural(progress.left, "image")} ${progress.left === 1 ? "is" : "are"} reserved for other annotators. They appear here as soon as they are free.`, []);
    } else {
      this.state("empty");
      const unsure = progress.unsure ? ` ${progress.unsure} marked unsure wait for review.` : "";
      this.message("All done", `Every image has a decision: ${progress.labelled.toLocaleString("en")} labelled.${unsure} Undo still works here.`, [
        ["Export the labels", "export"],
        ["Import more images", "images"],
      ]);
    }
  }

  showCounts(session) {
    const { outbox, queue } = session;
    const unsent = outbox.entries.length;
    this.root.dataset.unsent = String(unsent);
    this.root.dataset.rejected = String(outbox.rejected.length);
    this.root.dataset.refused = String(session.refused);
    this.root.dataset.ahead = String(queue.ahead.length);
    this.showDecoded(session);
    this.panel.showProgress(session.progress, session.pace);
    this.panel.showSaved({ unsent, rejected: outbox.rejected.length, away: outbox.away ?? queue.away, volatile: outbox.volatile });
    this.panel.showRun(session.run);
    this.#showLast(session);
    if (!session.current) this.showNothing();
    else this.#hint(session);
  }

  // What was confirmed last, solid where a suggestion is dashed; a click takes it back.
  #showLast({ history, recent }) {
    const last = history.entries.at(-1);
    const node = this.part("last");
    node.hidden = !last;
    if (!last || node.dataset.event === last.event_id) return;
    const kind = this.panel.classes.get(last.class_id);
    const what = last.kind === "skip" ? "Skipped" : last.kind === "unsure" ? "Unsure" : (kind?.name ?? "Labelled");
    node.dataset.event = last.event_id;
    node.style.setProperty("--rv-class", kind ? safeColour(kind.colour) : "#888888");
    this.part("last-what").textContent = last.group ? `${what}, ${history.last().length} images` : what;
    this.part("last-name").textContent = recent.get(last.image)?.name ?? "";
  }

  showDecoded({ queue, pictures }) {
    this.root.dataset.decoded = String(queue.ahead.filter((item) => pictures.isReady(item.image_url)).length);
  }

  conflict(decision, message) {
    const name = this.session.recent.get(decision.image)?.name ?? decision.image.slice(0, 8);
    this.toast(message || `${name}: somebody else decided in between. Both decisions are kept, for review.`, 6000);
  }

  // Whether the image can be seen; if not, it is scrolled back, and the key does not count.
  bringIntoSight() {
    if (this.stage.visible) return true;
    this.root.scrollIntoView({ block: "start" });
    return false;
  }

  // ------------------------------------------------------------------ messages
  refuse(sentence, count) {
    this.root.dataset.refused = String(count);
    this.toast(`${sentence} (${plural(count, "key")} refused)`, 1600, true);
  }

  toast(sentence, ms = 2600, warn = false) {
    const node = this.part("toast");
    node.textContent = sentence;
    node.classList.toggle("rv-warn", warn);
    node.classList.add("rv-on");
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => node.classList.remove("rv-on"), ms);
  }

  banner(text) {
    const node = this.part("banner");
    node.textContent = text;
    node.hidden = !text;
  }

  message(title, text, actions) {
    const shown = `${title}\n${text}`;
    const node = this.part("message");
    if (!node.hidden && node.dataset.shown === shown) return;
    node.dataset.shown = shown;
    const row = make("div", "rv-row");
    for (const [label, target] of actions) {
      const action = make(typeof target === "string" ? "a" : "button", "rv-button rv-main", label);
      if (typeof target === "string") action.href = target;
      else action.addEventListener("click", target);
      row.append(action);
    }
    node.replaceChildren(make("h2", "", title), make("p", "", text), row);
    node.hidden = false;
  }

  hideMessage() {
    this.part("message").hidden = true;
  }

  #hint({ current, run }) {
    if (current.suggestion.state !== "none" || run?.state !== "no_support") return;
    if (this.part("banner").hidden && this.session.painted) {
      this.banner("No suggestions yet: the support set needs two classes with images. The class keys work already.");
      const link = make("a", "", "Go to Support");
      link.href = "support";
      this.part("banner").append(" ", link);
    }
  }

  #beforeText(before) {
    const kind = this.panel.classes.get(before.class_id);
    const what = before.kind === "skip" ? "skipped" : before.kind === "unsure" ? "unsure" : `labelled ${kind?.name ?? "as a class that is gone"}`;
    return `Undone. You had ${before.kind === "unsure" ? "marked this" : ""} ${what}. Decide again.`.replace("  ", " ");
  }

  // ------------------------------------------------------------------ highlights and toggles
  light(number, toggle = false) {
    if (toggle) this.held = this.held === number ? null : number;
    const lit = number ?? this.held ?? null;
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

  #loadSettings() {
    const defaults = { heatmap: true, evidence: true, opacity: 45 };
    try {
      return { ...defaults, ...JSON.parse(localStorage.getItem("rv-view") ?? "{}") };
    } catch {
      return defaults; // storage switched off: the choice lasts for this page
    }
  }

  #applySettings() {
    this.root.classList.toggle("rv-no-heat", !this.settings.heatmap);
    this.root.classList.toggle("rv-no-evidence", !this.settings.evidence);
    this.root.style.setProperty("--rv-heat", String(this.settings.opacity / 100));
    this.part("opacity").value = String(this.settings.opacity);
    for (const name of ["heatmap", "evidence"]) {
      this.root.querySelector(`[data-action=${name}]`).setAttribute("aria-pressed", String(this.settings[name]));
    }
    try {
      localStorage.setItem("rv-view", JSON.stringify(this.settings));
    } catch {
      this.settings.lasting = false;
    }
  }

  // ------------------------------------------------------------------ input
  #listen() {
    const { signal } = this.stop;
    document.addEventListener("keydown", (event) => this.#key(event), { signal, capture: true });
    document.addEventListener("keyup", (event) => this.#keyUp(event), { signal, capture: true });
    this.root.addEventListener("mousedown", (event) => {
      if (event.target.closest("button")) event.preventDefault(); // a click leaves the keys where they were
    }, { signal });
    for (const button of this.root.querySelectorAll("[data-action]")) {
      button.addEventListener("click", (event) => this.act({ action: button.dataset.action }, event), { signal });
    }
    this.part("saved").addEventListener("click", () => this.#openSaved(), { signal });
    this.part("opacity").addEventListener("input", (event) => {
      this.settings.opacity = Number(event.target.value);
      this.settings.heatmap = true;
      this.#applySettings();
    }, { signal });
    window.addEventListener("resize", () => this.#measure(), { signal });
  }

  #key(event) {
    const meaning = meaningOf(event, this.root, this.classByKey ?? new Map());
    if (!meaning) return;
    if (meaning.action === "escape") {
      if (this.dialogs.open) this.#closeDialog();
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (meaning.action === "control") {
      if (!event.repeat) meaning.control.click();
      return;
    }
    if (event.repeat) {
      if (DECIDING.has(meaning.action)) this.session.refuse("Key held down: one press, one decision.");
      return;
    }
    if (this.dialogs.open) this.#keyInDialog(meaning);
    else this.act(meaning, event);
  }

  // Space on a focused button clicks on keyup; the keydown has done that already.
  #keyUp(event) {
    if (event.key === " " && event.target instanceof Element && this.root.contains(event.target.closest("button"))) event.preventDefault();
  }

  #keyInDialog({ action, enter }) {
    if (this.bulk.open && enter) this.bulk.confirm() || this.session.refuse("Nothing is left to label.");
    else if (enter || action === this.dialogs.open) this.#closeDialog();
    else if (DECIDING.has(action)) this.session.refuse("Close this first (Esc): the image is covered.");
  }

  #closeDialog() {
    if (this.bulk.open) this.bulk.cancel();
    else this.dialogs.close();
  }

  act({ action, classId }, event) {
    const at = event.timeStamp || performance.now();
    const { session } = this;
    if (this.dialogs.open && DECIDING.has(action)) return session.refuse("Close this first (Esc): the image is covered.");
    switch (action) {
      case "accept":
        return session.accept(at);
      case "class":
        return session.label(classId, at);
      case "skip":
      case "unsure":
        return session.decide(action, null, at);
      case "undo":
        return session.undo(at);
      case "heatmap":
      case "evidence":
        this.settings[action] = !this.settings[action];
        this.#applySettings();
        return this.stage.fit();
      case "note":
        if (!session.current || !session.painted) return session.refuse("No image is on screen.");
        return this.#openNote(session.current);
      case "details":
        if (!session.current) return session.refuse("No image is on screen.");
        this.onDetails?.(session.current.id);
        return this.#scrollToDetails();
      case "bulk":
        return this.#openBulk();
      default:
        return this.dialogs.help(session.classes);
    }
  }

  // The panel below is drawn by Streamlit, a moment later; a second D has closed it.
  #scrollToDetails() {
    const find = () => document.querySelector(".st-key-rv_details");
    const before = find()?.textContent;
    const grows = new ResizeObserver(([entry]) => entry.target.scrollIntoView({ behavior: "smooth", block: "start" }));
    const watch = new MutationObserver(() => {
      const panel = find();
      if (!panel || panel.textContent === before) return;
      watch.disconnect();
      grows.observe(panel); // the charts come one by one
    });
    watch.observe(document.body, { childList: true, subtree: true });
    const stop = () => [watch, grows].forEach((each) => each.disconnect());
    setTimeout(stop, 5000);
    window.addEventListener("wheel", stop, { once: true, passive: true });
    document.addEventListener("keydown", stop, { once: true });
  }

  #openNote(item) {
    this.dialogs.note(item, (text) => {
      this.session.note(item, text);
      if (item === this.session.current) this.panel.text("note", text ? `Note: ${text}` : "");
      this.toast("Note kept.");
    });
  }

  #openSaved() {
    const { outbox } = this.session;
    if (outbox.rejected.length) this.dialogs.rejected(outbox, (image) => this.session.recent.get(image)?.name ?? image.slice(0, 12));
    else if (outbox.entries.length) this.dialogs.waiting(outbox);
    else this.toast("Every decision is stored on the server.");
  }

  async #openBulk() {
    const { session } = this;
    const item = session.current;
    if (!item || !session.painted) return session.refuse("No image is on screen.");
    if (item.suggestion.state !== "shown" || !this.panel.classes.has(item.suggestion.flag))
      return session.refuse("Look-alikes share a suggestion, and this image has none.");
    const turn = session.turn;
    this.toast("Looking for look-alikes\u2026");
    try {
      const have = session.outbox.unsent.map((decision) => decision.image);
      const answer = await session.api.lookAlikes({ annotator: session.annotator, image: item.id, limit: LOOK_ALIKES - 1, have: [...new Set([item.id, ...have])] });
      if (turn !== session.turn || this.dialogs.open) return null; // the annotator has gone on
      const others = answer.items.filter((other) => other.id !== item.id && other.suggestion.state === "shown" && other.suggestion.flag === item.suggestion.flag);
      if (!others.length) return this.toast("No other image with this suggestion is alike.");
      return this.bulk.show([item, ...others], this.panel.classes.get(item.suggestion.flag));
    } catch (error) {
      return session.refuse(`No look-alikes now. ${error.message}`);
    }
  }

  // The height that is left below whatever stands above us on the page.
  #measure() {
    const top = this.root.getBoundingClientRect().top + (this.root.closest("[data-testid=stMain]")?.scrollTop ?? window.scrollY);
    this.root.style.setProperty("--rv-above", `${Math.max(0, Math.round(top))}px`);
  }
}

function mount(parentElement, data) {
  const root = parentElement.querySelector(".rv-reviewer");
  const key = JSON.stringify([data.api_base, data.project, data.annotator, data.order]);
  let view = views.get(root);
  if (view && view.key === key) return view;
  view?.destroy();
  if (!sessions.has(key)) sessions.set(key, new Session(data));
  view = new View(root, sessions.get(key));
  view.key = key;
  views.set(root, view);
  return view;
}

export default function reviewer({ parentElement, data, setTriggerValue }) {
  const view = mount(parentElement, data);
  view.onDetails = (image) => setTriggerValue("details", image);
  return () => {
    view.destroy();
    views.delete(view.root);
  };
}
