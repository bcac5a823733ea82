// Keys, clicks and taps, turned into what the session does. Nothing here decides by itself.
import { isOwnButton, meaningOf } from "./keys.js";
import { scrollToDetails } from "./details.js";

const DECIDING = new Set(["accept", "class", "skip", "unsure", "undo"]);
const COVERED = "Close this first (Esc): the image is covered.";

export class Input {
  constructor(view) {
    this.view = view;
    this.classByKey = new Map();
    this.abort = new AbortController();
    this.#listen();
    this.#measure();
    this.above = new ResizeObserver(() => this.#measure()); // the page's own style and notices come when they come
    this.above.observe(view.root.closest("[data-testid=stVerticalBlock]") ?? document.body);
  }

  stop() {
    this.above.disconnect();
    this.abort.abort();
  }

  act({ action, classId, key }, event) {
    const { view } = this;
    const { session } = view;
    const at = event.timeStamp || performance.now();
    if (view.dialogs.open && DECIDING.has(action)) return session.refuse(COVERED);
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
        return view.preferences.toggle(action);
      case "note":
        return session.painted ? view.openNote(session.current) : session.refuse("No image is on screen.");
      case "details":
        return this.#details();
      case "unassigned":
        return session.refuse(`No class has the key ${key.toUpperCase()}.`);
      case "bulk":
        return view.openBulk();
      default:
        return view.dialogs.help(session.classes);
    }
  }

  #listen() {
    const { root, preferences } = this.view;
    const { signal } = this.abort;
    const part = (name) => root.querySelector(`[data-part=${name}]`);
    document.addEventListener("keydown", (event) => this.#key(event), { signal, capture: true });
    document.addEventListener("keyup", (event) => this.#keyUp(event), { signal, capture: true });
    const keepFocus = (event) => event.target.closest("button") && event.preventDefault();
    root.addEventListener("mousedown", keepFocus, { signal }); // a click leaves the keys where they were
    for (const button of root.querySelectorAll("[data-action]")) {
      button.addEventListener("click", (event) => this.act({ action: button.dataset.action }, event), { signal });
    }
    part("saved").addEventListener("click", () => this.view.openSaved(), { signal });
    const seeThrough = (event) => preferences.set({ opacity: Number(event.target.value), heatmap: true });
    part("opacity").addEventListener("input", seeThrough, { signal });
    window.addEventListener("resize", () => this.#measure(), { signal });
  }

  #key(event) {
    const { view } = this;
    const meaning = meaningOf(event, view.root, this.classByKey);
    if (!meaning) return;
    if (meaning.action === "escape") {
      if (view.dialogs.open) this.#closeDialog();
      else if (!view.stage.item || event.target.closest?.("[role=dialog], [data-baseweb=popover]")) return;
      else view.root.scrollIntoView({ block: "start", behavior: "smooth" }); // back from the details below
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) {
      if (DECIDING.has(meaning.action)) view.session.refuse("Key held down: one press, one decision.");
    } else if (meaning.action === "control") meaning.control.click();
    else if (view.dialogs.open) this.#keyInDialog(meaning);
    else this.act(meaning, event);
  }

  // Streamlit draws them, and says nothing when its server is away.
  async #details() {
    const { session, onDetails } = this.view;
    if (!session.current) return session.refuse("No image is on screen.");
    scrollToDetails(this.view.stage.node);
    onDetails(session.current.id);
    try {
      await session.api.classes();
      return true;
    } catch (error) {
      return session.refuse(`No details now. ${error.message}`);
    }
  }

  // Space on a focused button clicks on keyup; the keydown has done that already.
  #keyUp(event) {
    if (event.key === " " && isOwnButton(event.target, this.view.root)) event.preventDefault();
  }

  #keyInDialog({ action, enter }) {
    const { bulk, dialogs, session } = this.view;
    if (enter && bulk.open) {
      if (!bulk.confirm()) session.refuse("Nothing is left to label.");
    } else if (enter) dialogs.enter();
    else if (action === dialogs.open) this.#closeDialog();
    else if (DECIDING.has(action)) session.refuse(COVERED);
  }

  #closeDialog() {
    const { bulk, dialogs } = this.view;
    if (bulk.open) bulk.cancel();
    else dialogs.close();
  }

  // The height that is left below whatever stands above us on the page.
  #measure() {
    const { root } = this.view;
    const scrolled = root.closest("[data-testid=stMain]")?.scrollTop ?? window.scrollY;
    root.style.setProperty("--rv-above", `${Math.max(0, Math.round(root.getBoundingClientRect().top + scrolled))}px`);
  }
}
