// Small helpers. Every string that comes from data goes in as textContent, never as markup.

export function make(tag, className = "", text = null) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== null) node.textContent = text;
  if (tag === "button") node.type = "button";
  return node;
}

export function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}

export function clamp(value, low, high) {
  return Math.min(high, Math.max(low, value));
}

export function signed(value, digits = 3) {
  const text = Math.abs(value).toFixed(digits);
  return `${value < 0 ? "\u2212" : "+"}${text}`;
}

// crypto.randomUUID exists only in secure contexts; a lab's server is often plain http.
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

// The class colour is data too: only a plain hex colour gets into a style.
export function safeColour(colour) {
  return /^#[0-9a-fA-F]{3,8}$/.test(colour ?? "") ? colour : "#888888";
}

export function parseJson(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
