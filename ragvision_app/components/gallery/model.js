// What the board shows: the server's last word, with every unconfirmed action applied on top, so
// that a drag is on screen at once and never jumps back while the server is still working.

function modelFrom(data, unconfirmed) {
  const classes = data.classes.map((c) => ({ ...c }));
  const images = data.images.map((i) => ({ ...i }));
  const model = { classes, images, archived: data.archived ?? [] };
  for (const action of unconfirmed) applyAction(model, action);
  return model;
}

function applyAction(model, action) {
  const byId = new Map(model.classes.map((c) => [c.id, c]));
  if (action.kind === "move" && byId.has(action.class_id)) {
    const chosen = new Set(action.images);
    const moved = model.images.filter((i) => chosen.has(i.image) && i.class_id !== action.class_id);
    model.images = model.images.filter((i) => !moved.includes(i));
    for (const image of moved) model.images.push({ ...image, class_id: action.class_id });
  } else if (action.kind === "remove") {
    const chosen = new Set(action.images);
    model.images = model.images.filter((i) => !chosen.has(i.image));
  } else if (action.kind === "update_class" && byId.has(action.class_id)) {
    const { name, key, colour, description } = action;
    Object.assign(byId.get(action.class_id), { name, key, colour, description });
  } else if (action.kind === "reorder") {
    model.classes.sort((a, b) => action.ids.indexOf(a.id) - action.ids.indexOf(b.id));
  } else if (action.kind === "archive") {
    model.classes = model.classes.filter((c) => c.id !== action.class_id);
  }
}
