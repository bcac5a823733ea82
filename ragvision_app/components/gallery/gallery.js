// The board: one section a class, drag between them, and a button or a key for everything that a
// drag can do. Strings from people go into the page by textContent only.

const BOARDS = new Map(); // project → board, so that an upload goes on when the page is left and opened again

function el(tag, className, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "text") node.textContent = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;
}

// Puts `wanted` into `parent` in order, touching only what differs: no image is loaded twice.
function arrange(parent, wanted) {
  const keep = new Set(wanted);
  for (const child of [...parent.children]) if (!keep.has(child)) child.remove();
  wanted.forEach((node, index) => {
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] ?? null);
  });
}

function createBoard() {
  const board = {
    data: null, model: null, selected: new Set(), anchor: null, tiles: new Map(), sections: new Map(),
    previews: new Map(), editing: null, saving: null, adding: null, said: null, dragged: null, dismissed: new Set(),
  };
  board.channel = createChannel(() => render(board));
  board.root = el("div", "rv-gallery", { "data-ready": "false" });
  buildFrame(board);
  board.root.addEventListener("keydown", (event) => onKey(board, event));
  board.root.addEventListener("focusin", (event) => {
    const tile = event.target.closest?.(".rvg-tile[data-image]");
    if (tile) onlyTabStop(tile);
  });
  window.addEventListener("beforeunload", (event) => {
    if (board.channel.unconfirmed().length) event.preventDefault(); // the browser asks before it drops them
  });
  return board;
}

function buildFrame(board) {
  board.summary = el("div", "rvg-summary", { role: "status" });
  board.newName = el("input", "rvg-input", {
    "aria-label": "New class name", placeholder: "New class name", autocomplete: "off", // the store says how long it may be
    oninput: () => board.said && say(board, null),
  });
  board.addForm = el("form", "rvg-add", {
    onsubmit: (event) => {
      event.preventDefault();
      const name = board.newName.value.trim();
      if (!name) {
        say(board, "Type a name for the new class first.");
        return board.newName.focus();
      }
      board.said = null;
      board.newName.value = "";
      board.adding = name;
      board.channel.push({ kind: "add_class", name });
    },
  }, board.newName, el("button", "rvg-button rvg-primary", { type: "submit", text: "Add class" }));
  board.message = el("div", "rvg-message", { role: "status", hidden: true });
  board.selection = el("div", "rvg-selection", { role: "toolbar", "aria-label": "Selected images", hidden: true });
  board.list = el("div", "rvg-classes");
  board.empty = el("div", "rvg-empty", { hidden: true });
  board.archived = el("details", "rvg-archived", { hidden: true });
  board.zoom = el("dialog", "rvg-zoom", { "aria-label": "Image" });
  board.picker = el("input", "", {
    type: "file", multiple: true, hidden: true, accept: ".jpg,.jpeg,.png,.webp,.bmp", "aria-label": "Choose images",
    onchange: () => {
      upload(board, board.pickerClass, [...board.picker.files]);
      board.picker.value = "";
    },
  });
  board.root.append(
    el("div", "rvg-bar", {}, board.summary, board.addForm), board.message, board.empty, board.list,
    board.archived, board.selection, board.zoom, board.picker,
  );
  board.zoom.addEventListener("click", () => board.zoom.close());
}

// --------------------------------------------------------------------------- actions
function move(board, images, classId) {
  const chosen = new Set(images);
  const moving = board.model.images.filter((i) => chosen.has(i.image) && i.class_id !== classId).map((i) => i.image);
  board.selected.clear();
  if (moving.length) board.channel.push({ kind: "move", images: moving, class_id: classId });
  render(board);
}

function remove(board, images) {
  board.selected.clear();
  if (images.length) board.channel.push({ kind: "remove", images });
  render(board);
}

function upload(board, classId, files) {
  const drop = newId();
  for (const file of files) {
    const id = newId();
    board.previews.set(id, { classId, url: URL.createObjectURL(file), name: file.name });
    board.channel.push(...slices(file, id, classId, drop));
  }
  render(board);
}

function shiftClass(board, classId, by) {
  const ids = board.model.classes.map((c) => c.id);
  const from = ids.indexOf(classId);
  const to = from + by;
  if (to < 0 || to >= ids.length) return;
  ids.splice(to, 0, ...ids.splice(from, 1));
  board.channel.push({ kind: "reorder", ids });
  render(board);
}

// --------------------------------------------------------------------------- drawing
function render(board) {
  const unconfirmed = board.channel.unconfirmed();
  board.model = modelFrom(board.data, unconfirmed);
  forgetPreviews(board, unconfirmed);
  const known = new Set(board.model.images.map((i) => i.image));
  for (const image of board.selected) if (!known.has(image)) board.selected.delete(image);

  const uploading = board.previews.size;
  const counts = `${plural(board.model.classes.length, "class")}, ${plural(board.model.images.length, "image")}`;
  board.summary.textContent = uploading ? `${counts}; ${plural(uploading, "image")} on the way` : counts;
  board.root.dataset.unconfirmed = String(unconfirmed.length);
  board.root.dataset.classes = String(board.model.classes.length);

  const perClass = new Map(board.model.classes.map((c) => [c.id, []]));
  for (const image of board.model.images) perClass.get(image.class_id)?.push(image);
  arrange(board.list, board.model.classes.map((c) => drawSection(board, c, perClass.get(c.id))));
  drawEmpty(board);
  drawSelection(board);
  drawMessage(board);
  drawArchived(board);
  for (const image of board.tiles.keys()) if (!known.has(image)) board.tiles.delete(image);
}

// A preview goes when no part of its file is unconfirmed any more.
function forgetPreviews(board, unconfirmed) {
  const open = new Set(unconfirmed.filter((a) => a.kind === "part").map((a) => a.upload));
  for (const [id, preview] of board.previews) {
    if (open.has(id)) continue;
    URL.revokeObjectURL(preview.url);
    preview.node?.remove();
    board.previews.delete(id);
  }
}

function drawSection(board, cls, images) {
  let section = board.sections.get(cls.id);
  if (!section) {
    section = createSection(board, cls.id);
    board.sections.set(cls.id, section);
  }
  section.cls = cls;
  const { node, title, key, count, edit, tiles, hint, form } = section;
  node.style.setProperty("--rvg-class", cls.colour);
  node.setAttribute("aria-label", `Class ${cls.name}`);
  node.dataset.className = cls.name;
  title.textContent = cls.name;
  title.title = cls.description ? `${cls.name}\n${cls.description}` : cls.name;
  key.textContent = cls.key ?? "";
  key.hidden = !cls.key;
  key.title = `Key ${cls.key} on the Label page`;
  count.textContent = String(images.length);
  count.title = plural(images.length, "image");
  section.add.setAttribute("aria-label", `Add images to ${cls.name}`);
  edit.setAttribute("aria-label", `Edit ${cls.name}`);
  edit.setAttribute("aria-expanded", String(board.editing === cls.id));
  const coming = [...board.previews.values()].filter((p) => p.classId === cls.id).map((p) => drawPreview(p));
  arrange(tiles, [...images.map((i) => drawTile(board, i)), ...coming]);
  if (tiles.firstElementChild && !tiles.querySelector('[tabindex="0"]')) onlyTabStop(tiles.firstElementChild);
  hint.hidden = images.length + coming.length > 0;
  tiles.hidden = !hint.hidden;
  if (board.editing === cls.id && !form.childElementCount) drawForm(board, section);
  if (board.editing !== cls.id) form.replaceChildren();
  return node;
}

function createSection(board, classId) {
  const section = { classId };
  const choose = () => {
    board.pickerClass = classId;
    board.picker.click();
  };
  section.title = el("h3", "rvg-name");
  section.key = el("kbd", "rvg-key");
  section.count = el("span", "rvg-count");
  section.add = el("button", "rvg-button", { type: "button", text: "Add images", onclick: choose });
  section.edit = el("button", "rvg-button", {
    type: "button", text: "Edit",
    onclick: () => {
      board.editing = board.editing === classId ? null : classId;
      render(board);
    },
  });
  section.form = el("div", "rvg-form");
  section.tiles = el("div", "rvg-tiles", { role: "group" });
  section.hint = el("button", "rvg-drop", {
    type: "button", onclick: choose,
    text: "Drop images here, or choose files. About ten typical examples are a good start.",
  });
  section.node = el("section", "rvg-class", { "data-class-id": classId },
    el("header", "rvg-head", {}, el("span", "rvg-swatch", { "aria-hidden": "true" }), section.title, section.key,
      section.count, section.add, section.edit),
    section.form, section.tiles, section.hint);
  acceptDrops(board, section);
  return section;
}

function drawTile(board, item) {
  let tile = board.tiles.get(item.image);
  if (!tile) {
    const picture = el("img", "", { loading: "lazy", decoding: "async", draggable: "false", alt: "" });
    picture.addEventListener("error", () => tile.classList.add("rvg-broken"));
    picture.src = `${board.data.api_base}/images/${item.image}/small`;
    tile = el("button", "rvg-tile", {
      type: "button", tabindex: "-1", draggable: "true", "data-image": item.image, title: item.name,
      onclick: (event) => select(board, item.image, event),
      ondblclick: () => openZoom(board, item.image),
      ondragstart: (event) => startDrag(board, item.image, event),
      ondragend: () => endDrag(board),
    }, picture, el("span", "rvg-tile-name", { text: item.name }));
    board.tiles.set(item.image, tile);
  }
  const selected = board.selected.has(item.image);
  tile.setAttribute("aria-pressed", String(selected));
  tile.setAttribute("aria-label", `${item.name}${item.note ? `, ${item.note}` : ""}`);
  tile.dataset.origin = item.origin ?? "";
  return tile;
}

function drawPreview(preview) {
  if (preview.node) return preview.node;
  const picture = el("img", "", { alt: "", onerror: () => preview.node.classList.add("rvg-broken") });
  preview.node = el("div", "rvg-tile rvg-coming", { title: `${preview.name}: on the way` },
    picture, el("span", "rvg-tile-name", { text: preview.name }));
  picture.src = preview.url;
  return preview.node;
}

function drawEmpty(board) {
  const none = board.model.classes.length === 0;
  board.empty.hidden = !none;
  if (none && !board.empty.childElementCount) {
    board.empty.append(
      el("h3", "", { text: "Start with two classes" }),
      el("ol", "", {},
        el("li", "", { text: "Name the first class above, for example “functional”, and add a second one." }),
        el("li", "", { text: "Drop about ten typical images on each. They are the examples that every suggestion is compared with." }),
        el("li", "", { text: "Import the images to be labelled on the Images page; suggestions appear by themselves." })),
    );
  }
}

// A sentence of the page itself, in the place of the last action's; null takes it away.
function say(board, sentence) {
  board.said = sentence;
  render(board);
}

function drawMessage(board) {
  const { channel, message, data } = board;
  const lost = channel.lost;
  const said = board.said ? [{ id: `said ${board.said}`, level: "error", text: board.said }] : null;
  const notices = said ?? (data.notices ?? []).filter((n) => !board.dismissed.has(n.id));
  message.hidden = !lost && !notices.length;
  const signature = lost ? "lost" : notices.map((n) => n.id).join(" ");
  if (message.dataset.signature === signature) return;
  message.dataset.signature = signature;
  message.replaceChildren();
  if (lost) {
    message.dataset.level = "error";
    message.append(el("span", "", { text: "The server has not confirmed the last change. It is kept here." }),
      el("button", "rvg-button", { type: "button", text: "Try again", onclick: () => { channel.retry(); render(board); } }));
    return;
  }
  const worst = notices.some((n) => n.level === "error") ? "error" : "info";
  message.dataset.level = worst;
  const lines = el("div", "rvg-lines", { tabindex: notices.length > 6 ? "0" : null }); // it scrolls, by keys too
  for (const notice of notices) lines.append(el("div", "", { text: notice.text }));
  message.append(lines);
  const undo = notices.find((n) => n.undo);
  if (undo) {
    message.append(el("button", "rvg-button", {
      type: "button", text: "Undo", onclick: () => { board.dismissed.add(undo.id); channel.push(undo.undo); render(board); },
    }));
  }
  message.append(el("button", "rvg-button rvg-quiet", {
    type: "button", text: "Dismiss", onclick: () => { board.said = null; notices.forEach((n) => board.dismissed.add(n.id)); render(board); },
  }));
}

function drawArchived(board) {
  const { archived } = board.model;
  board.archived.hidden = !archived.length;
  const rows = archived.map((cls) => el("div", "rvg-archived-row", {},
    el("span", "rvg-swatch", { style: `--rvg-class: ${cls.colour}`, "aria-hidden": "true" }),
    el("span", "rvg-name", { text: cls.name, title: cls.name }),
    el("button", "rvg-button", {
      type: "button", text: "Restore", "aria-label": `Restore ${cls.name}`,
      onclick: () => board.channel.push({ kind: "restore_class", class_id: cls.id }),
    })));
  board.archived.replaceChildren(el("summary", "", { text: `${plural(archived.length, "archived class")}` }), ...rows);
}

// --------------------------------------------------------------------------- mounting
export default function (component) {
  const { parentElement, data, setTriggerValue } = component;
  let board = BOARDS.get(data.board);
  if (!board) {
    board = createBoard();
    BOARDS.set(data.board, board);
  }
  board.data = data;
  board.channel.send = (batch) => setTriggerValue("actions", batch);
  if (board.root.parentElement !== parentElement) parentElement.append(board.root);
  const confirmed = board.channel.confirm(data.applied);
  render(board);
  if (confirmed) {
    board.said = null;
    settleForm(board);
    settleName(board);
    drawMessage(board);
  }
  board.root.dataset.ready = "true";
  board.channel.pump();
}
