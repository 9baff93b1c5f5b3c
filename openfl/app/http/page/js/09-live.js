// A running node: asks for its page once, then hears what changes as server-sent events. These are
// read with fetch, because EventSource cannot send the token.

const SILENT_SECONDS = 20;
const HIDDEN_SECONDS = 60;
const AGAIN_SECONDS = [1, 2, 4, 8, 15];
const TOKEN_KEY = "openfl-token";

// From the link (which is then cleared of it), else as this tab has kept it.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (given) sessionStorage.setItem(TOKEN_KEY, given);
    else return sessionStorage.getItem(TOKEN_KEY);
  } catch { /* a browser that keeps nothing: the link has to be opened again after a reload */ }
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

class Refused extends Error {}

function liveOf(token) {
  const headers = { Authorization: `Bearer ${token}` };
  async function ask(path, more = {}) {
    let response;
    try {
      response = await fetch(path, { headers, cache: "no-store", credentials: "omit", ...more });
    } catch (error) {
      if (more.signal?.aborted) throw error;
      throw new Error("The node does not answer.");
    }
    if (response.status === 401 || response.status === 403) throw new Refused("This link is not good any more. Open the one that “openfl-node web” prints.");
    if (!response.ok) {
      const told = await response.json().catch(() => ({}));
      throw new Error(told.error || `The node answered ${response.status}.`);
    }
    return response;
  }
  return { ask: async (path) => (await ask(path)).json(), open: (signal) => ask("/api/stream", { signal }) };
}

// The events of a stream, {event, data}, until it ends.
async function* eventsOf(response, heard) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", event = "message", data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const lines = (rest + value).split(/\r\n|\n|\r/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield { event, data: JSON.parse(data.join("\n")) };
        [event, data] = ["message", []];
      } else if (line.startsWith("event:")) event = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
    }
  }
}

const pause = (seconds) => new Promise((resolve) => {
  const timer = setTimeout(done, 1000 * seconds);
  function done() {
    clearTimeout(timer);
    removeEventListener("online", done);
    document.removeEventListener("visibilitychange", seenAgain);
    resolve();
  }
  const seenAgain = () => document.hidden || done();
  addEventListener("online", done);
  document.addEventListener("visibilitychange", seenAgain);
});

// For as long as the page is open. show(page): the whole document; hear(event, data): a change;
// stand(word, text): how the connection is.
async function follow(live, show, hear, stand) {
  let failed = 0, stopped = false;
  for (;;) {
    const cut = new AbortController();
    let quiet = null, hidden = null;
    const heard = () => { clearTimeout(quiet); quiet = setTimeout(() => cut.abort(), 1000 * SILENT_SECONDS); };
    const look = () => {
      clearTimeout(hidden);
      if (document.hidden) hidden = setTimeout(() => cut.abort(), 1000 * HIDDEN_SECONDS);
    };
    document.addEventListener("visibilitychange", look);
    try {
      show(await live.ask("/api/page"));
      heard();
      const response = await live.open(cut.signal);
      [failed, stopped] = [0, false];
      stand("live", "Live");
      for await (const { event, data } of eventsOf(response, heard)) {
        if (event === "bye" || (event === "snapshot" && (data.phase === "stopping" || data.phase === "stopped"))) stopped = true;
        if (event !== "bye") hear(event, data);
        if (stopped) stand("stopped", "The node is stopping");
      }
    } catch (error) {
      if (error instanceof Refused) return stand("refused", error.message);
    } finally {
      clearTimeout(quiet);
      clearTimeout(hidden);
      document.removeEventListener("visibilitychange", look);
    }
    const wait = AGAIN_SECONDS[Math.min(failed++, AGAIN_SECONDS.length - 1)];
    if (document.hidden) stand("paused", "Paused while you looked elsewhere");
    else stand("stopped", stopped ? "The node has stopped. This is what it last told; the page looks for it again by itself." : "The node does not answer: it has stopped, or is out of reach. This is what it last told; the page looks for it again by itself.");
    await pause(document.hidden ? 3600 : wait);
  }
}
