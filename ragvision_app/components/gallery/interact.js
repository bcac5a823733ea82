// Selecting, dragging, dropping, keys, and the form of one class.

function select(board, image, event) {
  const order = [...board.list.querySelectorAll(".rvg-tile[data-image]")].map((t) => t.dataset.image);
  if (event.shiftKey && board.anchor && order.includes(board.anchor)) {
    const [from, to] = [order.indexOf(board.anchor), order.indexOf(image)].sort((a, b) => a - b);
    order.slice(from, to + 1).forEach((i) => board.selected.add(i));
  } else {
    if (board.selected.has(image)) board.selected.delete(image);
    else board.selected.add(image);
    board.anchor = image;
  }
  render(board);
}

function drawSelection(board) {
  const chosen = [...board.selected];
  board.selection.hidden = !chosen.length;
  board.root.dataset.selected = String(chosen.length);
  const signature = JSON.stringify([chosen, board.model.classes.map((c) => [c.id, c.key, c.name])]);
  if (board.selection.dataset.signature === signature) return; // an open list of classes stays open
  board.selection.dataset.signature = signature;
  if (!chosen.length) return board.selection.replaceChildren();
  const focused = board.selection.contains(document.activeElement) ? document.activeElement.dataset.part : null;
  const target = el("select", "rvg-input", { "aria-label": "Move to class", "data-part": "target" },
    el("option", "", { value: "", text: "Move to…" }),
    ...board.model.classes.map((c) => el("option", "", { value: c.id, text: c.key ? `${c.key}  ${c.name}` : c.name })));
  target.addEventListener("change", () => target.value && move(board, chosen, Number(target.value)));
  board.selection.replaceChildren(
    el("strong", "", { text: `${plural(chosen.length, "image")} selected` }), target,
    el("button", "rvg-button", { type: "button", "data-part": "remove", text: "Remove", onclick: () => remove(board, chosen) }),
    ...(chosen.length === 1
      ? [el("button", "rvg-button", { type: "button", "data-part": "look", text: "Look closer", onclick: () => openZoom(board, chosen[0]) })]
      : []),
    el("button", "rvg-button rvg-quiet", {
      type: "button", "data-part": "clear", text: "Clear", onclick: () => { board.selected.clear(); render(board); },
    }),
    el("span", "rvg-help", { text: "A class key moves, Delete removes, Esc clears" }),
  );
  if (focused) board.selection.querySelector(`[data-part="${focused}"]`)?.focus();
}

function onKey(board, event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const path = event.target;
  if (/^(INPUT|TEXTAREA|SELECT)$/.test(path.tagName)) {
    if (event.key === "Escape" && board.editing !== null) {
      board.editing = null;
      render(board);
    }
    event.stopPropagation();
    return;
  }
  const tile = path.closest?.(".rvg-tile[data-image]");
  const chosen = board.selected.size ? [...board.selected] : tile ? [tile.dataset.image] : [];
  const byKey = board.model.classes.find((c) => c.key && c.key.toLowerCase() === event.key.toLowerCase());
  if (event.key === "Escape") {
    if (board.zoom.open) return;
    board.selected.clear();
    board.editing = null;
    render(board);
  } else if (tile && event.key.startsWith("Arrow")) {
    focusNeighbour(board, tile, event.key);
  } else if (chosen.length && (event.key === "Delete" || event.key === "Backspace")) {
    const next = tile?.nextElementSibling ?? tile?.previousElementSibling;
    remove(board, chosen);
    next?.focus?.();
  } else if (chosen.length && byKey) {
    move(board, chosen, byKey.id);
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

// Tab goes from class to class, arrows go within one: nobody tabs through 500 images.
function onlyTabStop(tile) {
  for (const other of tile.parentElement.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  tile.tabIndex = 0;
}

function focusNeighbour(board, tile, key) {
  const tiles = [...board.list.querySelectorAll(".rvg-tile[data-image]")];
  const here = tile.getBoundingClientRect();
  const at = tiles.indexOf(tile);
  if (key === "ArrowRight") return tiles[at + 1]?.focus();
  if (key === "ArrowLeft") return tiles[at - 1]?.focus();
  const down = key === "ArrowDown";
  const rows = tiles.filter((t) => {
    const box = t.getBoundingClientRect();
    return Math.abs(box.left - here.left) < here.width / 2 && (down ? box.top > here.top + 4 : box.top < here.top - 4);
  });
  (down ? rows[0] : rows.at(-1))?.focus();
}

function openZoom(board, image) {
  const item = board.model.images.find((i) => i.image === image);
  if (!item) return;
  const cls = board.model.classes.find((c) => c.id === item.class_id);
  const close = el("button", "rvg-button", { type: "button", text: "Close" });
  board.zoom.replaceChildren(
    el("img", "", { src: `${board.data.api_base}/images/${image}/preview`, alt: item.name }),
    el("div", "rvg-zoom-line", {},
      el("span", "rvg-swatch", { style: `--rvg-class: ${cls?.colour ?? "gray"}`, "aria-hidden": "true" }),
      el("span", "rvg-name", { text: `${item.name} · ${cls?.name ?? ""}${item.note ? ` · ${item.note}` : ""}` }), close));
  board.zoom.showModal();
  close.focus();
}

// --------------------------------------------------------------------------- drag and drop
function startDrag(board, image, event) {
  board.dragged = board.selected.has(image) ? [...board.selected] : [image];
  event.dataTransfer.effectAllowed = "move";
  event.dataTransfer.setData("text/plain", board.dragged.join("\n"));
  for (const chosen of board.dragged) board.tiles.get(chosen)?.classList.add("rvg-dragged");
  board.root.classList.add("rvg-dragging");
}

function endDrag(board) {
  for (const chosen of board.dragged ?? []) board.tiles.get(chosen)?.classList.remove("rvg-dragged");
  board.dragged = null;
  board.root.classList.remove("rvg-dragging");
  for (const { node } of board.sections.values()) node.classList.remove("rvg-over");
}

function acceptDrops(board, section) {
  const { node, classId } = section;
  let depth = 0; // enter and leave also fire for every child
  const wanted = (event) => board.dragged || [...event.dataTransfer.types].includes("Files");
  node.addEventListener("dragenter", (event) => {
    if (!wanted(event)) return;
    event.preventDefault();
    depth += 1;
    node.classList.add("rvg-over");
  });
  node.addEventListener("dragover", (event) => {
    if (!wanted(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = board.dragged ? "move" : "copy";
  });
  node.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) node.classList.remove("rvg-over");
  });
  node.addEventListener("drop", (event) => {
    if (!wanted(event)) return;
    event.preventDefault();
    event.stopPropagation();
    depth = 0;
    node.classList.remove("rvg-over");
    if (board.dragged) move(board, board.dragged, classId);
    else upload(board, classId, [...event.dataTransfer.files]);
    endDrag(board);
  });
}

// --------------------------------------------------------------------------- the form of one class
function drawForm(board, section) {
  const { cls, classId } = section;
  const name = el("input", "rvg-input", { "aria-label": "Name", value: cls.name, autocomplete: "off" });
  const description = el("input", "rvg-input", {
    "aria-label": "Description", value: cls.description, maxlength: 1000, placeholder: "What belongs here (optional)",
  });
  const key = el("input", "rvg-input rvg-key-input", { "aria-label": "Key", value: cls.key ?? "", maxlength: 1, autocomplete: "off" });
  let colour = cls.colour;
  const swatches = el("div", "rvg-swatches", { role: "radiogroup", "aria-label": "Colour" });
  const other = el("input", "rvg-other", { type: "color", value: cls.colour, title: "Another colour", "aria-label": "Another colour" });
  const paint = (value) => {
    colour = value;
    for (const s of swatches.querySelectorAll("button")) s.setAttribute("aria-checked", String(s.dataset.colour === value));
  };
  for (const value of board.data.palette) {
    const owner = board.model.classes.find((c) => c.colour === value && c.id !== classId);
    const title = owner ? `${value}, the colour of ${owner.name}` : value;
    swatches.append(el("button", owner ? "rvg-pick rvg-taken" : "rvg-pick", {
      type: "button", role: "radio", "data-colour": value, style: `--rvg-class: ${value}`, "aria-label": `Colour ${title}`, title,
      onclick: () => paint(value),
    }));
  }
  other.addEventListener("input", () => paint(other.value));
  swatches.append(other);
  paint(colour);
  const close = () => { board.editing = null; render(board); section.edit.focus(); };
  const save = el("button", "rvg-button rvg-primary", { type: "submit", text: "Save" });
  const form = el("form", "rvg-fields", {
    onsubmit: (event) => {
      event.preventDefault();
      board.channel.push({
        kind: "update_class", class_id: classId, name: name.value.trim(), key: key.value.trim().toLowerCase() || null,
        colour, description: description.value.trim(),
      });
      board.saving = { save, close }; // it closes when the server took it, and stays with what was typed if not
      save.disabled = true;
      render(board);
    },
  },
  el("label", "rvg-field rvg-wide", {}, el("span", "", { text: "Name" }), name),
  el("label", "rvg-field", {}, el("span", "", { text: "Key" }), key),
  el("label", "rvg-field rvg-full", {}, el("span", "", { text: "Description" }), description),
  el("div", "rvg-field rvg-full", {}, el("span", "", { text: "Colour" }), swatches),
  el("div", "rvg-actions", {},
    save,
    el("button", "rvg-button", { type: "button", text: "Cancel", onclick: close }),
    el("button", "rvg-button", { type: "button", text: "Move up", onclick: () => shiftClass(board, classId, -1) }),
    el("button", "rvg-button", { type: "button", text: "Move down", onclick: () => shiftClass(board, classId, 1) }),
    el("button", "rvg-button rvg-quiet", {
      type: "button", text: "Archive", title: "Out of the way, kept with its labels; can be restored",
      onclick: () => { board.editing = null; board.channel.push({ kind: "archive", class_id: classId }); render(board); },
    })));
  board.saving = null;
  section.form.replaceChildren(form);
  name.focus();
  name.select();
}

// After the server's answer: a refused change leaves the form open, with what was typed.
function settleForm(board) {
  if (!board.saving || board.channel.unconfirmed().some((a) => a.kind === "update_class")) return;
  const { save, close } = board.saving;
  board.saving = null;
  save.disabled = false;
  if (!(board.data.notices ?? []).some((n) => n.level === "error")) close();
}

// A name that was refused is back in its field, to be mended.
function settleName(board) {
  if (board.adding === null || board.channel.unconfirmed().some((a) => a.kind === "add_class")) return;
  const refused = (board.data.notices ?? []).some((n) => n.level === "error");
  if (refused && !board.newName.value) board.newName.value = board.adding;
  board.adding = null;
}
