// What changes by itself: leases that run out, runs that get on, suggestions that arrive.
import { Refused } from "./api.js";

const EVERY_MS = 2000;
const AHEAD = 10; // items whose pending suggestion is asked for again
const AT_ONCE = 4;

export class Refresher {
  constructor(session) {
    this.session = session;
    this.ticks = 0;
    this.timer = null;
    this.busy = false;
  }

  start() {
    this.timer ??= setInterval(() => this.tick(), EVERY_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }

  async tick() {
    if (document.hidden || this.busy) return;
    const { session } = this;
    const { queue } = session;
    this.busy = true;
    this.ticks += 1;
    try {
      if (!session.classes.length || session.problem) await session.loadClasses();
      if (!queue.away && queue.dropExpired()) queue.wakeUp();
      const working = ["loading", "computing"].includes(session.run?.state);
      const seldom = this.ticks % 5 === 0;
      const lacking = this.#held().some((item) => ["none", "pending"].includes(item.suggestion.state));
      if (!session.current || queue.wanted !== null) await session.fill();
      else if (working ? this.ticks % 2 === 0 : lacking && seldom) await session.fill(true);
      await this.#refreshOld(working || seldom, this.ticks % 2 === 0);
    } finally {
      this.busy = false;
    }
    session.changed();
  }

  #held() {
    const { current, queue } = this.session;
    return [...(current ? [current] : []), ...queue.ahead];
  }

  // Suggestions that were not computed, or have been computed again, when the items were fetched.
  async #refreshOld(all, reasoned) {
    const version = this.session.run?.support_version;
    const old = ({ suggestion }) =>
      suggestion.state === "pending" ||
      (reasoned && suggestion.reasoning === "pending") ||
      (all && (suggestion.state === "none" || suggestion.stale || (version && suggestion.state === "shown" && suggestion.support_version !== version)));
    try {
      for (const item of this.#held().slice(0, AHEAD).filter(old).slice(0, AT_ONCE)) await this.refresh(item);
    } catch (error) {
      this.session.problem = error instanceof Refused ? null : error.message;
    }
  }

  async refresh(item) {
    const { session } = this;
    const news = await session.api.item(item.id, session.annotator);
    const same = news.suggestion.prediction_id === item.suggestion.prediction_id && news.suggestion.state === item.suggestion.state;
    if (same) return;
    if (item === session.current) session.suggestionArrived(item, news.suggestion);
    else session.queue.renew(item, news);
    session.preparer.soon();
  }
}
