// The way from the browser to the server: one batch in flight, the next only after the server has
// named the batch as applied. Streamlit keeps only the last of several triggers that come close
// together, so sending each action at once would lose some of them.

const BATCH_BYTES = 3 * 1024 * 1024; // of file data in one message
const BATCH_ACTIONS = 200;
const RESEND_AFTER_MS = 20000; // the server knows a batch by its id: sending it twice changes nothing
const GIVE_UP_AFTER = 4;

function newId() {
  if (globalThis.crypto?.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16)); // plain http on another host has no randomUUID
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

function toBase64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).slice(String(reader.result).indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

async function read(part) {
  try {
    part.data = await toBase64(part.blob);
  } catch {
    part.error = "the browser could not read it"; // moved or deleted since it was chosen
  }
}

// A file as the list of slices that are still to be read; each becomes one action of kind "part".
function slices(file, id, classId, drop) {
  const count = Math.max(1, Math.ceil(file.size / BATCH_BYTES));
  return Array.from({ length: count }, (_, index) => ({
    kind: "part", upload: id, drop, name: file.name, class_id: classId, index, last: index === count - 1,
    blob: file.slice(index * BATCH_BYTES, (index + 1) * BATCH_BYTES),
  }));
}

function createChannel(changed) {
  const channel = {
    send: null, waiting: [], packing: null, inFlight: null, tries: 0, timer: 0, lost: false,

    push(...actions) {
      channel.waiting.push(...actions);
      channel.pump();
    },

    // Every action that the server has not confirmed, oldest first.
    unconfirmed() {
      return [...(channel.inFlight?.actions ?? []), ...(channel.packing ?? []), ...channel.waiting];
    },

    async pump() {
      if (channel.inFlight || channel.packing || !channel.waiting.length || !channel.send) return;
      const batch = { id: newId(), actions: [] };
      channel.packing = batch.actions;
      let bytes = 0;
      while (channel.waiting.length && batch.actions.length < BATCH_ACTIONS) {
        const action = channel.waiting[0];
        bytes += action.blob?.size ?? 0;
        if (batch.actions.length && bytes > BATCH_BYTES) break;
        channel.waiting.shift();
        batch.actions.push(action);
        if (action.blob) await read(action);
      }
      channel.packing = null;
      channel.inFlight = batch;
      channel.tries = 0;
      channel.transmit();
    },

    transmit() {
      clearTimeout(channel.timer);
      channel.tries += 1;
      channel.lost = channel.tries > GIVE_UP_AFTER;
      if (channel.lost) return changed();
      channel.timer = setTimeout(channel.transmit, RESEND_AFTER_MS);
      const actions = channel.inFlight.actions.map(({ blob, ...rest }) => rest);
      channel.send({ id: channel.inFlight.id, actions });
    },

    retry() {
      channel.tries = 0;
      channel.lost = false;
      if (channel.inFlight) channel.transmit();
      else channel.pump();
    },

    confirm(batchId) {
      if (!channel.inFlight || channel.inFlight.id !== batchId) return false;
      clearTimeout(channel.timer);
      channel.inFlight = null;
      channel.lost = false;
      channel.pump();
      return true;
    },
  };
  return channel;
}
