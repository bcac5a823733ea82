// What an annotator wants to see, kept by the browser.

const STORED = "rv-view";
const DEFAULTS = { heatmap: true, evidence: true, opacity: 45 };

export class Preferences {
  constructor(root) {
    this.root = root;
    this.values = { ...DEFAULTS, ...this.#read() };
    this.#apply();
  }

  toggle(name) {
    this.set({ [name]: !this.values[name] });
  }

  set(values) {
    this.values = { ...this.values, ...values };
    this.#apply();
    try {
      localStorage.setItem(STORED, JSON.stringify(this.values));
    } catch (error) {
      console.info("The choice lasts for this page only:", error.message); // storage full or switched off
    }
  }

  #read() {
    try {
      return JSON.parse(localStorage.getItem(STORED) ?? "{}");
    } catch {
      return {}; // switched off or not ours: the defaults
    }
  }

  #apply() {
    const { heatmap, evidence, opacity } = this.values;
    this.root.classList.toggle("rv-no-heat", !heatmap);
    this.root.classList.toggle("rv-no-evidence", !evidence);
    this.root.style.setProperty("--rv-heat", String(opacity / 100));
    this.root.querySelector("[data-part=opacity]").value = String(opacity);
    for (const name of ["heatmap", "evidence"]) {
      this.root.querySelector(`[data-action=${name}]`).setAttribute("aria-pressed", String(this.values[name]));
    }
  }
}
