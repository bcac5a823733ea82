// What can be undone, newest last: the server's list from before this page, then what was decided here.

const UNDOABLE = new Set(["accept", "correct", "skip", "unsure"]);

export class History {
  constructor() {
    this.entries = []; // {event_id, image, kind, class_id, group}
    this.undone = new Set();
  }

  // Decisions that a closed tab left in the outbox count as made, its undos as undone.
  restore(unsent) {
    for (const decision of unsent) this.record(decision);
  }

  record(decision) {
    if (decision.kind === "undo") {
      this.undone.add(decision.undoes);
      this.entries = this.entries.filter((entry) => entry.event_id !== decision.undoes);
    } else if (UNDOABLE.has(decision.kind)) {
      this.entries.push({
        event_id: decision.id,
        image: decision.image,
        kind: decision.kind,
        class_id: decision.class_id,
        group: decision.group ?? null,
      });
    }
  }

  // The server did not take it; true when it was there.
  forget(eventId) {
    const before = this.entries.length;
    this.entries = this.entries.filter((entry) => entry.event_id !== eventId);
    return this.entries.length < before;
  }

  // `undoable` is the server's, newest first; what is known here already keeps its place.
  merge(undoable) {
    const known = new Set(this.entries.map((entry) => entry.event_id));
    const older = undoable.filter((row) => !known.has(row.event_id) && !this.undone.has(row.event_id)).reverse();
    this.entries = [...older, ...this.entries];
  }

  // The newest decision, with everything that was decided by the same key press.
  last() {
    const newest = this.entries.at(-1);
    if (!newest) return [];
    if (!newest.group) return [newest];
    return this.entries.filter((entry) => entry.group === newest.group);
  }
}
