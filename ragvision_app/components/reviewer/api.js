// HTTP to the workbench. A call ends in one of three ways: a body, a refusal with a sentence, or away.

export class Away extends Error {
  constructor(message, status = null) {
    super(message);
    this.signIn = status === 401 || status === 403; // the server is there, and wants a token or a login
  }
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// A server that is overloaded, restarting or wants a sign-in may take the same request later.
const TRY_LATER = new Set([401, 403, 408, 425, 429]);

export class Api {
  constructor(base) {
    this.base = base.replace(/\/$/, "");
  }

  async call(method, path, body = null, { timeout = 15000, keepalive = false } = {}) {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), timeout);
    let response;
    let answer = null;
    try {
      response = await fetch(this.base + path, {
        method,
        signal: stop.signal,
        keepalive,
        headers: body === null ? {} : { "Content-Type": "application/json" },
        body: body === null ? undefined : JSON.stringify(body),
      });
      answer = await response.json().catch(() => null);
    } catch (error) {
      throw new Away(`The server does not answer (${error.name === "AbortError" ? "time-out" : "no connection"}).`);
    } finally {
      clearTimeout(timer);
    }
    const sentence = answer?.error?.message ?? `The server answered ${response.status}.`;
    if (response.status >= 500 || TRY_LATER.has(response.status)) throw new Away(sentence, response.status);
    if (!response.ok) throw new Refused(response.status, sentence);
    if (answer === null) throw new Away("The server's answer could not be read.");
    return answer;
  }

  classes() {
    return this.call("GET", "/classes");
  }

  queue(body) {
    return this.call("POST", "/queue", body);
  }

  // Goes out also while the page is being closed; the answer is of no interest then.
  release(body) {
    return this.call("POST", "/queue/release", body, { keepalive: true });
  }

  item(image, annotator) {
    return this.call("GET", `/queue/items/${encodeURIComponent(image)}?annotator=${encodeURIComponent(annotator)}`);
  }

  explanationUrl(image, annotator) {
    return `${this.base}/queue/items/${encodeURIComponent(image)}/explanation?annotator=${encodeURIComponent(annotator)}`;
  }

  lookAlikes(body) {
    return this.call("POST", "/queue/look-alikes", body);
  }

  decide(decision) {
    return this.call("POST", "/decisions", decision, { keepalive: true });
  }
}
