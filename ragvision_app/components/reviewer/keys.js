// Keys to actions. No modifiers; R and C belong to Streamlit; typing in a field is never a key of ours.

export const RESERVED = "asuznhedbrc?";
const CLASS_KEY = /^(?![rcp])[a-z0-9]$/; // what could be the key of a class
const ACTIONS = { a: "accept", s: "skip", u: "unsure", z: "undo", n: "note", h: "heatmap", e: "evidence", b: "bulk", d: "details", "?": "help" };

export function isTyping(target) {
  if (!(target instanceof Element)) return false;
  if (target.isContentEditable || target.closest("textarea, select, [role=textbox], [role=combobox]")) return true;
  const input = target.closest("input");
  return Boolean(input) && !["range", "checkbox", "radio", "button", "submit"].includes(input.type);
}

// Enter and Space belong to a link or button that has the focus, ours (reached by Tab) or Streamlit's.
function focusedControl(target) {
  return target instanceof Element ? target.closest("button, a[href], summary, [role=button], [role=tab], [role=option], [role=menuitem]") : null;
}

export function isOwnButton(target, root) {
  return target instanceof Element && root.contains(target.closest("button"));
}

// What a keydown means: {action, classId?, control?} or null when it is none of ours.
export function meaningOf(event, root, classByKey) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return null;
  const target = event.composedPath?.()[0] ?? event.target;
  if (isTyping(target)) return null;
  if (event.key === "Escape") return { action: "escape" };
  if (event.key === "Enter" || event.key === " ") {
    const control = focusedControl(target);
    if (control && !root.contains(control)) return null;
    return control ? { action: "control", control } : { action: "accept", enter: true };
  }
  const key = event.key.toLowerCase();
  if (ACTIONS[key]) return { action: ACTIONS[key] };
  if (classByKey.has(key)) return { action: "class", classId: classByKey.get(key) };
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1]; // layouts whose digits need Shift
  if (classByKey.has(digit)) return { action: "class", classId: classByKey.get(digit) };
  return CLASS_KEY.test(key) ? { action: "unassigned", key } : null;
}
