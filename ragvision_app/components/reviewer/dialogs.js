// What covers the loop for a moment: help, the note field, and decisions that the server refused.
import { make, plural } from "./dom.js";

const KEYS = [
  ["A  Enter  Space", "accept the suggestion"],
  ["1 \u2026 9, 0, letters", "label as that class"],
  ["S", "skip: comes back later"],
  ["U", "unsure: goes to the queue \u201cMy unsure ones\u201d"],
  ["Z", "undo decisions, as often as you like"],
  ["N", "note on this image; again to change or empty it"],
  ["H", "heatmap on or off"],
  ["E", "evidence on or off"],
  ["B", "look-alikes in one go"],
  ["D", "details of this image; Esc scrolls back to it"],
  ["?", "this help"],
];

export class Dialogs {
  constructor(root) {
    this.node = root.querySelector("[data-part=dialog]");
    this.open = null; // the name of the one that is open
    this.onEnter = null;
  }

  // Enter outside of its field: what the dialog's main button does, else it closes.
  enter() {
    if (this.onEnter) this.onEnter();
    else this.close();
  }

  close() {
    this.open = null;
    this.onEnter = null;
    this.node.hidden = true;
    this.node.replaceChildren();
  }

  #show(name, title, ...content) {
    const box = make("div", "rv-dialog-box");
    const head = make("div", "rv-dialog-head");
    const close = make("button", "rv-button");
    close.append(make("span", "", "Close"), make("kbd", "", "Esc"));
    close.addEventListener("click", () => this.close());
    head.append(make("h2", "", title), close);
    box.append(head, ...content);
    box.setAttribute("role", "dialog");
    box.setAttribute("aria-label", title);
    this.node.replaceChildren(box);
    this.node.hidden = false;
    this.node.dataset.open = name;
    this.open = name;
    return box;
  }

  help(classes) {
    const table = make("dl", "rv-keys");
    for (const [keys, meaning] of KEYS) {
      const term = make("dt");
      for (const key of keys.split("  ")) term.append(make("kbd", "", key));
      table.append(term, make("dd", "", meaning));
    }
    const own = make("p", "rv-quiet", classes.map((c) => `${(c.key ?? "\u2013").toUpperCase()} ${c.name}`).join("   \u00b7   "));
    const about = make("div", "rv-about");
    for (const line of [
      "Contribution is what a place in the image adds to the score of the flag against the runner-up: a place has the colour of the class that it supports, and clear is neutral. The scale is the same for every image. It says what the scores rest on, not what a person would look at; with encoders whose patches see the whole image (CLIP) it is not purely local.",
      "A key counts only for an image that is on screen. Every decision is kept in this browser until the server has stored it.",
      "Zoom with the wheel or two fingers, drag to move, double click for the whole image.",
    ])
      about.append(make("p", "", line));
    this.#show("help", "Keys", table, own, about);
  }

  rejected(outbox, nameOf) {
    const list = make("ul", "rv-list");
    for (const { decision, sentence } of outbox.rejected) {
      const line = make("li");
      line.append(make("b", "", `${decision.kind} \u00b7 ${nameOf(decision.image)}`), make("span", "", sentence));
      list.append(line);
    }
    const again = make("button", "rv-button rv-main", "Send again");
    again.addEventListener("click", () => {
      outbox.retryRejected();
      this.close();
    });
    const save = make("button", "rv-button", "Download as JSON");
    save.addEventListener("click", () => download(outbox.rejected, "refused-decisions.json"));
    const drop = make("button", "rv-button", "Remove from this list");
    drop.addEventListener("click", () => {
      download(outbox.rejected, "refused-decisions.json");
      outbox.discardRejected();
      this.close();
    });
    drop.title = "Downloads them first: nothing is thrown away unseen.";
    const row = make("div", "rv-row");
    row.append(again, save, drop);
    this.#show("rejected", `${plural(outbox.rejected.length, "decision")} refused by the server`, list, row);
  }

  // Decisions still waiting, and why.
  waiting(outbox) {
    const when = outbox.signIn
      ? "this browser has signed in again: open a link with a token that is in force, or log in, in another tab"
      : "the server is back";
    const text = outbox.away
      ? `${outbox.away} They are kept in this browser, also when the tab is closed, and are sent in order as soon as ${when}.`
      : "They are being sent.";
    this.#show("waiting", `${plural(outbox.unsent.length, "decision")} waiting`, make("p", "", text));
  }

  note(item, onSave) {
    const field = make("input", "rv-note-field");
    field.type = "text";
    field.maxLength = 2000;
    field.value = item.note ?? "";
    field.setAttribute("aria-label", "Note on this image");
    field.placeholder = "What should others know about this image?";
    const keep = () => {
      const text = field.value.trim();
      this.close();
      if (text !== (item.note ?? "")) onSave(text);
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.isComposing) return;
      if (event.key === "Escape") this.close();
      if (event.key === "Enter") {
        event.preventDefault();
        keep();
      }
    });
    const save = make("button", "rv-button rv-main");
    save.append(make("span", "", "Save note"), make("kbd", "", "Enter"));
    save.addEventListener("click", keep);
    const row = make("div", "rv-row");
    row.append(field, save);
    this.#show("note", `Note on ${item.name}`, row);
    this.onEnter = keep;
    field.focus();
  }

  custom(name, title, ...content) {
    return this.#show(name, title, ...content);
  }
}

function download(value, name) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
