// The details panel below is Streamlit's: asked for by one event, drawn a moment later, never waited for.

const PANEL = ".st-key-rv_details";
const PATIENCE_MS = 5000;

// Brings the panel into view once it is drawn; the annotator's next key or turn of the wheel ends that.
export function scrollToDetails() {
  const before = document.querySelector(PANEL)?.textContent;
  const grows = new ResizeObserver(([entry]) => entry.target.scrollIntoView({ behavior: "smooth", block: "start" }));
  const watch = new MutationObserver(() => {
    const panel = document.querySelector(PANEL);
    if (!panel || panel.textContent === before) return;
    watch.disconnect();
    grows.observe(panel); // the charts come one by one
  });
  watch.observe(document.body, { childList: true, subtree: true });
  const stop = () => {
    watch.disconnect();
    grows.disconnect();
  };
  setTimeout(stop, PATIENCE_MS);
  window.addEventListener("wheel", stop, { once: true, passive: true });
  document.addEventListener("keydown", stop, { once: true, capture: true });
}
