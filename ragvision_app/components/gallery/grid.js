// Thumbnails to look at: loaded as they come into view, larger on click.
export default function ({ parentElement, data }) {
  let root = parentElement.querySelector(":scope > .rv-grid");
  if (!root) {
    root = document.createElement("div");
    root.className = "rv-grid";
    parentElement.append(root);
  }
  const signature = JSON.stringify(data.images);
  if (root.dataset.signature === signature) return;
  root.dataset.signature = signature;

  const zoom = document.createElement("dialog");
  zoom.className = "rv-grid-zoom";
  zoom.addEventListener("click", () => zoom.close());
  const tiles = data.images.map((item) => {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.title = item.note ? `${item.name}\n${item.note}` : item.name;
    tile.dataset.image = item.image;
    const picture = new Image();
    picture.loading = "lazy";
    picture.decoding = "async";
    picture.alt = "";
    picture.src = `${data.api_base}/images/${item.image}/small`;
    const name = document.createElement("span");
    name.textContent = item.name;
    const note = document.createElement("span");
    note.className = "rv-grid-note";
    note.textContent = item.note;
    if (item.colour) tile.style.setProperty("--rv-class", item.colour);
    tile.append(picture, name, note);
    tile.addEventListener("click", () => {
      const large = new Image();
      large.alt = item.name;
      large.src = `${data.api_base}/images/${item.image}/preview`;
      const line = document.createElement("div");
      line.textContent = item.note ? `${item.name} · ${item.note}` : item.name;
      const close = document.createElement("button");
      close.type = "button";
      close.textContent = "Close";
      line.append(close);
      zoom.replaceChildren(large, line);
      zoom.showModal();
      close.focus();
    });
    return tile;
  });
  root.replaceChildren(...tiles, zoom);
}
