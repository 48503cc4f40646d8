// Keeps a page current: listens to its event stream, and takes over the parts that changed. Without it all pages work.
"use strict";
const streams = new Set([...document.querySelectorAll("[data-stream]")].map((part) => part.dataset.stream));
let waiting = false;
let again = false;

async function refresh() {
  if (waiting) { again = true; return; }
  waiting = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const newer = fresh.getElementById(part.id);
      // What somebody is in the middle of stays: the seq that it carries makes it harmless.
      if (newer && !part.querySelector("details[open]") && !part.contains(document.activeElement)) {
        if (newer.innerHTML !== part.innerHTML) part.replaceWith(newer);
      }
    }
  } catch {
    // The page is being left, or the console is away: the next look shows.
  } finally {
    waiting = false;
    if (again) { again = false; setTimeout(refresh, 1000); }
  }
}

for (const part of document.querySelectorAll("[data-every]")) setInterval(refresh, Number(part.dataset.every) * 1000);

for (const url of streams) {
  const source = new EventSource(url);
  let first = true;
  const changed = (event) => {
    if (event.type === "states") {
      const counts = JSON.parse(event.data);
      for (const text of document.querySelectorAll("[data-count]")) text.textContent = counts[text.dataset.count];
    }
    if (!first) refresh();
    else if (event.type === "provisioning") {
      const where = document.getElementById("where");
      if (where && Number(where.dataset.seq) !== JSON.parse(event.data).seq) refresh();
    }
    first = false;
  };
  source.addEventListener("states", changed);
  source.addEventListener("provisioning", changed);
  addEventListener("pagehide", () => source.close());
}
