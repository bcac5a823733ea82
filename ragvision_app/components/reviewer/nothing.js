// Why no image is on screen, and what to do next: one honest state each.
import { plural } from "./dom.js";

// {state, title, text, actions: [[label, page or function]]}; no title while the first items are on their way.
export function whyNothing({ annotator, queue, outbox, run, tally, classes, problem }, tryNow, undo) {
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
  const { left, skipped = 0 } = progress;
  if (left + skipped > 0) {
    const waiting = outbox.unsent.some((decision) => decision.kind === "skip");
    if (waiting && !left) return { state: "loading", title: "", text: "", actions: [] }; // it comes again once it is stored
    const who = `${plural(left + skipped, "image")} ${left + skipped === 1 ? "is" : "are"} reserved for other annotators`;
    const mine = skipped ? ` (${skipped === left + skipped ? "skipped by you before" : `${skipped} skipped by you before`})` : "";
    const at = queue.freeAt ? ` If nobody works on ${left + skipped === 1 ? "it" : "them"}, the first is free at ${clock(queue.freeAt)} at the latest.` : "";
    return {
      state: "taken",
      title: "Nothing free for you right now",
      text: `${who}${mine}. ${left + skipped === 1 ? "It appears" : "They appear"} here as soon as ${left + skipped === 1 ? "it is" : "they are"} free.${at}`,
      actions: [],
    };
  }
  const unsure = progress.unsure ? ` ${progress.unsure.toLocaleString("en")} marked unsure.` : "";
  return {
    state: "empty",
    title: "All done",
    text: `Every image has a decision: ${progress.labelled.toLocaleString("en")} labelled.${unsure}`,
    actions: [
      ...(progress.unsure ? [["Look at my unsure ones", `label?order=unsure&annotator=${encodeURIComponent(annotator)}`]] : []),
      ["Export the labels", "export"],
      ["Import more images", "images"],
      ["Undo (Z)", undo],
    ],
  };
}

function clock(time) {
  return new Date(time).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
}
