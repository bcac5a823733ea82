// The component. Streamlit calls it on every rerun; it mounts once, and the session outlives the page.
import { Session } from "./session.js";
import { View } from "./view.js";

const sessions = new Map(); // project + annotator -> Session
let seated = null; // the key of the session that holds images
const views = new WeakMap(); // root element -> View

function mount(parentElement, data) {
  const root = parentElement.querySelector(".rv-reviewer");
  const key = JSON.stringify([data.api_base, data.project, data.annotator, data.order]);
  let view = views.get(root);
  if (view?.key === key) return view;
  view?.destroy();
  const before = sessions.get(seated);
  if (!sessions.has(key)) sessions.set(key, new Session(data));
  const session = sessions.get(key);
  if (before && before !== session) session.first = before.leave(); // another name or order: its images are free
  seated = key;
  view = new View(root, session);
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
