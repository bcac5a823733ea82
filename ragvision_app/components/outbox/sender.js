// Decisions that a closed tab, another page or another annotator left in this browser are sent from every
// page, whoever labels now, and are named for as long as they wait. One line per annotator; none, no room.
import { Api } from "./api.js";
import { make, plural } from "./dom.js";
import { Outbox } from "./outbox.js";

const LOOK_EVERY_MS = 1000; // other tabs tell at once; what this tab's own loop leaves behind does not
const KEY = /^rv-(outbox|rejected):(.*):\d{18}:[^:]+$/s;
const senders = new Map(); // project -> Sender

class Sender {
  constructor(project, base) {
    this.project = project;
    this.api = new Api(base);
    this.root = null;
    this.outboxes = new Map(); // scope -> ours; a reviewer that labels in this tab sends its own
    this.look();
    setInterval(() => this.look(), LOOK_EVERY_MS);
    window.addEventListener("storage", () => this.look());
  }

  // What this browser keeps for this project: scope -> {unsent, rejected}.
  #kept() {
    const kept = new Map();
    let keys = [];
    try {
      keys = Object.keys(localStorage);
    } catch {
      // switched off in this browser: nothing was kept either
    }
    for (const key of keys) {
      const [, kind, scope] = KEY.exec(key) ?? [];
      if (!scope?.startsWith(`${this.project}:`)) continue;
      if (!kept.has(scope)) kept.set(scope, { unsent: 0, rejected: 0 });
      kept.get(scope)[kind === "outbox" ? "unsent" : "rejected"] += 1;
    }
    return kept;
  }

  look() {
    const kept = this.#kept();
    const reviewers = window.__rvOutboxes ?? new Map();
    for (const [scope, outbox] of this.outboxes) {
      if (kept.get(scope)?.unsent && !reviewers.has(scope)) continue;
      outbox.stop();
      this.outboxes.delete(scope);
    }
    for (const [scope, { unsent }] of kept) {
      if (!unsent || reviewers.has(scope)) continue;
      if (!this.outboxes.has(scope)) this.outboxes.set(scope, this.#outbox(scope));
      const outbox = this.outboxes.get(scope);
      outbox.reload();
      outbox.drain();
    }
    this.#draw(kept, reviewers);
  }

  #outbox(scope) {
    const draw = () => this.#draw(this.#kept(), window.__rvOutboxes ?? new Map());
    return new Outbox(scope, this.api, { onChange: draw, onStored: () => {}, onRejected: () => {} });
  }

  // The loop's own top bar says it for the annotator who labels on this page.
  #draw(kept, reviewers) {
    const here = document.querySelector(".rv-reviewer")?.dataset.scope;
    const lines = [];
    for (const [scope, { unsent, rejected }] of [...kept].sort()) {
      if (scope === here) continue;
      const name = scope.slice(this.project.length + 1);
      const away = (reviewers.get(scope) ?? this.outboxes.get(scope))?.away;
      const how = away ? "the server does not answer, they are kept and sent when it does" : "sending\u2026";
      if (unsent) lines.push({ name, text: `${plural(unsent, "unsent decision")} of ${name}: ${how}`, away: Boolean(away) });
      if (rejected) lines.push({ name, text: `${plural(rejected, "decision")} of ${name} refused by the server.`, link: "See why" });
    }
    const root = this.root;
    const shown = JSON.stringify(lines);
    if (!root || root.dataset.shown === shown) return;
    root.dataset.shown = shown;
    root.replaceChildren(
      ...lines.map(({ name, text, away, link }) => {
        const line = make("div", away || link ? "rv-unsent-line rv-unsent-warn" : "rv-unsent-line", text);
        if (link) {
          const anchor = make("a", "", link);
          anchor.href = `label?annotator=${encodeURIComponent(name)}`;
          line.append(" ", anchor);
        }
        return line;
      }),
    );
  }
}

export default function unsent({ parentElement, data }) {
  const root = parentElement.querySelector(".rv-unsent");
  if (!senders.has(data.project)) senders.set(data.project, new Sender(data.project, data.api_base));
  const sender = senders.get(data.project);
  sender.root = root;
  sender.look();
  return () => {
    if (sender.root === root) sender.root = null;
  };
}
