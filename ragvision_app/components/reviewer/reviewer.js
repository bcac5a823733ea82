// The component. Streamlit calls it on every rerun; it mounts once, and the session outlives the page.
import { Session } from "./session.js";
import { View } from "./view.js";

const sessions = new Map(); // project + annotator -> Session
const views = new WeakMap(); // root element -> View

function mount(parentElement, data) {
  const root = parentElement.querySelector(".rv-reviewer");
  const key = JSON.stringify([data.api_base, data.project, data.annotator, data.order]);
  let view = views.get(root);
  if (view?.key === key) return view;
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
