// Keeps a page current: follows its event streams, shows the status of the service, takes over the parts that changed,
// and says so where it cannot. Without it all pages work, as of the time that they show.
"use strict";
const RETRY_MS = [500, 1000, 2000, 5000, 10000];
const GRACE_MS = 4000; // a stream that ends after its time is open again before anybody need know
const LATE_MS = 10000; // beyond the time at which the next reading was announced
const COST_FACTOR = 10; // of the time, renewing a page takes a tenth at most
const MIN_PAUSE_MS = 1000;
const band = document.getElementById("band");
const urls = [...new Set([...document.querySelectorAll("[data-stream]")].map((part) => part.dataset.stream))];
const streams = new Map();
let ended = false;

// --- What the page says about itself ---

function clock(time) { return new Date(time).toISOString().slice(11, 19); }

function notice(text, signIn) {
  const place = document.getElementById("notice");
  if (!place || place.dataset.text === text) return;
  place.dataset.text = text;
  place.replaceChildren();
  if (!text) return;
  const said = document.createElement("p");
  said.setAttribute("role", "status");
  said.className = "note bad";
  said.textContent = text;
  if (signIn) {
    const link = document.createElement("a");
    link.href = "/login";
    link.textContent = "Sign in again";
    said.append(" ", link);
  }
  place.append(said);
}

function showLiveness() {
  if (ended) {
    notice(`Your session has ended. This page shows what was there at ${clock(band.dataset.at || Date.now())} UTC.`, true);
    return;
  }
  const lost = [...streams.values()].filter((stream) => stream.lostAt && Date.now() - stream.lostAt >= GRACE_MS);
  if (!lost.length) { notice(""); return; }
  const since = clock(band && band.dataset.at ? band.dataset.at : Math.min(...lost.map((stream) => stream.lostAt)));
  const why = lost.map((stream) => stream.why).find(Boolean);
  notice(`Not live since ${since} UTC, connecting again${why ? ` (${why})` : ""}`);
}

function endSession() {
  ended = true;
  stop();
  showLiveness();
}

// --- Streams ---

function open(stream) {
  const source = new EventSource(stream.url);
  stream.source = source;
  const heard = () => { watch(stream); if (stream.lostAt) { stream.lostAt = 0; stream.why = ""; stream.tries = 0; showLiveness(); } };
  const listen = (type, act) => source.addEventListener(type, (event) => { heard(); act(JSON.parse(event.data)); });
  source.onopen = heard;
  source.onerror = () => lose(stream);
  listen("states", (counts) => {
    const texts = [...document.querySelectorAll("[data-count]")];
    for (const text of texts) text.textContent = counts[text.dataset.count];
    changed("states", JSON.stringify(counts));
  });
  listen("provisioning", (progress) => {
    const where = document.getElementById("where");
    const first = !seen.has("website");
    changed("website", JSON.stringify(progress));
    if (first && where && Number(where.dataset.seq) !== progress.seq) refresh("website");
  });
  listen("overview", (overview) => { stream.everyMs = overview.every_seconds * 1000; watch(stream); showOverview(overview); });
  listen("unavailable", () => {});
}

// A connection that is dead and looks open has no error: the next reading does not come.
function watch(stream) {
  clearTimeout(stream.late);
  if (stream.everyMs) stream.late = setTimeout(() => lose(stream), stream.everyMs + LATE_MS);
}

function lose(stream) {
  close(stream);
  stream.lostAt = stream.lostAt || Date.now();
  stream.retry = setTimeout(() => reopen(stream), RETRY_MS[Math.min(stream.tries, RETRY_MS.length - 1)]);
  stream.tries += 1;
  setTimeout(showLiveness, GRACE_MS);
}

// The browser does not tell why a stream was refused: the same question, asked as a page would, does.
async function reopen(stream) {
  if (stream.tries === 1) { open(stream); return; }
  const asking = new AbortController();
  const limit = setTimeout(() => asking.abort(), 10000);
  try {
    const answer = await fetch(stream.url, { headers: { accept: "application/json" }, signal: asking.signal });
    if (answer.status === 401) { endSession(); return; }
    stream.why = answer.ok ? "" : (await answer.json()).error || "";
    if (!answer.ok) { lose(stream); return; }
    asking.abort();
  } catch {
    stream.why = "the console does not answer";
    if (!stopped) lose(stream);
    return;
  } finally {
    clearTimeout(limit);
  }
  if (!stopped) open(stream);
}

function close(stream) {
  if (stream.source) stream.source.close();
  clearTimeout(stream.late);
  clearTimeout(stream.retry);
}

let stopped = true;
function start() {
  if (!stopped || document.visibilityState === "hidden") return;
  stopped = false;
  ended = false;
  for (const url of urls) {
    const stream = { url, tries: 0, lostAt: 0, why: "" };
    streams.set(url, stream);
    open(stream);
  }
}

function stop() {
  stopped = true;
  for (const stream of streams.values()) close(stream);
  streams.clear();
}

// --- The status of the service ---

function showOverview(overview) {
  band.dataset.at = overview.at;
  document.getElementById("band-items").replaceChildren(...overview.items.map((item) => {
    const place = document.createElement("li");
    const link = document.createElement("a");
    const label = document.createElement("span");
    const text = document.createElement("b");
    place.className = `l-${item.level}`;
    link.href = item.page;
    label.textContent = item.label;
    text.textContent = item.text;
    link.append(label, " ", text);
    place.append(link);
    return place;
  }));
  document.getElementById("band-at").textContent = `As of ${clock(overview.at)} UTC`;
  const counts = { failed: overview.failed, dead_letters: overview.dead_letters, workers: overview.workers && overview.workers.live };
  for (const [name, count] of Object.entries(counts)) {
    for (const place of document.querySelectorAll(`[data-number=${name}]`)) place.textContent = count || "";
    changed(name, String(count));
  }
}

// --- The parts of the page ---

const seen = new Map();
function changed(key, value) {
  const before = seen.get(key);
  seen.set(key, value);
  if (before === undefined || before === value) return;
  refresh(key);
  // What was read of the queue for somebody else just before may be two seconds old: once more after that.
  if (key === "dead_letters") setTimeout(refresh, 3000, key);
}

function isWanted(key) {
  const parts = [...document.querySelectorAll("[data-live]")];
  return parts.some((part) => (part.dataset.live || "website").split(" ").includes(key));
}

let due = 0; // when the page may be renewed again
let planned = null;
let renewing = false;
function refresh(key) {
  if (planned || ended || (key && !isWanted(key))) return;
  planned = setTimeout(renew, Math.max(0, due - Date.now()));
}

async function renew() {
  planned = null;
  if (document.visibilityState === "hidden") return;
  if (renewing) { refresh(); return; }
  renewing = true;
  const began = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") { endSession(); return; }
    if (answer.ok) takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // The page is being left, or the console is away: its stream says so.
  } finally {
    renewing = false;
    due = Date.now() + Math.max(MIN_PAUSE_MS, COST_FACTOR * (Date.now() - began));
  }
}

// What somebody is in the middle of stays, until they leave it: the seq that it carries makes it harmless.
const later = new Map();
function takeOver(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const newer = fresh.getElementById(part.id);
    if (newer && newer.innerHTML !== part.innerHTML) replace(part, newer);
  }
}

function replace(part, newer) {
  if (isInUse(part)) { later.set(part.id, newer); return; }
  later.delete(part.id);
  const at = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceWith(newer);
  if (at) for (const link of newer.querySelectorAll("a[href]")) if (link.getAttribute("href") === at) { link.focus({ preventScroll: true }); break; }
}

function isInUse(part) {
  const active = document.activeElement;
  const typing = part.contains(active) && active.matches("input, select, textarea, button, summary, [tabindex]");
  const fields = [...part.querySelectorAll("input, textarea")];
  const edited = fields.some((field) => field.value !== field.defaultValue || field.checked !== field.defaultChecked);
  const selection = getSelection();
  const marking = selection && !selection.isCollapsed && selection.containsNode(part, true);
  return typing || edited || marking || part.querySelector("details[open]") !== null;
}

function takeOverLater() {
  for (const [id, newer] of [...later]) {
    const part = document.getElementById(id);
    if (part) replace(part, newer);
  }
}
for (const event of ["focusout", "toggle", "selectionchange"]) addEventListener(event, () => setTimeout(takeOverLater), true);

for (const part of document.querySelectorAll("[data-every]")) setInterval(refresh, Number(part.dataset.every) * 1000);
addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => { if (event.persisted) start(); });
// A hidden page has no streams: a browser has few connections for all pages of one address.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "hidden") stop();
  else { start(); refresh(); }
});
start();
