// The details panel below is Streamlit's: asked for by one event, drawn a moment later, never waited for.

const PANEL = ".st-key-rv_details";
const PATIENCE_MS = 5000;
const MARGIN = 16;
const IMAGE_KEPT = 0.45; // share of the image's height that stays in the window

// Brings the panel's top into view once it is drawn, and leaves enough of the image there for the keys to
// count; the annotator's next key or turn of the wheel ends that.
export function scrollToDetails(stage) {
  const before = document.querySelector(PANEL)?.textContent;
  const main = stage.closest("[data-testid=stMain]") ?? document.scrollingElement;
  const grows = new ResizeObserver(([entry]) => {
    const image = stage.getBoundingClientRect();
    const wanted = entry.target.getBoundingClientRect().top - MARGIN;
    main.scrollBy({ top: Math.min(wanted, image.bottom - IMAGE_KEPT * image.height), behavior: "smooth" });
  });
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
