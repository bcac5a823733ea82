// Everything beside the image: suggestion, class rows, explanation, evidence, and the counters on top.
import { clamp, make, plural, safeColour } from "./dom.js";
import { evidenceCards, explanationNodes } from "./evidence.js";

const TAIL = 12;
const NO_VLM = "no vision-language model";

// What people call a reasoner: its model, without the hash of its weights and what stands behind it. Where the
// scores speak in its place, the one that is waited for or gave no answer.
export function reasonerName({ reasoner }) {
  const other = /\((?:waiting for|no answer of) (.*)\)$/.exec(reasoner ?? "");
  const [kind, model] = (other ? other[1] : (reasoner ?? "")).replace(/-[0-9a-f]{12}\b.*$/, "").split(" ");
  return model ?? kind;
}

export class Panel {
  constructor(root, { onClass, onLight }) {
    this.root = root;
    this.onClass = onClass;
    this.onLight = onLight;
    this.rows = new Map();
    this.classes = new Map();
    this.parts = new Map();
    this.scrolled = false;
    this.part("strip").addEventListener("scroll", () => (this.scrolled = true), { passive: true });
  }

  part(name) {
    if (!this.parts.has(name)) this.parts.set(name, this.root.querySelector(`[data-part=${name}]`));
    return this.parts.get(name);
  }

  text(name, text) {
    const node = this.part(name);
    if (node.textContent !== text) node.textContent = text;
    return node;
  }

  // The end of a file's name tells it from its neighbours, so only the beginning gives way.
  showName(name) {
    const node = this.part("name");
    if (node.title === name) return;
    node.title = name;
    const letters = [...name];
    node.replaceChildren(make("span", "rv-clip", letters.slice(0, -TAIL).join("")), make("span", "", letters.slice(-TAIL).join("")));
  }

  // One row a class: key, name, bar and probability, and the button that labels with it.
  setClasses(classes) {
    this.classes = new Map(classes.map((kind) => [kind.id, kind]));
    this.rows.clear();
    const list = this.part("classes");
    list.dataset.many = classes.length > 10 ? "2" : "1";
    list.dataset.roomy = classes.length <= 6 ? "1" : "0";
    list.style.setProperty("--rv-rows", String(Math.ceil(classes.length / (classes.length > 10 ? 2 : 1))));
    list.replaceChildren(
      ...classes.map((kind) => {
        const row = make("button", "rv-class");
        row.style.setProperty("--rv-class", safeColour(kind.colour));
        row.dataset.classId = kind.id;
        row.title = kind.description ? `${kind.name}\n${kind.description}` : kind.name;
        const key = make("kbd", "", kind.key ? kind.key.toUpperCase() : "\u2013");
        const name = make("span", "rv-clip", kind.name);
        const tag = make("span", "rv-tag");
        const probability = make("span", "rv-number");
        const bar = make("span", "rv-bar");
        row.append(bar, key, make("span", "rv-dot"), name, tag, probability);
        row.setAttribute("aria-label", `Label as ${kind.name}${kind.key ? `, key ${kind.key}` : ""}`);
        row.addEventListener("click", (event) => this.onClass(kind.id, event));
        this.rows.set(kind.id, { row, bar, probability, tag });
        return row;
      }),
    );
  }

  // `decided`: what the annotator had decided before an undo brought the image back.
  showItem(item, decided, pictures) {
    const suggestion = item.suggestion;
    const shown = suggestion.state === "shown" && suggestion.flag !== null && suggestion.flag !== undefined;
    const flag = shown ? this.classes.get(suggestion.flag) : null;
    this.showName(item.name);
    this.text("skipped", item.skipped ? "skipped before" : "").title = "You skipped this image before";
    this.text("note", item.note ? `Note: ${item.note}` : "");
    this.root.dataset.suggestion = suggestion.state;

    const box = this.part("flag");
    box.style.setProperty("--rv-class", safeColour(flag?.colour));
    const scores = new Map((suggestion.state === "shown" ? suggestion.scores : []).map((s) => [s.class_id, s.probability]));
    const best = flag ? scores.get(flag.id) : null;
    const [kicker, title, detail, inFull = detail] = this.#words(suggestion, flag, item.second);
    this.text("kicker", kicker);
    this.text("flag-name", title).title = title;
    this.text("flag-score", best === null || best === undefined ? "" : best.toFixed(2));
    this.text("reasoner", detail).title = inFull;
    this.text("accept-name", flag ? `Accept ${flag.name}` : "Nothing to accept: press a class key");
    this.part("accept").disabled = !flag;

    const byScores = shown && suggestion.reasoning === "answered" ? this.#highest(scores) : null;
    const own = suggestion.reasoner_probabilities ?? {};
    for (const [id, { row, bar, probability, tag }] of this.rows) {
      const value = scores.get(id);
      probability.title = own[id] === undefined ? "" : `${reasonerName(suggestion)}: ${own[id].toFixed(2)}`;
      bar.style.transform = `scaleX(${clamp(value ?? 0, 0, 1)})`;
      probability.textContent = value === undefined ? "" : value.toFixed(2);
      row.classList.toggle("rv-suggested", flag?.id === id);
      row.classList.toggle("rv-was", decided?.class_id === id);
      tag.textContent = decided?.class_id === id ? "you, before" : flag?.id === id ? "suggested" : byScores === id ? "by the scores" : "";
    }
    this.#explain(item, shown);
    this.part("strip").replaceChildren(...(this.cards(item, pictures)?.nodes ?? []));
    if (this.scrolled) this.part("strip").scrollLeft = 0; // only then: it costs a layout
    this.scrolled = false;
    const runner = shown ? this.classes.get(suggestion.runner_up) : null;
    this.text("for", flag ? flag.name : "");
    this.text("against", runner ? runner.name : "the others");
    const [positive, negative] = item.colours ?? [];
    this.part("scale").style.background = positive
      ? `linear-gradient(90deg, rgb(${negative.join(" ")}), transparent, rgb(${positive.join(" ")}))`
      : "none";
    this.part("legend").hidden = !shown || !suggestion.heatmap;
  }

  #highest(scores) {
    const [top] = [...scores].sort((one, other) => other[1] - one[1]);
    return top ? top[0] : null;
  }

  // The suggestion's own words; before them what a slow reasoner has to say, or why it says nothing.
  #explain(item, shown) {
    const { suggestion, second } = item;
    const nodes = shown ? explanationNodes(suggestion, this.onLight) : [];
    const name = reasonerName(suggestion);
    const lead = (kind, ...parts) => {
      const line = make("span", `rv-reasoner rv-reasoner-${kind}`);
      line.append(...parts);
      nodes.unshift(line);
    };
    if (shown && second) {
      const says = this.classes.get(second.flag)?.name;
      const words = second.reason ? [`${name} gave no answer: ${second.reason}`] : [make("b", "", says ? `${name} says ${says}. ` : `${name} cannot tell. `), ...explanationNodes(second, this.onLight)];
      lead("second", ...words);
    } else if (shown && suggestion.reasoning === "pending") {
      lead("pending", make("b", "", `${name} `), item.draft ?? "is still looking; the scores speak meanwhile.");
    } else if (suggestion.state === "shown" && suggestion.reasoning === "failed") {
      lead("failed", `${name} gave no answer: ${suggestion.reason}`);
    }
    this.part("explanation").replaceChildren(...nodes);
  }

  // A few more words of a slow reasoner, while it writes.
  draft(item) {
    this.#explain(item, true);
  }

  // No image is on screen, so nothing is suggested.
  clear() {
    for (const { row, tag } of this.rows.values()) {
      row.classList.remove("rv-suggested", "rv-was");
      tag.textContent = "";
    }
    this.part("strip").replaceChildren();
    this.part("explanation").replaceChildren();
    this.part("legend").hidden = true;
  }

  // Cards are made ahead of time, so that showing an item only puts them in place.
  cards(item, pictures) {
    if (item.suggestion.state !== "shown" || !item.suggestion.evidence?.length) return null;
    if (item.cards?.of !== item.suggestion || item.cards.by !== this) {
      const light = (number, held) => this.onLight(number, held);
      item.cards = { of: item.suggestion, by: this, ...evidenceCards(item, this.classes, pictures, light) };
    }
    return item.cards;
  }

  #words(suggestion, flag, second) {
    const { state, reason } = suggestion;
    if (flag) {
      const model = this.#model(suggestion, second);
      const names = suggestion.calibrated === "class names alone"; // not a calibration: no example was looked at
      const rests = suggestion.calibrated ? ` \u00b7 ${names ? "from " : "calibrated: "}${suggestion.calibrated}` : "";
      const kicker = suggestion.stale ? "Suggested, from an older support set" : "Suggested";
      const asked = suggestion.prompt_title && suggestion.reasoning === "answered" ? ` \u00b7 prompt ${suggestion.prompt_title}` : "";
      const line = (encoder) => `${model}${asked} \u00b7 ${encoder}${rests}`;
      const inFull = `${suggestion.reasoner} \u00b7 ${line(suggestion.encoder)}${suggestion.prompt ? ` \u00b7 prompt ${suggestion.prompt}` : ""}`;
      return [kicker, flag.name, line(suggestion.encoder_name ?? suggestion.encoder), inFull];
    }
    if (state === "shown" && suggestion.flag !== null)
      return ["No suggestion", "The suggested class is gone", "It was archived since. The class keys work."];
    if (state === "shown") return ["No suggestion", reason ? "The reasoner gave no answer" : "The reasoner abstained", reason || "Decide by the scores and the image."];
    if (state === "withheld")
      return ["Suggestion withheld", "Decide for yourself", reason || "A share of images comes without, so that its sway on people can be measured."];
    if (state === "pending") return ["Suggestion pending", "Not computed yet", reason || "The class keys work already."];
    if (state === "failed") return ["Suggestion failed", "Label without it", reason || "The class keys work."];
    return ["No suggestion", "Label by eye", reason || "The class keys work already."];
  }

  // Who suggests.
  #model(suggestion, second) {
    if (second) return `by the scores \u00b7 ${reasonerName(second)} ${second.flag === null ? "cannot tell" : "disagrees"}`;
    if (suggestion.reasoning === "pending") return `by the scores \u00b7 ${reasonerName(suggestion)} still looking`;
    if (suggestion.reasoning === "failed") return `by the scores \u00b7 no answer of ${reasonerName(suggestion)}`;
    if (suggestion.reasoner?.startsWith("evidence")) return `by evidence \u00b7 ${NO_VLM}`;
    const { flag, reasoner_probabilities: own } = suggestion;
    const sure = own?.[flag] === undefined ? "" : ` ${own[flag].toFixed(2)}`; // the number beside the class is the score
    const other = this.classes.get(this.#highest(new Map(suggestion.scores.map((s) => [s.class_id, s.probability]))));
    return `by ${reasonerName(suggestion)}${sure}${other && other.id !== flag ? ` \u00b7 the scores say ${other.name}` : ""}`;
  }

  light(number) {
    for (const node of this.root.querySelectorAll(".rv-card, .rv-explanation .rv-chip")) {
      node.classList.toggle("rv-lit", node.dataset.number === String(number));
    }
  }

  showProgress(progress, pace) {
    if (!progress) return;
    const done = progress.labelled + (progress.unsure ?? 0);
    const share = progress.total ? clamp((done + 0) / progress.total, 0, 1) : 0;
    this.part("progress-fill").style.transform = `scaleX(${share})`;
    const bar = this.part("progress");
    bar.setAttribute("aria-valuenow", String(done));
    bar.setAttribute("aria-valuemax", String(progress.total));
    this.text("counts", `${progress.labelled.toLocaleString("en")} labelled`);
    this.text("left", `${Math.max(0, progress.left).toLocaleString("en")} left`);
    const extra = [];
    if (progress.unsure) extra.push(`${progress.unsure} unsure`);
    if (progress.skipped) extra.push(`${progress.skipped} skipped`);
    this.text("extra", extra.join(" \u00b7 "));
    this.text("pace", pace === null ? "" : `${pace} a minute`);
  }

  showSaved({ unsent, rejected, away, signIn, volatile: lost }) {
    const node = this.part("saved");
    let state = "saved";
    let words = "All saved";
    if (rejected) {
      state = "rejected";
      words = `${rejected} refused by the server`;
    } else if (unsent && away) {
      state = "away";
      words = `${unsent} unsent \u2013 ${signIn ? "sign in again" : "server away, retrying"}`;
    } else if (unsent) {
      state = "sending";
      words = `${unsent} unsent, sending`;
    }
    if (lost && unsent) words += " \u00b7 keep this tab open";
    node.dataset.saved = state;
    this.text("saved-text", words);
    node.title = away && unsent ? `${away} The decisions wait in this browser and are sent in order.` : words;
  }

  showRun(run) {
    const words = runWords(run);
    this.text("run", words || (run?.state === "failed" ? "suggestions failed" : "")).title = run?.sentence ?? "";
  }
}

// What the worker counts, as the sidebar has it: suggestions, then the answers of a slow reasoner.
function runWords(run) {
  if (!run || !["loading", "computing"].includes(run.state)) return "";
  if (run.state === "loading" || !run.total) return "loading the encoder";
  const of = (count) => `${count.toLocaleString("en")} of ${run.total.toLocaleString("en")}`;
  if (run.done >= run.total && typeof run.reasoned === "number") return `answers ${of(run.reasoned)}`;
  const left = run.seconds_left ? ` \u00b7 ${plural(Math.ceil(run.seconds_left), "second")}` : "";
  return `suggestions ${of(run.done)}${left}`;
}
