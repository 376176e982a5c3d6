// What a page does besides being read: it follows the fleet, and it can be used from the keyboard. Without it everything still works.
// Nothing here makes HTML from text: a page is fetched as a document, and parts of it take the place of those that differ.

const QUIET = 250; // milliseconds after a message before the page is asked for anew, so that a burst is one request
const APART = 1000; // at least so long between two requests
const KEPT = 400; // messages of a conversation that stay on the page

// --- following ---------------------------------------------------------------------------------------------------------------

const body = document.body;
const connection = document.getElementById("connection");
let timer = 0, last = 0, busy = false, again = false;

function follow() {
  const query = new URLSearchParams(body.dataset.follow);
  query.set("lastEventId", body.dataset.stream);
  const source = new EventSource(`/api/v1/stream?${query}`);
  for (const what of ["change", "gone", "event", "platform", "reset"]) source.addEventListener(what, soon);
  source.addEventListener("open", () => { connection.textContent = "live"; });
  source.addEventListener("error", () => {
    connection.textContent = source.readyState === EventSource.CLOSED ? "not live" : "reconnecting";
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 10000);
  });
}

function soon() {
  if (busy) { again = true; return; }
  clearTimeout(timer);
  timer = setTimeout(refresh, Math.max(QUIET, last + APART - Date.now()));
}

function refresh() {
  if (document.hidden) { again = true; return; }
  busy = true;
  again = false;
  const request = new XMLHttpRequest();
  request.open("GET", location.href);
  request.responseType = "document";
  request.timeout = 20000;
  request.onloadend = () => {
    busy = false;
    last = Date.now();
    if (request.status === 200 && request.response) take(request.response);
    else if (request.status === 401) connection.textContent = "signed out";
    if (again) soon();
  };
  request.send();
}

function take(fresh) {
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const old = document.getElementById(part.id);
    if (!old) continue;
    keepOpen(old, part);
    if (old.isEqualNode(part)) continue;
    if (part.hasAttribute("data-keyed")) merge(old, part);
    else swap(old, part);
  }
}

function keepOpen(old, part) {
  for (const one of old.querySelectorAll("details[open][id]")) part.querySelector(`#${CSS.escape(one.id)}`)?.setAttribute("open", "");
}

function swap(old, part) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const path = focused?.getAttribute("href");
  const fresh = document.importNode(part, true);
  old.replaceWith(fresh);
  if (path) fresh.querySelector(`[href="${CSS.escape(path)}"]`)?.focus({ preventScroll: true });
}

// Children are told from each other by their ids: those that are the same stay, with focus, selection and place.
function merge(old, part) {
  const bottom = old.scrollHeight - old.scrollTop - old.clientHeight < 40;
  const wanted = new Set([...part.children].map((one) => one.id));
  const keep = old.hasAttribute("data-keep");
  for (const one of [...old.children]) if (!wanted.has(one.id) && (!keep || one.id === "m-none")) one.remove();
  let at = keep ? [...old.children].find((one) => wanted.has(one.id)) ?? null : old.firstElementChild;
  for (const one of part.children) {
    const there = document.getElementById(one.id);
    if (there === null) old.insertBefore(document.importNode(one, true), at);
    else {
      if (there === at) at = at.nextElementSibling;
      else old.insertBefore(there, at);
      if (!there.isEqualNode(one)) swap(there, one);
    }
  }
  if (keep) {
    while (old.children.length > KEPT) old.firstElementChild.remove();
    if (bottom) old.scrollTop = old.scrollHeight;
  }
}

const talk = document.getElementById("talk");
if (talk) talk.scrollTop = talk.scrollHeight;
if (body.dataset.follow !== undefined) {
  follow();
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) soon(); });
}

// --- keyboard ----------------------------------------------------------------------------------------------------------------

const help = document.getElementById("help");
document.getElementById("keys").addEventListener("click", () => help.showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (event.target.closest("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = { "/": search, "?": () => help.showModal(), j: () => step(1), k: () => step(-1), u: () => { location.href = "/"; } }[event.key];
  if (act) {
    event.preventDefault();
    act();
  }
});

function search() {
  const found = document.getElementById("search");
  if (found) { found.focus(); found.select(); } else location.href = "/";
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  const now = rows.indexOf(document.activeElement);
  const next = rows[now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, now + by))];
  next?.focus();
}
