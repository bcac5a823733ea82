// Why no image is on screen, and what to do next: one honest state each.
import { plural } from "./dom.js";

// {state, title, text, actions: [[label, page or function]]}; no title while the first items are on their way.
export function whyNothing({ queue, outbox, run, tally, classes, problem }, tryNow, undo) {
  const { progress } = tally;
  const unsent = outbox.entries.length;
  if (queue.refused) return { state: "refused", title: "The server gives no images", text: queue.away, actions: [] };
  if (queue.away || (problem && !classes.length)) {
    const safe = unsent ? ` ${plural(unsent, "unsent decision")} ${unsent === 1 ? "is" : "are"} kept in this browser and will be sent.` : "";
    return {
      state: "away",
      title: "The server does not answer",
      text: `Every image that was loaded ahead is done.${safe} Labelling goes on by itself when the server is back.`,
      actions: [["Try now", tryNow]],
    };
  }
  if (!queue.answered || !queue.exhausted) return { state: "loading", title: "", text: "", actions: [] };
  if (!classes.length)
    return {
      state: "no-classes",
      title: "No classes yet",
      text: "Add the classes and about ten example images of each; then every image here comes with a suggestion.",
      actions: [["Go to Support", "support"]],
    };
  if (!progress?.total)
    return {
      state: "no-images",
      title: "No images to label yet",
      text: run?.sentence || "Import a folder, a zip file or single images first.",
      actions: [["Go to Images", "images"]],
    };
  if (queue.order === "unsure")
    return {
      state: "empty",
      title: "Nothing left that you marked unsure",
      text: "Images that you put aside with U wait here until you decide them. Choose another queue in the sidebar to go on.",
      actions: [],
    };
  if (progress.left > 0)
    return {
      state: "taken",
      title: "Nothing free for you right now",
      text: `${plural(progress.left, "image")} ${progress.left === 1 ? "is" : "are"} reserved for other annotators. They appear here as soon as they are free.`,
      actions: [],
    };
  const unsure = progress.unsure ? ` ${progress.unsure} marked unsure wait for review.` : "";
  return {
    state: "empty",
    title: "All done",
    text: `Every image has a decision: ${progress.labelled.toLocaleString("en")} labelled.${unsure}`,
    actions: [
      ["Export the labels", "export"],
      ["Import more images", "images"],
      ["Undo (Z)", undo],
    ],
  };
}
