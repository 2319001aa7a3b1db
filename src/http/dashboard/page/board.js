// The cluster as the server tells it: read once, then followed. A broken stream goes on where it was.

/** What is known. Maps are by name; `instances` by `node/name`, `loads` by node. */
export const board = {
  about: undefined, isRead: false, live: "connecting", isLed: false, status: {},
  services: new Map(), instances: new Map(), nodes: new Map(), events: new Map(), loads: new Map(), routes: new Map(), refusing: new Map(),
  /** Counts changes, so that a view knows whether its lists are still right. */
  version: 0,
};

const KINDS = { s: "services", i: "instances", n: "nodes", e: "events", l: "loads", r: "routes", x: "refusing" };
const listeners = new Set();
let mark, stream, again, painting = false, ahead = 0;

/** Calls `listener` after changes, at most once per frame. */
export function listen(listener) { listeners.add(listener); }

function changed() {
  board.version += 1;
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => { painting = false; for (const listener of listeners) listener(); });
}

/** The time at the server, in milliseconds. */
export const now = () => Date.now() + ahead;

export const token = {
  get: () => sessionStorage.getItem("token") ?? "",
  set: (value) => sessionStorage.setItem("token", value),
};

/** Asks the server; an error in its own words where it refuses. */
export async function ask(path, method = "GET") {
  const headers = token.get() ? { authorization: `Bearer ${token.get()}` } : {};
  const answer = await fetch(path, { method, headers });
  const json = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(json.detail ?? `status ${answer.status}`), { reason: json.reason, status: answer.status });
  return json;
}

function apply({ put, gone }) {
  for (const id of gone) {
    const [kind, name] = split(id);
    if (KINDS[kind]) board[KINDS[kind]].delete(name);
    else if (id === "c/leader") board.isLed = false;
    else if (id === "c/status") board.status = {};
  }
  for (const [id, item] of Object.entries(put)) {
    const [kind, name] = split(id);
    if (KINDS[kind]) board[KINDS[kind]].set(name, item);
    else if (id === "c/leader") board.isLed = true;
    else if (id === "c/status") board.status = item;
  }
  changed();
}

function split(id) {
  const at = id.indexOf("/");
  return [id.slice(0, at), id.slice(at + 1)];
}

function say(live) {
  if (board.live !== live) { board.live = live; changed(); }
}

/** Reads everything, then follows. Tries again for as long as it takes. */
export async function start() {
  clearTimeout(again);
  stream?.close();
  try {
    const [about, all] = await Promise.all([ask("/api/about"), ask("/api/board")]);
    ahead = Date.parse(about.now) - Date.now();
    board.about = about;
    board.isRead = all.isRead;
    for (const kind of Object.values(KINDS)) board[kind].clear();
    board.isLed = false;
    mark = all.mark;
    apply(all.changes);
    if (!all.isRead) throw new Error("not read yet");
    follow();
  } catch (error) {
    say(error.message === "not read yet" ? "connecting" : "lost");
    again = setTimeout(start, 1000);
  }
}

function follow() {
  stream = new EventSource(`/api/changes?after=${encodeURIComponent(mark)}`);
  stream.onopen = () => say("live");
  stream.addEventListener("change", (event) => {
    mark = event.lastEventId || mark;
    say("live");
    apply(JSON.parse(event.data));
  });
  stream.addEventListener("reset", () => start());
  stream.onerror = () => {
    say("lost");
    // The browser tries again by itself, unless the server refused.
    if (stream.readyState === EventSource.CLOSED) { clearTimeout(again); again = setTimeout(start, 1000); }
  };
}

/** The load of an instance: rate, requests at work, capacity, processors, memory. */
export const loadOf = (instance) => board.loads.get(instance.node)?.[instance.name] ?? [];

let ordered, orderedAt = -1;
/** All instances by service and slot. */
export function instances() {
  if (orderedAt !== board.version) {
    orderedAt = board.version;
    ordered = [...board.instances.values()];
    for (const one of ordered) one.slot ??= Number(one.name.slice(one.name.lastIndexOf("-") + 1));
    ordered.sort((a, b) => (a.service < b.service ? -1 : a.service > b.service ? 1 : a.slot - b.slot));
  }
  return ordered;
}

/** All services, also those of which only instances are seen, as by a balancer. With counts of their instances. */
export function services() {
  const found = new Map();
  const of = (name) => {
    if (!found.has(name)) found.set(name, { ...(board.services.get(name) ?? { name }), seen: 0, up: 0, bad: 0, restarts: 0, busy: 0, told: 0 });
    return found.get(name);
  };
  for (const name of board.services.keys()) of(name);
  for (const [name, route] of board.routes) Object.assign(of(name), { serviceNames: route.names, policy: route.balance?.policy ?? "leastLoad" });
  for (const one of board.instances.values()) {
    const service = of(one.service);
    service.seen += 1;
    service.up += one.ready ? 1 : 0;
    service.bad += health(one) === "bad" ? 1 : 0;
    service.restarts += one.restarts ?? 0;
    const [rate] = loadOf(one);
    if (typeof rate === "number") { service.busy += rate; service.told += 1; }
  }
  return [...found.values()];
}

/** How an instance is, in one of three words. */
export function health(instance) {
  if (["CrashLoop", "StartFailed", "Failed"].includes(instance.phase)) return "bad";
  if (instance.ready || instance.phase === "Completed") return "good";
  return "wait";
}

/** How a service is. */
export function healthOf(service) {
  if (service.bad) return "bad";
  const wanted = service.replicas ?? service.seen;
  // A pause is nothing bad, but somebody has to end it.
  if (service.up >= wanted && !service.deleted && !service.paused) return "good";
  return service.up === 0 && wanted > 0 && failing(service).length ? "bad" : "wait";
}

/** The conditions of a thing that do not hold. */
export const failing = (thing) => (thing.conditions ?? []).filter((one) => one.status !== "True");
