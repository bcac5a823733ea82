// Sentences over and under the image: short ones that go, one line that stays, and what fills the stage.
import { make } from "./dom.js";

export class Messages {
  constructor(root) {
    this.node = (name) => root.querySelector(`[data-part=${name}]`);
  }

  toast(sentence, ms = 2600, warn = false) {
    const node = this.node("toast");
    node.textContent = sentence;
    node.classList.toggle("rv-warn", warn);
    node.classList.add("rv-on");
    clearTimeout(this.toastTimer);
    this.toastTimer = setTimeout(() => node.classList.remove("rv-on"), ms);
  }

  // `link`: [label, page] or null.
  banner(text, link = null) {
    const node = this.node("banner");
    node.textContent = text;
    node.hidden = !text;
    if (!link) return;
    const anchor = make("a", "", link[0]);
    anchor.href = link[1];
    node.append(anchor);
  }

  message(title, text, actions) {
    const shown = `${title}\n${text}`;
    const node = this.node("message");
    if (!node.hidden && node.dataset.shown === shown) return;
    node.dataset.shown = shown;
    const row = make("div", "rv-row");
    for (const [at, [label, target]] of actions.entries()) {
      const action = make(typeof target === "string" ? "a" : "button", at ? "rv-button" : "rv-button rv-main", label);
      if (typeof target === "string") action.href = target;
      else action.addEventListener("click", target);
      row.append(action);
    }
    node.replaceChildren(make("h2", "", title), make("p", "", text), row);
    node.hidden = false;
  }

  hide() {
    this.node("message").hidden = true;
  }
}
