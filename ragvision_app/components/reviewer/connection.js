// Streamlit covers the page with "Connection error" when the server is away. Here the work goes on with
// what is loaded, and the counter of unsent decisions says what is the matter: so that dialog is closed.

const DIALOG = "[data-testid=stDialog]";
const TITLE = /^\s*Connection error/;

export class ConnectionDialog {
  constructor(root) {
    this.root = root;
    this.watch = new MutationObserver(() => this.#close());
    this.watch.observe(document.body, { childList: true });
    this.#close();
  }

  stop() {
    this.watch.disconnect();
  }

  // Runs before the next paint: it is never seen.
  #close() {
    for (const dialog of document.querySelectorAll(DIALOG)) {
      if (!TITLE.test(dialog.textContent.replace(/^\s*close/i, ""))) continue;
      dialog.style.visibility = "hidden";
      dialog.querySelector("button")?.click();
      this.root.dataset.quieted = String(Number(this.root.dataset.quieted ?? 0) + 1);
    }
  }
}
