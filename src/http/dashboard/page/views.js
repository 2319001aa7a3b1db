// The pages. Each is built once when it is opened, and told when the cluster has changed.

import { ask, board, failing, health, healthOf, instances, loadOf, now, services, token } from "./board.js";
import { chart } from "./chart.js";
import { age, bytes, h, named, percent, say, text } from "./dom.js";
import { list } from "./list.js";
import { log } from "./log.js";

const link = (kind, name) => `#/${kind}/${encodeURIComponent(name)}`;
const decimal = (value) => (value < 10 ? value.toFixed(2) : Math.round(value).toString());

/** A painter of plain text. */
const words = (value) => (cell, item) => {
  const said = String(value(item) ?? "");
  text(cell, said);
  if (cell.title !== said && said.length > 18) cell.title = said;
};
const column = (title, width, value, more = {}) => ({ title, width, key: value, paint: words(value), ...more });

/** A painter of a state: a shape and a colour, and always a word. */
const state = (kind, word) => (cell, item) => {
  named(cell, `${cell.dataset.own ??= cell.className} state ${kind(item)}`);
  const said = word(item);
  text(cell, said);
  if (cell.title !== said) cell.title = said;
};

/** A painter of a bar with a number beside it. */
const bar = (value, isFull = (part) => part >= 0.9) => (cell, item) => {
  const part = value(item);
  if (!cell.firstElementChild) cell.append(h("span", { class: "bar" }, h("i")), h("span"));
  const [line, number] = cell.children;
  line.hidden = part === undefined || part === null;
  if (!line.hidden) {
    named(line, isFull(part) ? "bar full" : "bar");
    line.firstElementChild.style.transform = `scaleX(${Math.min(1, Math.max(0, part)).toFixed(3)})`;
  }
  text(number, percent(part));
};

const holds = (needle) => {
  const parts = needle.toLowerCase().split(/\s+/).filter(Boolean);
  return (...texts) => { const all = texts.join(" ").toLowerCase(); return parts.every((part) => all.includes(part)); };
};
const filter = () => holds(document.getElementById("filter").value);

/** What an instance does, in a few words. */
export function doing(one) {
  if (!one.phase) return "Assigned";
  const due = one.nextStartAt && Date.parse(one.nextStartAt) > now() ? `, next start in ${age(new Date(now()).toISOString(), Date.parse(one.nextStartAt))}` : "";
  const word = one.phase === "Running" && !one.ready ? "Running, not ready" : one.phase;
  return one.reason && one.reason !== one.phase ? `${word}: ${one.reason}${due}` : word + due;
}

/** What is to be said of a service. */
function saying(service) {
  if (service.deleted) return "being deleted";
  if (service.rolledBack) return `rolled back: ${service.rolledBack.cause}`;
  if (service.paused) return "rollout paused";
  const wanted = service.replicas ?? service.seen;
  const isRolling = service.stableRevision && service.stableRevision !== service.revision;
  if (isRolling && service.updated < wanted) return `rolling out: ${service.updated} of ${wanted} updated`;
  const [first] = failing(service);
  return first ? first.message || first.reason : service.up >= wanted ? "ready" : `${wanted - service.up} not ready`;
}

const rate = (service) => (service.told ? service.busy / service.told : undefined);
const kinds = { good: 0, wait: 1, bad: 2 };

function serviceList() {
  return list({
    label: "Services", empty: "No services. `quaestor apply -f FILE` brings some.",
    id: (one) => one.name, href: (one) => link("service", one.name),
    columns: [
      column("Service", "minmax(110px, 1.4fr)", (one) => one.name, { class: "name" }),
      { title: "Ready", width: "90px", narrow: "60px", class: "end", key: (one) => one.up, paint: words((one) => `${one.up} / ${one.replicas ?? one.seen}`) },
      { title: "Load", width: "130px", class: "wide", key: rate, paint: bar(rate) },
      column("Restarts", "80px", (one) => one.restarts, { class: "end wide" }),
      column("Found as", "minmax(80px, 1fr)", (one) => (one.serviceNames ?? []).join(", "), { class: "wide" }),
      column("Policy", "110px", (one) => (one.exclusive ? "by tickets" : one.policy), { class: "quiet wide" }),
      { title: "State", width: "minmax(110px, 2fr)", key: (one) => -kinds[healthOf(one)], paint: state(healthOf, saying) },
    ],
  });
}

function instanceList({ most, of } = {}) {
  return list({
    most, label: "Instances", empty: "No instances.",
    id: (one) => `${one.node}/${one.name}`, href: (one) => link("instance", `${one.node}/${one.name}`),
    columns: [
      { ...column("Instance", "minmax(110px, 1.3fr)", (one) => one.name, { class: "name" }), key: undefined },
      of === "node" ? column("Service", "minmax(80px, 1fr)", (one) => one.service, { class: "wide" })
        : column("Node", "minmax(70px, 1fr)", (one) => one.node, { class: "wide" }),
      { title: "State", width: "minmax(110px, 1.6fr)", key: (one) => -kinds[health(one)], paint: state(health, doing) },
      { title: "Load", width: "130px", narrow: "112px", key: (one) => loadOf(one)[0] ?? undefined, paint: bar((one) => loadOf(one)[0]) },
      column("Restarts", "80px", (one) => one.restarts ?? 0, { class: "end wide" }),
      { title: "Memory", width: "90px", class: "end wide", key: (one) => loadOf(one)[4] ?? undefined, paint: words((one) => bytes(loadOf(one)[4])) },
      { title: "CPU", width: "60px", class: "end wide", key: (one) => loadOf(one)[3] ?? undefined, paint: words((one) => loadOf(one)[3]?.toFixed(2)) },
      column("Endpoint", "minmax(120px, 1fr)", (one) => (one.endpoint ? `${one.endpoint.host}:${one.endpoint.port}` : ""), { class: "mono wide" }),
      { title: "Age", width: "60px", class: "end wide", key: (one) => (one.startedAt ? -Date.parse(one.startedAt) : undefined), paint: words((one) => age(one.startedAt, now())) },
    ],
  });
}

const nodeHealth = (node) => (node.status === "Ready" ? (node.closed ? "wait" : "good") : node.status === "Unknown" ? "wait" : "bad");

function nodeList() {
  return list({
    label: "Nodes", empty: "No nodes. `quaestor agent --node NAME` on a host makes it one.",
    id: (one) => one.name, href: (one) => link("node", one.name),
    columns: [
      column("Node", "minmax(90px, 1.2fr)", (one) => one.name, { class: "name" }),
      { title: "State", width: "minmax(110px, 1.4fr)", key: (one) => -kinds[nodeHealth(one)], paint: state(nodeHealth, (one) => (one.closed ? `${one.status}, ${one.closed}` : one.status)) },
      column("Instances", "90px", (one) => one.instances ?? 0, { class: "end", narrow: "70px" }),
      column("Address", "minmax(100px, 1fr)", (one) => one.address, { class: "mono wide" }),
      column("Labels", "minmax(100px, 1.6fr)", (one) => labels(one.labels), { class: "quiet wide" }),
      column("Memory", "90px", (one) => size(one.capacity?.memory), { class: "end wide" }),
      column("CPU", "60px", (one) => one.capacity?.cpu, { class: "end wide" }),
      column("Agent", "80px", (one) => one.version, { class: "quiet wide" }),
      { title: "Since", width: "70px", class: "end wide", key: (one) => (one.startedAt ? -Date.parse(one.startedAt) : undefined), paint: words((one) => age(one.startedAt, now())) },
    ],
  });
}

/** A size as manifests write it, `24684092KiB`, for people. */
function size(written) {
  const [, number, unit] = /^([\d.]+)(KiB|MiB|GiB|TiB|B)?$/.exec(written ?? "") ?? [];
  return number === undefined ? written : bytes(number * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(unit ?? "B"));
}

const labels = (all) => Object.entries(all ?? {}).map(([key, value]) => `${key}=${value}`).join("  ");

function eventList({ most } = {}) {
  return list({
    most, label: "Events", empty: "Nothing has happened within the last hour.", sort: { column: 0, up: true },
    id: (one) => `${one.object} ${one.reason} ${one.firstAt}`, href: (one) => toward(one.object),
    columns: [
      { title: "When", width: "60px", narrow: "44px", class: "end", key: (one) => -Date.parse(one.lastAt), paint: words((one) => age(one.lastAt, now())) },
      { title: "What", width: "minmax(120px, 160px)", narrow: "110px", key: (one) => one.reason, paint: state((one) => (one.warning ? "bad" : ""), (one) => one.reason) },
      column("Of", "minmax(120px, 200px)", (one) => one.object, { class: "wide" }),
      column("Why", "minmax(100px, 3fr)", (one) => (one.count > 1 ? `${one.message} (${one.count} times)` : one.message)),
      column("Node", "minmax(60px, 120px)", (one) => one.node, { class: "quiet wide" }),
    ],
  });
}

/** Where the page of `service/worker`, `instance/worker-0`, `node/qa-1` is. */
function toward(object) {
  const at = object.indexOf("/");
  const [kind, name] = [object.slice(0, at), object.slice(at + 1)];
  if (kind !== "instance") return at < 0 ? undefined : link(kind, name);
  const found = instances().find((one) => one.name === name);
  return found ? link("instance", `${found.node}/${name}`) : undefined;
}

/** Charts of the last half hour, asked for again every few seconds. */
function courses(service, which) {
  const charts = {
    ready: chart("Instances ready", (value) => String(value)),
    load: chart("Load, mean", percent),
    cpu: chart("Processors in use", decimal),
    memory: chart("Memory", bytes),
    picks: chart("Picks per second", decimal),
  };
  const element = h("div", { class: "cards" }, which.map((name) => charts[name].element));
  let timer;
  async function draw() {
    try {
      const course = await ask(service ? `/api/course?service=${encodeURIComponent(service)}` : "/api/course");
      const top = Math.max(...course.all, 1);
      charts.ready.draw(course.ready, top, ` / ${course.all.at(-1) ?? 0}`);
      charts.load.draw(course.load, Math.max(1, ...course.load.filter((one) => one !== null)));
      charts.cpu.draw(course.cpu);
      charts.memory.draw(course.memory);
      charts.picks.draw(course.picks);
    } catch { /* The state of the connection is shown at the top. */ }
    timer = setTimeout(draw, 5000);
  }
  draw();
  return { element, close: () => clearTimeout(timer) };
}

/** Names and values, painted anew only where they changed. */
function facts() {
  const element = h("dl", {});
  let last = "";
  return {
    element,
    show(pairs) {
      const told = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "" && value !== false);
      const now = JSON.stringify(told.map(([name, value]) => [name, value?.textContent ?? value]));
      if (now === last) return;
      last = now;
      element.replaceChildren(...told.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    },
  };
}

const block = (title, ...inside) => h("section", { class: "block" }, h("h2", {}, title), h("div", { class: "inside" }, inside));

/**
 * Why something is as it is: the chain of causes, as `quaestor why` tells it. It costs a look at the whole cluster, so it
 * is asked for only when `sign()` has changed, and now and then.
 */
function why(object, sign) {
  const tree = h("div", { class: "why" }, h("p", { class: "quiet" }, "..."));
  const element = block("Why", tree);
  element.hidden = board.about?.scope !== "cluster";
  let asked, askedAt = 0, timer, isOpen = true, last = "";
  const told = (cause) => h("li", {},
    h("span", { class: `state ${{ broken: "bad", waiting: "wait" }[cause.health] ?? "good"}` }, h("b", {}, cause.object.replace(/^[a-z]+\//, "")), ` ${cause.sentence}`),
    (cause.also ?? []).length > 0 && h("span", { class: "quiet" }, ` (and ${cause.also.length} more)`),
    cause.since && h("span", { class: "quiet" }, `, for ${age(cause.since, now())}`),
    cause.until && Date.parse(cause.until) > now() && h("span", { class: "quiet" }, `, until ${new Date(cause.until).toLocaleTimeString()}`),
    cause.remedy && h("div", { class: "remedy" }, cause.remedy),
    (cause.because ?? []).length > 0 && h("ul", {}, cause.because.map(told)));
  async function look() {
    if (!isOpen || element.hidden) return;
    const present = JSON.stringify(sign());
    if (asked !== present || Date.now() - askedAt > 20000) {
      [asked, askedAt] = [present, Date.now()];
      try {
        const cause = await ask(`/api/why?object=${encodeURIComponent(object)}`);
        const said = JSON.stringify(cause);
        if (said !== last) tree.replaceChildren(h("ul", {}, told(cause)));
        last = said;
      } catch (error) {
        last = "";
        tree.replaceChildren(h("p", { class: "quiet" }, error.message));
      }
    }
    timer = setTimeout(look, 1000);
  }
  look();
  return { element, close: () => { isOpen = false; clearTimeout(timer); } };
}

/** A question before a deed, which asks for the token where it is not known yet. */
function deed(name, question, path) {
  return h("button", { type: "button", onclick: () => {
    const dialog = document.getElementById("ask");
    const field = h("input", { type: "password", autocomplete: "off", placeholder: "Token", "aria-label": "Token" });
    const needs = !board.about.mayAct;
    const hint = needs && h("p", { class: "quiet" }, "`quaestor dev` prints the token; elsewhere it is in the file of --http-token-file.");
    const go = async (event) => {
      event.preventDefault();
      if (needs && field.value) token.set(field.value);
      dialog.close();
      try {
        await ask(path, "POST");
        board.about.mayAct = true;
        say(`${name}: asked for`);
      } catch (error) {
        if (error.reason === "NoToken") { token.set(""); board.about.mayAct = false; }
        say(error.message, true);
      }
    };
    dialog.replaceChildren(h("form", { onsubmit: go }, h("h2", {}, name), h("p", {}, question), hint, needs && field,
      h("div", { class: "deeds" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"),
        h("button", { type: "submit", class: "main" }, name))));
    dialog.showModal();
    if (needs) field.focus(); else dialog.querySelector(".main").focus();
  } }, name);
}

/** What must be said at the top of every page. */
function notices() {
  const element = h("div", { hidden: true });
  return {
    element,
    update() {
      const { restoredFrom, vanished } = board.status;
      const told = [
        restoredFrom && "The store was restored from a backup: nothing is decided before `quaestor cluster confirm restore`.",
        vanished?.length && `The manifests of ${vanished.join(", ")} vanished without a word: what runs is left running until \`quaestor cluster confirm vanished\`.`,
        board.about?.scope === "cluster" && board.isRead && !board.isLed && "No controller leads: what runs goes on, and nothing is placed or replaced.",
        ...[...board.refusing].map(([balancer, { clients, words }]) => `${clients} xDS ${clients === 1 ? "client does" : "clients do"} not take what ${balancer ? `the balancer ${balancer}` : "this balancer"} sends: ${words || "without a word why"}. \`quaestor xds clients\` tells which.`),
        board.live === "lost" && "The connection is lost: this is what was seen last.",
      ].filter(Boolean);
      element.hidden = told.length === 0;
      if (element.textContent !== told.join("")) element.replaceChildren(...told.map((one) => h("p", { class: "notice bad" }, one)));
    },
  };
}

function page(parts, update, isLong = false) {
  const top = notices();
  const element = h("div", { class: isLong ? "page long" : "page" }, top.element, parts.map((part) => part.element ?? part));
  return {
    element,
    update() { top.update(); update(); },
    close() { for (const part of parts) part.close?.(); },
    focus() { parts.find((part) => part.focus)?.focus(); },
  };
}

const views = {
  services() {
    const course = courses(undefined, ["ready", "load", "picks", "cpu", "memory"]), table = serviceList();
    return page([course, table], () => {
      const is = filter();
      table.show(services().filter((one) => is(one.name, healthOf(one), (one.serviceNames ?? []).join(" "), labels(one.labels))));
    });
  },

  instances() {
    const table = instanceList();
    return page([table], () => {
      const is = filter();
      table.show(instances().filter((one) => is(one.name, one.node, one.phase ?? "", one.reason ?? "", one.ready ? "ready" : "unready")));
    });
  },

  nodes() {
    const table = nodeList();
    return page([table], () => {
      const is = filter();
      table.show([...board.nodes.values()].filter((one) => is(one.name, one.status, one.address ?? "", labels(one.labels))));
    });
  },

  events() {
    const table = eventList();
    return page([table], () => {
      const is = filter();
      table.show([...board.events.values()].filter((one) => is(one.object, one.reason, one.message ?? "", one.node ?? "")));
    });
  },

  service(name) {
    const title = h("h1", {}, name), at = h("span", {}), told = facts(), conditions = facts();
    const course = courses(name, ["ready", "load", "picks", "cpu", "memory"]), reasons = why(`service/${name}`, () => [board.services.get(name), services().find((one) => one.name === name)?.up]);
    const table = instanceList({ most: 12 }), events = eventList({ most: 8 });
    const deeds = h("div", { class: "deeds" }, board.about?.hasDeeds && deed("Restart", `All instances of ${name} get new processes, a few at a time, as its rollout allows.`, `/api/restart?target=${encodeURIComponent(name)}`));
    return page([h("div", { class: "head" }, title, at, deeds), course, reasons, table,
      h("div", { class: "halves" }, block("Facts", told.element), block("Conditions", conditions.element)), events], () => {
      const service = services().find((one) => one.name === name);
      const own = instances().filter((one) => one.service === name);
      table.show(own);
      events.show([...board.events.values()].filter((one) => one.object === `service/${name}` || own.some((of) => one.object === `instance/${of.name}`)));
      if (!service) { state(() => "wait", () => "there is no such service")(at, {}); return; }
      state(healthOf, saying)(at, service);
      const wanted = service.replicas ?? service.seen;
      told.show([
        ["Wanted", String(wanted)], ["Ready", String(service.up)], ["Updated", service.updated !== undefined && `${service.updated} of ${wanted}`],
        ["Available", service.available !== undefined && String(service.available)], ["Restarts", String(service.restarts)],
        ["Found as", (service.serviceNames ?? []).join(", ")], ["Policy", service.exclusive ? "by tickets" : service.policy],
        ["Revision", service.revision], ["Last stable", service.stableRevision !== service.revision && service.stableRevision],
        ["Rolled back", service.rolledBack?.cause], ["Generation", service.generation && `${service.generation}, planned ${service.observedGeneration}`],
        ["Labels", labels(service.labels)],
      ]);
      conditions.show((service.conditions ?? []).map(condition));
    }, true);
  },

  instance(place) {
    const [node, name] = place.split("/"), id = place;
    const at = h("span", {}), told = facts(), reasons = why(`instance/${name}`, () => board.instances.get(place)), events = eventList({ most: 8 });
    const deeds = h("div", { class: "deeds" }, board.about?.hasDeeds && deed("Restart", `${name} gets a new process.`, `/api/restart?target=${encodeURIComponent(name)}`));
    const lines = board.about?.hasLogs ? log({ node, name }) : undefined;
    return page([h("div", { class: "head" }, h("h1", {}, name), at, deeds), h("div", { class: "halves" }, reasons.element, block("Facts", told.element)), lines, events, { element: "", close: reasons.close }].filter(Boolean), () => {
      const one = board.instances.get(id);
      events.show([...board.events.values()].filter((event) => event.object === `instance/${name}`));
      if (!one) { state(() => "wait", () => "it is not here any more")(at, {}); return; }
      state(health, doing)(at, one);
      const [load, current, capacity, cpu, memory] = loadOf(one);
      const exit = one.lastExit;
      told.show([
        ["Service", h("a", { href: link("service", one.service) }, one.service)], ["Node", h("a", { href: link("node", one.node) }, one.node)],
        ["Message", one.message], ["Says", one.statusText], ["Endpoint", one.endpoint && `${one.endpoint.host}:${one.endpoint.port}`],
        ["Process", one.pid && String(one.pid)], ["Started", one.startedAt && `${age(one.startedAt, now())} ago`], ["Restarts", String(one.restarts ?? 0)],
        ["Load", load !== undefined && load !== null && `${percent(load)}${capacity ? `, ${current} of ${capacity} requests` : ""}`],
        ["Uses", memory && `${bytes(memory)}, ${cpu?.toFixed(2)} processors`], ["Revision", one.revision],
        ["Last exit", exit && `${exit.signal ? `signal ${exit.signal}` : `code ${exit.code ?? "?"}`}${exit.cause ? `, ${exit.cause}` : ""}, ${age(exit.at, now())} ago`],
        ["Wanted", one.own ? "by its agent's own manifests" : one.desired === "absent" ? "to be stopped" : one.desired ? "" : "its assignment vanished"],
      ]);
    }, true);
  },

  node(name) {
    const at = h("span", {}), told = facts(), conditions = facts(), reasons = why(`node/${name}`, () => board.nodes.get(name));
    const table = instanceList({ most: 14, of: "node" }), events = eventList({ most: 8 }), deeds = h("div", { class: "deeds" });
    const path = (what) => `/api/node?name=${encodeURIComponent(name)}&do=${what}`;
    let isClosed;
    return page([h("div", { class: "head" }, h("h1", {}, name), at, deeds), reasons,
      h("div", { class: "halves" }, block("Facts", told.element), block("Conditions", conditions.element)), table, events], () => {
      const node = board.nodes.get(name);
      table.show(instances().filter((one) => one.node === name));
      events.show([...board.events.values()].filter((one) => one.node === name || one.object === `node/${name}`));
      if (!node) { state(() => "wait", () => "there is no such node")(at, {}); return; }
      state(nodeHealth, () => (node.closed ? `${node.status}, ${node.closed}` : node.status))(at, node);
      if (board.about?.hasDeeds && isClosed !== Boolean(node.closed)) {
        isClosed = Boolean(node.closed);
        deeds.replaceChildren(isClosed ? deed("Uncordon", `${name} takes new instances again.`, path("uncordon"))
          : deed("Drain", `All instances of ${name} are moved to other nodes, each ready there before it ends here; it takes no new ones.`, path("drain")));
      }
      told.show([
        ["Address", node.address], ["Agent", node.version && `version ${node.version}${node.agentAddress ? `, at ${node.agentAddress}` : ""}`],
        ["Since", node.startedAt && `${age(node.startedAt, now())} ago`], ["Instances", String(node.instances ?? 0)],
        ["Capacity", [size(node.capacity?.memory), node.capacity?.cpu && `${node.capacity.cpu} processors`].filter(Boolean).join(", ")], ["Labels", labels(node.labels)],
      ]);
      conditions.show((node.conditions ?? []).map(condition));
    }, true);
  },
};

const condition = (one) => [one.type, h("span", { class: `state ${one.status === "True" ? "good" : one.status === "False" ? "bad" : "wait"}` },
  `${one.reason}${one.message ? `: ${one.message}` : ""}, for ${age(one.lastTransitionTime, now())}`)];

/** The view that a path such as `service/worker` leads to. */
export function open(path) {
  const at = path.indexOf("/");
  const [kind, rest] = at < 0 ? [path, ""] : [path.slice(0, at), decodeURIComponent(path.slice(at + 1))];
  return (Object.hasOwn(views, kind) ? views[kind] : views.services)(rest);
}
